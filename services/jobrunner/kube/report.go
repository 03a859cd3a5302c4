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
		if !r.synced && !r.awaitPods(ctx) {
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
	if o != nil && r.synced && r.holds(uid, o, time.Now()) {
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

const (
	// patience is how long the end of a Job waits for the ends of its pods.
	patience = time.Second
	// fresh is how long after its end a Job may seem to lack pods because they are seen late, and not because they were deleted. It allows for clocks that differ.
	fresh = time.Minute
)

// isPartial reports whether the end of a Job was seen before that of its pods. Kubernetes ends a Job after its pods, but the two are followed by two watches, and who is told of
// the end wants to know the exit codes.
func isPartial(o *job.Object, now time.Time) bool {
	if o.End == "" || now.Sub(o.FinishedAt) > fresh {
		return false
	}
	ended := 0
	for _, p := range o.Pods {
		if !p.FinishedAt.IsZero() {
			ended++
		}
	}
	return ended < len(o.Pods) || ended < min(o.Counts.Succeeded+o.Counts.Failed, job.MaxPods)
}

// holds reports whether the end of a Job is to wait for its pods. Those that were deleted never come.
func (r *reporter) holds(uid string, o *job.Object, now time.Time) bool {
	if !isPartial(o, now) {
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

// awaitPods is the same wait for all Jobs, before everything is told for the first time. It is false when ctx has ended.
func (r *reporter) awaitPods(ctx context.Context) bool {
	for deadline := time.Now().Add(patience); r.view.isPartial(time.Now()) && time.Now().Before(deadline); {
		if !kube.Pause(ctx, gather) {
			return false
		}
	}
	return ctx.Err() == nil
}
