package schedule_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/schedule"
)

// changes are zones with moments around which their clocks change, and one zone where they never do.
var changes = []struct {
	zone string
	near []string
}{
	{"Europe/Paris", []string{"2026-03-29 01:00", "2026-10-25 01:00"}},
	{"America/New_York", []string{"2026-03-08 07:00", "2026-11-01 06:00"}},
	{"Australia/Lord_Howe", []string{"2026-04-04 15:00", "2026-10-03 15:30"}},
	{"America/Sao_Paulo", []string{"2018-02-18 02:00", "2018-11-04 03:00"}},
	{"Pacific/Chatham", []string{"2026-04-04 14:00", "2026-09-26 14:00"}},
	{"Africa/Casablanca", []string{"2026-02-15 02:00", "2026-03-22 02:00"}},
	{"America/St_Johns", []string{"2010-03-14 03:31", "2010-11-07 02:31"}},
	{"Asia/Kolkata", []string{"2026-03-29 01:00"}},
}

func randomSchedule(random *rand.Rand, zone string) *schedule.Schedule {
	s := &schedule.Schedule{TimeZoneID: zone}
	for range random.IntN(4) {
		s.WakeUp = append(s.WakeUp, schedule.Clock(random.IntN(24*60)))
	}
	for range random.IntN(4) {
		s.ScaleDownTimeout = append(s.ScaleDownTimeout, schedule.Timeout{Time: schedule.Clock(random.IntN(24 * 60)), Value: random.IntN(3)})
	}
	return s
}

// wallMinute is the clock that one sees in the zone, counted as if it were UTC.
func wallMinute(at time.Time, zone *time.Location) int64 {
	_, offset := at.In(zone).Zone()
	return (at.Unix() + int64(offset)) / 60
}

// reading is what a schedule answers at a moment.
type reading struct {
	wakeUp  int64
	timeout time.Duration
}

func readingAt(s *schedule.Schedule, now time.Time) reading {
	wakeUp, _ := s.LatestWakeUp(now)
	timeout, _ := s.IdleTimeout(now)
	return reading{wakeUp.Unix(), timeout}
}

// watcher is the plain reading of the rules: somebody who looks at the clock each minute and notes each entry once.
type watcher struct {
	s    *schedule.Schedule
	zone *time.Location
	// seen is the furthest minute that the clock has shown.
	seen int64
	reading
}

func (w *watcher) look(at time.Time) {
	wall := wallMinute(at, w.zone)
	for minute := w.seen + 1; minute <= wall; minute++ {
		for _, clock := range w.s.WakeUp {
			if minute%(24*60) == int64(clock) {
				w.wakeUp = at.Unix()
			}
		}
		for _, timeout := range w.s.ScaleDownTimeout {
			if minute%(24*60) == int64(timeout.Time) {
				w.timeout = time.Duration(timeout.Value) * time.Second
			}
		}
		w.seen = minute
	}
}

// TestScheduleIsWhatTheClockShows compares three days around each change, minute by minute, with the plain reading.
func TestScheduleIsWhatTheClockShows(t *testing.T) {
	for _, change := range changes {
		zone, err := time.LoadLocation(change.zone)
		if err != nil {
			t.Fatal(err)
		}
		for i, near := range change.near {
			for seed := range uint64(2) {
				random := rand.New(rand.NewPCG(seed, uint64(i)))
				s := randomSchedule(random, change.zone)
				at := utc(t, near).Add(-60 * time.Hour)
				w := &watcher{s: s, zone: zone, seen: wallMinute(at, zone)}
				for end := at.Add(84 * time.Hour); at.Before(end); at = at.Add(time.Minute) {
					w.look(at)
					if at.Before(end.Add(-48 * time.Hour)) {
						continue // the watcher has not seen every entry yet
					}
					if got := readingAt(s, at); len(s.WakeUp) > 0 && got.wakeUp != w.wakeUp || got.timeout != w.timeout {
						t.Fatalf("%+v at %v: got %+v, the clock says %+v", s, at, got, w.reading)
					}
				}
			}
		}
	}
}

// TestAnswersChangeAtNextAlone walks from one Next to the other, and looks between them.
func TestAnswersChangeAtNextAlone(t *testing.T) {
	for _, change := range changes {
		for i, near := range change.near {
			for seed := range uint64(12) {
				random := rand.New(rand.NewPCG(seed, uint64(i)))
				s := randomSchedule(random, change.zone)
				now := utc(t, near).Add(-time.Duration(random.IntN(36*60)) * time.Minute)
				for range 10 {
					now = requireNext(t, s, now, random)
				}
			}
		}
	}
}

// requireNext returns the moment that comes after now.
func requireNext(t *testing.T, s *schedule.Schedule, now time.Time, random *rand.Rand) time.Time {
	t.Helper()
	before, next := readingAt(s, now), s.Next(now)
	end := next
	if next.IsZero() {
		end = now.Add(72 * time.Hour)
	} else if !next.After(now) || readingAt(s, next) == before {
		t.Fatalf("%+v: next after %v is %v, where nothing changes", s, now, next.UTC())
	}
	for range 10 {
		between := now.Add(time.Duration(random.Int64N(int64(end.Sub(now)))))
		if got := readingAt(s, between); got != before {
			t.Fatalf("%+v: between %v and %v, at %v, %+v became %+v", s, now, end, between, before, got)
		}
	}
	if after := readingAt(s, end); after.wakeUp < before.wakeUp {
		t.Fatalf("%+v: the latest wake-up went back from %d to %d", s, before.wakeUp, after.wakeUp)
	}
	return end
}

// FuzzSchedule takes any zone of the table and any time of this and the next decades.
func FuzzSchedule(f *testing.F) {
	f.Add(uint64(1), uint8(0), int64(1774746000))
	f.Add(uint64(2), uint8(2), int64(1775314800))
	f.Add(uint64(3), uint8(5), int64(4102444800))
	f.Fuzz(func(t *testing.T, seed uint64, zone uint8, unix int64) {
		random := rand.New(rand.NewPCG(seed, 0))
		s := randomSchedule(random, changes[int(zone)%len(changes)].zone)
		now := time.Unix(unix&(1<<33-1), 0) // up to the year 2242
		wakeUp, found := s.LatestWakeUp(now)
		if found != (len(s.WakeUp) > 0) || found && (wakeUp.After(now) || now.Sub(wakeUp) > 49*time.Hour) {
			t.Fatalf("%+v: the latest wake-up at %v is %v, %v", s, now, wakeUp, found)
		}
		for range 5 {
			now = requireNext(t, s, now, random)
		}
	})
}

func FuzzParseClock(f *testing.F) {
	for _, text := range []string{"00:00", "7:05", "23:59", "24:00", "", ":", "07:00:00"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := schedule.ParseClock(text)
		if err != nil {
			return
		}
		if again, err := schedule.ParseClock(c.String()); err != nil || again != c || c < 0 || c >= 24*60 {
			t.Fatalf("%q is %d, whose text %s is %d (%v)", text, c, c, again, err)
		}
	})
}
