package scaler

import (
	"time"

	"github.com/sluicefaas/sluice/pkg/autoscale"
)

// anyone is the activity of all functions, for those that any function's activity wakes. The goroutine of Run owns it.
type anyone struct {
	// woken are the functions that it wakes.
	woken map[string]struct{}
	// inUse counts functions whose calls are queued or in flight; lastActivity is the newest of any.
	inUse        int
	lastActivity time.Time
	// told is when those that are woken were last decided about because of it; owed says that they are to be again.
	told time.Time
	owed bool
}

// others is the activity of all but f, as a signal.
func (a *anyone) others(f *tracked) autoscale.Others {
	if !f.workload.Function.WakeWithAny {
		return autoscale.Others{}
	}
	return autoscale.Others{InUse: a.inUse > count(f.busy), LastActivity: a.lastActivity}
}

// tellAny notes the activity of f. What it wakes is decided about at once, but not over and over within one tick.
func (s *Scaler) tellAny(f *tracked, busy bool, now time.Time) {
	a := &s.any
	before := a.inUse
	a.inUse += count(busy) - count(f.busy)
	f.busy = busy
	newer := f.lastActivity.After(a.lastActivity)
	if newer {
		a.lastActivity = f.lastActivity
	}
	a.owed = a.owed || newer || (before > 0) != (a.inUse > 0)
	if a.owed && now.Sub(a.told) > s.timing.tick/2 {
		s.wakeAny(now)
	}
}

// wakeAny has all decided about that any function's activity wakes.
func (s *Scaler) wakeAny(now time.Time) {
	s.any.told, s.any.owed = now, false
	for name := range s.any.woken {
		s.dependencies.next[name] = struct{}{}
	}
}

// wakes notes whether any function's activity wakes f.
func (a *anyone) wakes(f *tracked) {
	if f.workload.Function.WakeWithAny {
		a.woken[f.name] = struct{}{}
	} else {
		delete(a.woken, f.name)
	}
}

// forget drops a function that is gone.
func (a *anyone) forget(f *tracked) {
	a.inUse -= count(f.busy)
	f.busy = false
	delete(a.woken, f.name)
}
