package scaler

import (
	"net/netip"
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

func (o observer) Inside(inside map[netip.Addr]function.Insider) {
	o.scaler.do(func(time.Time) { o.scaler.inside.report(inside) })
}

// Last implements Observer.
func (o observer) Last(name string) (function.Function, bool) {
	f, known := o.scaler.adopted[name]
	return f, known
}

// Synced implements Observer.
func (o observer) Synced() { o.scaler.do(o.scaler.onSynced) }

// onSynced forgets what an earlier leader has shared and the cluster does not have, decides about all that waited for the graph, and
// begins to wait until all is shared. From here on a name that is unknown is a problem.
func (s *Scaler) onSynced(now time.Time) {
	for name, f := range s.functions {
		if !f.present {
			s.forget(name)
		}
	}
	s.dependencies.synced = true
	s.regraph()
	s.decideNext(now)
	s.sharing.await(s.functions)
}
