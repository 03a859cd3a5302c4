package kube

import (
	"context"
	"net/netip"
	"reflect"
	"time"

	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/pkg/kube"
	"github.com/sluicefaas/sluice/services/scaler"
)

// gather is how long events are collected before they are reported, so that a burst of them is one observation. It is part
// of the time in which a function starts.
const gather = 5 * time.Millisecond

// reporter tells the observer what is in the view. The goroutine of Watch owns it.
type reporter struct {
	cluster  *Cluster
	view     *view
	observer scaler.Observer
	synced   bool
	// again is when a function must be looked at although nothing happens.
	again map[string]time.Time
	// inside is what it knows of who is, nil before it was told.
	inside map[netip.Addr]function.Insider
}

func newReporter(c *Cluster, v *view, observer scaler.Observer) *reporter {
	return &reporter{cluster: c, view: v, observer: observer, again: map[string]time.Time{}}
}

// run reports until ctx ends.
func (r *reporter) run(ctx context.Context) {
	const glance = time.Second
	ticker := time.NewTicker(glance)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			r.reportDue(ctx, now)
			continue
		case <-r.view.changed:
		}
		if !r.view.complete() {
			continue
		}
		if !kube.Pause(ctx, gather) { // more events may come
			return
		}
		r.reportStale(ctx)
	}
}

// reportStale reports what has changed; the first time, that is everything. Who is inside comes first: a pod that is called may call
// others at once.
func (r *reporter) reportStale(ctx context.Context) {
	r.reportInside(ctx)
	for _, name := range r.view.takeStale() {
		if ctx.Err() != nil {
			return
		}
		r.report(name, time.Now())
	}
	if !r.synced {
		r.synced = true
		r.observer.Synced()
	}
}

// reportDue reports what time alone has changed.
func (r *reporter) reportDue(ctx context.Context, now time.Time) {
	for name, due := range r.again {
		if ctx.Err() == nil && !now.Before(due) {
			r.report(name, now)
		}
	}
}

// report tells the observer of one function, or of what functions depend on, unless it knows all that.
func (r *reporter) report(name string, now time.Time) {
	delete(r.again, name)
	o, exists := r.view.observe(name, now)
	before, known := r.cluster.known(name)
	if known && (!exists || before.isAnother(o)) {
		r.cluster.forget(name)
		r.observer.Forget(name)
		known = false
	}
	if !exists {
		return
	}
	if o.again > 0 {
		r.again[name] = now.Add(o.again)
	}
	r.cluster.tell(name, o)
	if !known || !reflect.DeepEqual(before.workload, o.workload) {
		r.observer.Observe(o.workload)
	}
}

// isAnother reports whether what was known of the name does not hold any more: it is another object, or a function that was none, or none any
// more.
func (o observation) isAnother(now observation) bool {
	return o.count.uid != now.count.uid || o.workload.Watched != now.workload.Watched
}
