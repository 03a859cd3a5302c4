package autoscale

import (
	"fmt"
	"time"

	"github.com/sluicefaas/sluice/pkg/function"
)

// activity says in words what makes the function active, or "" if nothing does.
func activity(now time.Time, f function.Function, s Signals) string {
	switch {
	case s.DepthKnown && s.Depth > 0:
		return are(s.Depth, "queued")
	case s.InFlight > 0:
		return are(int64(s.InFlight), "in flight")
	case recent(now, s.LastActivity, f):
		return "it was called"
	case recent(now, wakeUp(now, f), f):
		return "its schedule wakes it"
	case s.Dependents.InUse || recent(now, s.Dependents.LastActivity, f):
		return "a function that depends on it is called"
	case f.WakeWithAny && (s.Any.InUse || recent(now, s.Any.LastActivity, f)):
		return "another function is called"
	case s.NeverCalled && recent(now, s.Since, f):
		return "it was never called"
	}
	return ""
}

// LastActivity is the newest activity of f itself, or what is as good: a wake-up of its schedule, a call of any function if that wakes
// it. Functions that f depends on take it for their own.
func LastActivity(now time.Time, f function.Function, s Signals) time.Time {
	newest := s.LastActivity
	others := []time.Time{wakeUp(now, f)}
	if f.WakeWithAny {
		others = append(others, s.Any.LastActivity)
	}
	if s.NeverCalled {
		others = append(others, s.Since)
	}
	for _, at := range others {
		if at.After(newest) {
			newest = at
		}
	}
	return newest
}

// wakeUp is the newest wake-up time of the schedule, zero for none.
func wakeUp(now time.Time, f function.Function) time.Time {
	if f.Schedule == nil {
		return time.Time{}
	}
	at, _ := f.Schedule.LatestWakeUp(now)
	return at
}

// idleTimeout is the timeout in force: that of the schedule, if it has one.
func idleTimeout(now time.Time, f function.Function) time.Duration {
	if f.Schedule != nil {
		if timeout, ok := f.Schedule.IdleTimeout(now); ok {
			return timeout
		}
	}
	return f.IdleTimeout()
}

// recent says whether at is at most the timeout of f ago. A time to come is as recent as now.
func recent(now, at time.Time, f function.Function) bool {
	return !at.IsZero() && now.Sub(at) <= idleTimeout(now, f)
}

// NextCheck returns after how long time alone may change what Decide answers, for the scaler's timer; 0 means never:
// then only another signal can. The figures of triggers are new signals: NextCheck says when they are due.
func NextCheck(now time.Time, f function.Function, s Signals) time.Duration {
	if s.Fixed {
		return 0
	}
	next := time.Duration(0)
	sooner := func(after time.Duration) {
		if after > 0 && (next == 0 || after < next) {
			next = after
		}
	}
	if Triggered(f, s) {
		sooner(max(f.Scale.ScrapeInterval(), time.Millisecond))
	}
	if s.InFlight > 0 || s.DepthKnown && s.Depth > 0 {
		return next
	}
	for _, at := range []time.Time{s.LastActivity, s.Since, wakeUp(now, f), s.Dependents.LastActivity, s.Any.LastActivity} {
		sooner(untilIdle(now, at, f))
	}
	if f.Schedule != nil {
		if at := f.Schedule.Next(now); !at.IsZero() {
			sooner(max(at.Sub(now), 1))
		}
	}
	return next
}

// untilIdle is the time until at is no longer recent, 0 if it is not. Bounding the age keeps the sum from overflowing
// for a time that is far ahead, which is looked at again after one timeout.
func untilIdle(now, at time.Time, f function.Function) time.Duration {
	if !recent(now, at, f) {
		return 0
	}
	return idleTimeout(now, f) - max(now.Sub(at), 0) + 1
}

func are(n int64, what string) string {
	if n == 1 {
		return "1 call is " + what
	}
	return fmt.Sprintf("%d calls are %s", n, what)
}
