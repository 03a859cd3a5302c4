package kube

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sluicefaas/sluice/pkg/job"
	"github.com/sluicefaas/sluice/pkg/kube"
	"github.com/sluicefaas/sluice/services/jobrunner"
)

// gather is how long events are collected before they are reported, so that a burst of them is one observation.
const gather = 5 * time.Millisecond

// reporter tells the observer what is in the view. The goroutine of Watch owns it.
type reporter struct {
	view     *view
	observer jobrunner.Observer
	synced   bool
	// definitions, workloads and jobs (by UID, with their names) are those that the observer knows.
	definitions, workloads map[string]struct{}
	jobs                   map[string]string
	// partial are the Jobs, by UID, whose end was seen before that of their pods, with the time of that.
	partial map[string]time.Time
}

func newReporter(v *view, observer jobrunner.Observer) *reporter {
	return &reporter{
		view: v, observer: observer,
		definitions: map[string]struct{}{}, workloads: map[string]struct{}{}, jobs: map[string]string{},
		partial: map[string]time.Time{},
	}
}

// run reports until ctx ends.
func (r *reporter) run(ctx context.Context) {
	const glance = 100 * time.Millisecond
	ticker := time.NewTicker(glance)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			r.lookAgain(now)
			continue
		case <-r.view.changed:
		}
		if !r.view.complete() {
			continue
		}
		if !kube.Pause(ctx, gather) { // more events may come
			return
		}
		r.report(r.view.take())
	}
}

// report tells what has changed; the first time, that is everything. What Jobs belong to comes before them.
func (r *reporter) report(changed news) {
	for name, d := range changed.definitions {
		r.reportDefinition(name, d)
	}
	for name, w := range changed.workloads {
		r.reportWorkload(name, w)
	}
	for uid, o := range changed.jobs {
		r.reportJob(uid, o)
	}
	if !r.synced {
		r.synced = true
		r.observer.Synced()
	}
}

func (r *reporter) reportDefinition(name string, d *job.Definition) {
	if d != nil {
		r.definitions[name] = struct{}{}
		r.observer.Define(*d)
		return
	}
	if _, told := r.definitions[name]; told {
		delete(r.definitions, name)
		r.observer.Undefine(name)
	}
}

func (r *reporter) reportWorkload(name string, w *workload) {
	if w != nil {
		r.workloads[name] = struct{}{}
		r.observer.Workload(name, w.ready, w.current)
		return
	}
	if _, told := r.workloads[name]; told {
		delete(r.workloads, name)
		r.observer.WorkloadGone(name)
	}
}

func (r *reporter) reportJob(uid string, o *job.Object) {
	if o != nil && r.isPartial(uid, o, time.Now()) {
		return
	}
	delete(r.partial, uid)
	if o != nil {
		r.jobs[uid] = o.Name
		r.observer.Observe(*o)
		return
	}
	if name, told := r.jobs[uid]; told {
		delete(r.jobs, uid)
		r.observer.Forget(name, uid)
	}
}

// patience is how long the end of a Job waits for the ends of its pods.
const patience = time.Second

// isPartial reports whether the end of a Job is to wait. Kubernetes ends a Job after its pods, but Jobs and pods are followed by two watches, and who is told of the end wants to
// know the exit codes. Pods that were deleted before never come.
func (r *reporter) isPartial(uid string, o *job.Object, now time.Time) bool {
	if o.End == "" {
		return false
	}
	ended := 0
	for _, p := range o.Pods {
		if !p.FinishedAt.IsZero() {
			ended++
		}
	}
	if ended == len(o.Pods) && ended >= min(o.Counts.Succeeded+o.Counts.Failed, job.MaxPods) {
		return false
	}
	since, waits := r.partial[uid]
	if !waits {
		since = now
		r.partial[uid] = now
	}
	return now.Sub(since) < patience
}

// lookAgain reports the Jobs whose end has waited long enough.
func (r *reporter) lookAgain(now time.Time) {
	for uid, since := range r.partial {
		if now.Sub(since) >= patience {
			r.view.lookAgain(types.UID(uid))
		}
	}
}
