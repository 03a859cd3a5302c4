package jobrunner

import (
	"time"

	"github.com/sluicefaas/sluice/pkg/job"
)

// observer passes on to Run's goroutine what the cluster reports.
type observer struct{ runner *Runner }

// Define implements Observer.
func (o observer) Define(d job.Definition) {
	o.runner.do(func(time.Time) { o.runner.define(d) })
}

// Undefine implements Observer.
func (o observer) Undefine(name string) { o.runner.do(func(time.Time) { o.runner.undefine(name) }) }

// LastDefinition implements Observer.
func (o observer) LastDefinition(name string) (job.Definition, bool) {
	d, known := o.runner.catalog.adopted[name]
	return d, known
}

// Observe implements Observer.
func (o observer) Observe(object job.Object) {
	o.runner.do(func(now time.Time) { o.runner.observe(object, now) })
}

// Forget implements Observer.
func (o observer) Forget(name, uid string) {
	o.runner.do(func(now time.Time) { o.runner.vanish(name, uid, now) })
}

// Workload implements Observer.
func (o observer) Workload(name string, ready int, current bool) {
	o.runner.do(func(time.Time) { o.runner.onWorkload(name, ready > 0 && current) })
}

// WorkloadGone implements Observer.
func (o observer) WorkloadGone(name string) {
	o.runner.do(func(time.Time) { o.runner.onWorkloadGone(name) })
}

// Synced implements Observer.
func (o observer) Synced() { o.runner.do(func(time.Time) { o.runner.onObserved() }) }

func (r *Runner) observe(o job.Object, now time.Time) {
	if t := r.byName[o.Name]; t != nil {
		t.watched(o)
		r.touch(t)
		return
	}
	if o.RunID == "" {
		return // somebody else's
	}
	s, there := r.strays[o.Name]
	if !there || s.object.UID != o.UID {
		s = stray{since: now}
	}
	s.object = o
	r.strays[o.Name] = s
	if r.ready() {
		r.sort(o.Name)
	}
}

// vanish takes that a Job is gone. There may be room for another one now.
func (r *Runner) vanish(name, uid string, now time.Time) {
	if s, there := r.strays[name]; there && s.object.UID == uid {
		delete(r.strays, name)
	}
	if t := r.byName[name]; t != nil {
		t.vanished(uid)
		r.touch(t)
	}
	r.probeFull(now)
}

// onObserved takes that the cluster has told all that existed at the start.
func (r *Runner) onObserved() {
	if r.observed {
		return
	}
	r.observed = true
	r.dropUndefined()
	r.begin()
	if r.read {
		signal(r.backlog.whole) // what requests wait for is known from now on
	}
}
