// Package schedule says when a function is to be woken and how long it may idle at which time of day: wall-clock times in a time zone,
// right also on the days when clocks change. It is pure: the caller hands it the time.
//
// A wall-clock time that a clock change skips counts at the first moment after the gap, and one that comes twice counts at its
// first. What holds at a moment is the newest entry up to then, so before the first entry of a day the last one of the day before holds.
package schedule

import (
	"slices"
	"time"
)

// Schedule is what the annotation of that name says. A nil Schedule has no entries, and neither has one whose zone is unknown.
type Schedule struct {
	// TimeZoneID is a name of the IANA database, such as Europe/Paris.
	TimeZoneID string `json:"TimeZoneID"`
	// WakeUp are the times at which the function is woken.
	WakeUp []Clock `json:"WakeUp,omitempty"`
	// ScaleDownTimeout are the timeouts by time of day.
	ScaleDownTimeout []Timeout `json:"ScaleDownTimeout,omitempty"`
}

// Timeout is an idle timeout that holds from a time of day on.
type Timeout struct {
	Time Clock `json:"Time"`
	// Value is in seconds.
	Value int `json:"Value"`
}

// LatestWakeUp is the newest wake-up time that is not after now; false if there is none.
func (s *Schedule) LatestWakeUp(now time.Time) (time.Time, bool) {
	wakeUps := s.wakeUps(now)
	i := newest(wakeUps, now)
	if i < 0 {
		return time.Time{}, false
	}
	return wakeUps[i].at, true
}

// IdleTimeout is the timeout in force at now; false if the schedule has none.
func (s *Schedule) IdleTimeout(now time.Time) (time.Duration, bool) {
	timeouts := s.timeouts(now)
	i := newest(timeouts, now)
	if i < 0 {
		return 0, false
	}
	return time.Duration(s.ScaleDownTimeout[timeouts[i].entry].Value) * time.Second, true
}

// Next is the first moment after now at which LatestWakeUp or IdleTimeout answer differently; zero for never.
func (s *Schedule) Next(now time.Time) time.Time {
	wakeUp, timeout := s.nextWakeUp(now), s.nextTimeout(now)
	if wakeUp.IsZero() || !timeout.IsZero() && timeout.Before(wakeUp) {
		return timeout
	}
	return wakeUp
}

func (s *Schedule) nextWakeUp(now time.Time) time.Time {
	wakeUps := s.wakeUps(now)
	if next := newest(wakeUps, now) + 1; next < len(wakeUps) {
		return wakeUps[next].at
	}
	return time.Time{}
}

// nextTimeout passes over entries that change nothing: those with the value that holds, and those that a clock change puts at the
// moment of a later one.
func (s *Schedule) nextTimeout(now time.Time) time.Time {
	timeouts := s.timeouts(now)
	current := newest(timeouts, now)
	if current < 0 {
		return time.Time{}
	}
	holds := s.ScaleDownTimeout[timeouts[current].entry].Value
	for i := current + 1; i < len(timeouts); i++ {
		replaced := i+1 < len(timeouts) && timeouts[i+1].at.Equal(timeouts[i].at)
		if !replaced && s.ScaleDownTimeout[timeouts[i].entry].Value != holds {
			return timeouts[i].at
		}
	}
	return time.Time{}
}

// moment is when one entry of a list comes on one date.
type moment struct {
	at    time.Time
	entry int
}

// newest is the index of the last moment that is not after now, -1 for none.
func newest(moments []moment, now time.Time) int {
	for i, m := range slices.Backward(moments) {
		if !m.at.After(now) {
			return i
		}
	}
	return -1
}

func (s *Schedule) wakeUps(now time.Time) []moment {
	if s == nil {
		return nil
	}
	return s.moments(now, s.WakeUp)
}

func (s *Schedule) timeouts(now time.Time) []moment {
	if s == nil {
		return nil
	}
	clocks := make([]Clock, len(s.ScaleDownTimeout))
	for i, timeout := range s.ScaleDownTimeout {
		clocks[i] = timeout.Time
	}
	return s.moments(now, clocks)
}

// Days around the local date of now whose entries may matter. Yesterday's have all come. Where a clock is put back over midnight,
// tomorrow's may have come, too, and the next one is a day later.
const (
	daysBehind = 1
	daysAhead  = 2
)

// moments are when the entries come, in the order of time; of two at one moment, the one that is later on the clock is behind.
func (s *Schedule) moments(now time.Time, clocks []Clock) []moment {
	zone, err := load(s.TimeZoneID)
	if err != nil || len(clocks) == 0 {
		return nil
	}
	order := make([]int, len(clocks))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return int(clocks[a] - clocks[b]) })
	year, month, day := now.In(zone).Date()
	moments := make([]moment, 0, (daysBehind+1+daysAhead)*len(clocks))
	for d := day - daysBehind; d <= day+daysAhead; d++ {
		for _, entry := range order {
			wall := time.Date(year, month, d, 0, int(clocks[entry]), 0, 0, time.UTC)
			moments = append(moments, moment{at: first(wall, zone), entry: entry})
		}
	}
	return moments
}

// widest is more than any clock is ahead of or behind UTC.
const widest = 26 * time.Hour

// first is the first moment at which the clocks of the zone show wall, which is given as if it were UTC, or have passed it. time.Date
// does not say which of its two answers it gives on the days when clocks change.
func first(wall time.Time, zone *time.Location) time.Time {
	at := wall.Add(-widest).In(zone)
	for {
		_, offset := at.Zone()
		_, end := at.ZoneBounds()
		shown := wall.Add(-time.Duration(offset) * time.Second)
		switch {
		case shown.Before(at):
			return at
		case end.IsZero() || shown.Before(end):
			return shown.In(zone)
		}
		at = end
	}
}
