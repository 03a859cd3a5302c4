package scaler

import (
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/function"
)

// listen subscribes to wakes and activity.
func (s *Scaler) listen() (stop func(), err error) {
	stopWakes, err := s.deps.Bus.OnWake(func(name string) {
		s.do(func(now time.Time) { s.touch(name, now) })
	})
	if err != nil {
		return nil, err
	}
	stopActivity, err := s.deps.Bus.OnActivity(func(activity bus.Activity) {
		s.do(func(now time.Time) { s.onActivity(activity, now) })
	})
	if err != nil {
		stopWakes()
		return nil, err
	}
	return func() { stopWakes(); stopActivity() }, nil
}

// touch notes activity of a function and decides at once.
func (s *Scaler) touch(name string, now time.Time) {
	if f := s.functions[name]; f != nil && f.present {
		f.lastActivity = now
		s.evaluate(f, now)
	}
}

// observer passes on to Run's goroutine what the cluster reports.
type observer struct{ scaler *Scaler }

func (o observer) Observe(w function.Workload) {
	o.scaler.do(func(now time.Time) { o.scaler.observe(w, now) })
}

func (o observer) Forget(name string) { o.scaler.do(func(time.Time) { o.scaler.forget(name) }) }

func (o observer) Synced() { o.scaler.do(func(time.Time) { o.scaler.onSynced() }) }

// onSynced forgets what an earlier leader has shared and the cluster does not have, and begins to wait until all is shared.
func (s *Scaler) onSynced() {
	for name, f := range s.functions {
		if !f.present {
			s.forget(name)
		}
	}
	s.sharing.await(s.functions)
}
