package schedule_test

import (
	"testing"
	"time"
	_ "time/tzdata" // the machine's own database may be missing or old

	"github.com/sluicefaas/sluice/pkg/schedule"
)

func clock(t testing.TB, text string) schedule.Clock {
	t.Helper()
	c, err := schedule.ParseClock(text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func utc(t testing.TB, text string) time.Time {
	t.Helper()
	at, err := time.Parse("2006-01-02 15:04", text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// TestWakeUpOnDaysWhenClocksChange: each time of day comes once, at the moment that is told in UTC, and not before.
func TestWakeUpOnDaysWhenClocksChange(t *testing.T) {
	for _, c := range []struct{ zone, clock, at, why string }{
		{"Europe/Paris", "07:00", "2026-01-15 06:00", "winter"},
		{"Europe/Paris", "07:00", "2026-07-15 05:00", "summer"},
		{"Europe/Paris", "01:59", "2026-03-29 00:59", "before the gap"},
		{"Europe/Paris", "02:00", "2026-03-29 01:00", "the gap's begin is its end"},
		{"Europe/Paris", "02:30", "2026-03-29 01:00", "in the gap"},
		{"Europe/Paris", "03:00", "2026-03-29 01:00", "the gap's end"},
		{"Europe/Paris", "03:01", "2026-03-29 01:01", "after the gap"},
		{"Europe/Paris", "23:59", "2026-03-29 21:59", "the same day"},
		{"Europe/Paris", "01:59", "2026-10-24 23:59", "before the hour that comes twice"},
		{"Europe/Paris", "02:00", "2026-10-25 00:00", "first of two"},
		{"Europe/Paris", "02:59", "2026-10-25 00:59", "first of two"},
		{"Europe/Paris", "03:00", "2026-10-25 02:00", "once"},

		{"America/New_York", "02:30", "2026-03-08 07:00", "in the gap"},
		{"America/New_York", "03:30", "2026-03-08 07:30", "after the gap"},
		{"America/New_York", "01:30", "2026-11-01 05:30", "first of two"},
		{"America/New_York", "02:00", "2026-11-01 07:00", "once"},
		{"America/New_York", "00:00", "2026-11-02 05:00", "the next midnight"},

		{"Australia/Lord_Howe", "02:00", "2026-10-03 15:30", "a gap of half an hour"},
		{"Australia/Lord_Howe", "02:29", "2026-10-03 15:30", "in the gap"},
		{"Australia/Lord_Howe", "02:31", "2026-10-03 15:31", "after the gap"},
		{"Australia/Lord_Howe", "01:29", "2026-04-04 14:29", "before the half hour that comes twice"},
		{"Australia/Lord_Howe", "01:45", "2026-04-04 14:45", "first of two"},
		{"Australia/Lord_Howe", "02:00", "2026-04-04 15:30", "once"},

		{"America/Sao_Paulo", "00:00", "2018-11-04 03:00", "a gap at midnight"},
		{"America/Sao_Paulo", "00:59", "2018-11-04 03:00", "a gap at midnight"},
		{"America/Sao_Paulo", "01:00", "2018-11-04 03:00", "a gap at midnight"},
		{"America/Sao_Paulo", "23:30", "2018-02-18 01:30", "first of two, before midnight"},
		{"America/Sao_Paulo", "00:00", "2018-02-18 03:00", "midnight comes once"},
		{"America/Sao_Paulo", "12:00", "2026-03-29 15:00", "no change any more"},

		{"America/St_Johns", "00:00", "2010-11-07 02:30", "midnight comes twice, and the day before again after its first"},
		{"America/St_Johns", "23:30", "2010-11-07 02:00", "first of two, before midnight"},
		{"Pacific/Chatham", "03:00", "2026-09-26 14:00", "quarters, in the gap"},
		{"Pacific/Chatham", "03:00", "2026-04-04 13:15", "quarters, first of two"},
		{"Africa/Casablanca", "02:30", "2026-02-15 01:30", "Ramadan begins: first of two"},
		{"Africa/Casablanca", "02:30", "2026-03-22 02:00", "Ramadan ends: in the gap"},
		{"Asia/Kolkata", "02:30", "2026-03-28 21:00", "no changes"},
		{"Pacific/Apia", "12:00", "2011-12-30 10:00", "a day that does not exist counts at the moment after it"},
	} {
		s := &schedule.Schedule{TimeZoneID: c.zone, WakeUp: []schedule.Clock{clock(t, c.clock)}}
		want := utc(t, c.at)
		if got, found := s.LatestWakeUp(want); !found || !got.Equal(want) {
			t.Errorf("%s %s, %s: then the latest is %v, want %v", c.zone, c.clock, c.why, got.UTC(), want)
		}
		if got, found := s.LatestWakeUp(want.Add(-1)); !found || !got.Before(want) || want.Sub(got) > 49*time.Hour {
			t.Errorf("%s %s, %s: just before %v the latest is %v", c.zone, c.clock, c.why, want, got.UTC())
		}
		if got := s.Next(want.Add(-1)); !got.Equal(want) {
			t.Errorf("%s %s, %s: the next is %v, want %v", c.zone, c.clock, c.why, got.UTC(), want)
		}
	}
}

// office is a schedule of long timeouts by day and short ones by night.
func office(t *testing.T, zone string) *schedule.Schedule {
	t.Helper()
	return &schedule.Schedule{TimeZoneID: zone, WakeUp: []schedule.Clock{clock(t, "13:30"), clock(t, "08:00")},
		ScaleDownTimeout: []schedule.Timeout{{Time: clock(t, "19:00"), Value: 10}, {Time: clock(t, "08:00"), Value: 1800}, {Time: clock(t, "22:00"), Value: 10}}}
}

func TestIdleTimeoutOfTheDay(t *testing.T) {
	for _, c := range []struct {
		zone, now string
		want      time.Duration
		next      string
	}{
		{"Europe/Paris", "2026-06-01 06:00", 30 * time.Minute, "2026-06-01 11:30"},
		{"Europe/Paris", "2026-06-01 11:30", 30 * time.Minute, "2026-06-01 17:00"},
		{"Europe/Paris", "2026-06-01 16:59", 30 * time.Minute, "2026-06-01 17:00"},
		{"Europe/Paris", "2026-06-01 17:00", 10 * time.Second, "2026-06-02 06:00"}, // at 22:00 nothing changes
		{"Europe/Paris", "2026-06-01 21:59", 10 * time.Second, "2026-06-02 06:00"}, // the last minute of the day
		{"Europe/Paris", "2026-06-01 22:00", 10 * time.Second, "2026-06-02 06:00"}, // over midnight, before the first entry
		{"Europe/Paris", "2026-06-02 05:59", 10 * time.Second, "2026-06-02 06:00"},
		{"Europe/Paris", "2026-03-28 23:30", 10 * time.Second, "2026-03-29 06:00"}, // a night of 23 hours
		{"Europe/Paris", "2026-10-24 23:30", 10 * time.Second, "2026-10-25 07:00"}, // one of 25
		{"America/New_York", "2026-06-01 06:00", 10 * time.Second, "2026-06-01 12:00"},
		{"Asia/Kolkata", "2026-06-01 06:00", 30 * time.Minute, "2026-06-01 08:00"},
		{"Australia/Lord_Howe", "2026-06-01 06:00", 30 * time.Minute, "2026-06-01 08:30"},
		{"Pacific/Chatham", "2026-06-01 06:00", 30 * time.Minute, "2026-06-01 06:15"},
	} {
		s := office(t, c.zone)
		if got, found := s.IdleTimeout(utc(t, c.now)); !found || got != c.want {
			t.Errorf("%s at %s: got %v, want %v", c.zone, c.now, got, c.want)
		}
		if got := s.Next(utc(t, c.now)); !got.Equal(utc(t, c.next)) {
			t.Errorf("%s after %s: got %v, want %v", c.zone, c.now, got.UTC(), c.next)
		}
	}
}

// TestEntriesInOneGap: both would begin at the end of the gap, and the one that is later on the clock holds.
func TestEntriesInOneGap(t *testing.T) {
	s := &schedule.Schedule{TimeZoneID: "Europe/Paris", ScaleDownTimeout: []schedule.Timeout{
		{Time: clock(t, "02:45"), Value: 3}, {Time: clock(t, "01:00"), Value: 1}, {Time: clock(t, "02:15"), Value: 2}}}
	after := utc(t, "2026-03-29 01:00")
	if got, _ := s.IdleTimeout(after.Add(-1)); got != time.Second {
		t.Errorf("before the gap: %v", got)
	}
	if got, _ := s.IdleTimeout(after); got != 3*time.Second {
		t.Errorf("after the gap: %v", got)
	}
	if got := s.Next(after.Add(-1)); !got.Equal(after) {
		t.Errorf("next is %v", got)
	}
	if got := s.Next(after); !got.Equal(utc(t, "2026-03-29 23:00")) {
		t.Errorf("then next is %v", got)
	}
}

// TestReplacedInAGap: an entry that another one replaces at once changes nothing.
func TestReplacedInAGap(t *testing.T) {
	s := &schedule.Schedule{TimeZoneID: "Europe/Paris", ScaleDownTimeout: []schedule.Timeout{
		{Time: clock(t, "01:00"), Value: 1}, {Time: clock(t, "02:15"), Value: 2}, {Time: clock(t, "02:45"), Value: 1}}}
	if got := s.Next(utc(t, "2026-03-29 00:30")); !got.Equal(utc(t, "2026-03-30 00:15")) {
		t.Errorf("next is %v", got.UTC())
	}
}

// TestTheHourThatComesTwice: an entry does not come back with its hour.
func TestTheHourThatComesTwice(t *testing.T) {
	s := &schedule.Schedule{TimeZoneID: "Europe/Paris", ScaleDownTimeout: []schedule.Timeout{{Time: clock(t, "02:15"), Value: 1}, {Time: clock(t, "02:45"), Value: 2}}}
	for _, c := range []struct {
		now  string
		want time.Duration
	}{{"2026-10-25 00:14", 2}, {"2026-10-25 00:15", 1}, {"2026-10-25 00:45", 2}, {"2026-10-25 01:15", 2}, {"2026-10-25 01:45", 2}, {"2026-10-26 01:15", 1}} {
		if got, _ := s.IdleTimeout(utc(t, c.now)); got != c.want*time.Second {
			t.Errorf("%s: got %v, want %d s", c.now, got, c.want)
		}
	}
}

// TestClockPutBackOverMidnight: at a quarter past eleven in the evening, tomorrow's midnight has been there already.
func TestClockPutBackOverMidnight(t *testing.T) {
	s := &schedule.Schedule{TimeZoneID: "America/St_Johns", WakeUp: []schedule.Clock{0}}
	now := utc(t, "2010-11-07 02:45")
	if got, _ := s.LatestWakeUp(now); !got.Equal(utc(t, "2010-11-07 02:30")) {
		t.Errorf("latest is %v", got.UTC())
	}
	if got := s.Next(now); !got.Equal(utc(t, "2010-11-08 03:30")) {
		t.Errorf("next is %v", got.UTC())
	}
}

func TestNothingToSay(t *testing.T) {
	now := utc(t, "2026-06-01 12:00")
	one := []schedule.Timeout{{Time: clock(t, "12:00"), Value: 7}}
	for name, s := range map[string]*schedule.Schedule{
		"nil": nil, "empty": {TimeZoneID: "Europe/Paris"}, "no zone": {WakeUp: []schedule.Clock{1}},
		"unknown zone": {TimeZoneID: "Europe/Nowhere", WakeUp: []schedule.Clock{1}, ScaleDownTimeout: one},
		"this machine": {TimeZoneID: "Local", WakeUp: []schedule.Clock{1}, ScaleDownTimeout: one},
	} {
		if at, found := s.LatestWakeUp(now); found {
			t.Errorf("%s: woken at %v", name, at)
		}
		if timeout, found := s.IdleTimeout(now); found {
			t.Errorf("%s: timeout %v", name, timeout)
		}
		if next := s.Next(now); !next.IsZero() {
			t.Errorf("%s: next is %v", name, next)
		}
	}
	always := &schedule.Schedule{TimeZoneID: "UTC", ScaleDownTimeout: one}
	if got, found := always.IdleTimeout(now); !found || got != 7*time.Second || !always.Next(now).IsZero() {
		t.Errorf("one timeout for the whole day: %v, %v, next %v", got, found, always.Next(now))
	}
}
