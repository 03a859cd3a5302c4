package jobrunner

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/job"
)

// maxHeld bounds the requests of one definition that are in our hands and have no slot. The others stay in the stream, where they cost nothing.
const maxHeld = 8

// maxStrangers bounds the queues of unknown jobs that are emptied at a time: anybody may publish to any name.
const maxStrangers = 8

// Reasons of dead letters, beside those of rejected requests.
const (
	reasonUnknownJob = "unknown-job"
	reasonConflict   = "IdempotencyConflict"
)

// queue is one word of the subjects of requests: the name of a definition, an alias, or a name that the fallback stands for.
type queue struct {
	name string
	// definition is that of the word, empty if there is none, since missing.
	definition string
	missing    time.Time
	// depth is as of the last look, and active when there was something in the queue.
	depth  uint64
	active time.Time
	// puller takes requests out of it, nil if none does; leaving says that it ends.
	puller  *puller
	leaving bool
	// handled counts the deliveries, and granted how many there may be (see puller).
	handled, granted uint64
}

// queues are those that have requests, or had some a moment ago. The goroutine of Run owns it.
type queues struct {
	all    map[string]*queue
	depths map[string]uint64
	failed bool
	// strangers counts those of unknown jobs that are being emptied, as of the last look at all depths.
	strangers int
	// starting are those that need a puller.
	starting []*queue
}

func newQueues() queues { return queues{all: map[string]*queue{}} }

// pollDepths reads the depth of every queue each tick until ctx ends. A stream that is gone for a while is made anew.
func (r *Runner) pollDepths(ctx context.Context) {
	ticker := time.NewTicker(r.timing.tick)
	defer ticker.Stop()
	var failing time.Time // since when
	for {
		depths, err := r.deps.Bus.JobDepths(ctx)
		switch {
		case err == nil:
			failing = time.Time{}
			r.readAges(ctx, depths)
		case failing.IsZero():
			failing = time.Now()
		case time.Since(failing) > r.timing.missing:
			r.restoreStream(ctx)
		}
		r.do(func(now time.Time) { r.onDepths(depths, err, now) })
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// restoreStream makes the stream if it is gone. That is not done at once: a server that is about to remove one finds a part of it in the new one of its name.
func (r *Runner) restoreStream(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, patience[onBus])
	defer cancel()
	_ = r.deps.Bus.EnsureJobs(ctx) // while NATS is away, the next look does it
}

func (r *Runner) onDepths(depths map[string]uint64, err error, now time.Time) {
	if failed := err != nil; failed != r.queues.failed {
		r.queues.failed = failed
		if failed {
			r.deps.Logger.Warn().Err(err).Msg("the queues of jobs cannot be read")
		} else {
			r.deps.Logger.Info().Msg("the queues of jobs can be read again")
			r.backlog.again(now, r.timing.lost)
		}
	}
	if err != nil {
		return
	}
	r.queues.depths = depths
	for name := range depths {
		r.queue(name)
	}
	r.queues.strangers = 0
	for name, q := range r.queues.all {
		if q.depth = depths[name]; q.definition == "" && q.puller != nil {
			r.queues.strangers++
		}
	}
	for _, q := range r.queues.all {
		r.tend(q, now)
	}
	r.lookForLost(now)
}

// onPublished takes the hint that somebody has published a request.
func (r *Runner) onPublished(name string, now time.Time) {
	q := r.queue(name)
	q.depth = max(q.depth, 1)
	r.tend(q, now)
}

func (r *Runner) queue(name string) *queue {
	q := r.queues.all[name]
	if q == nil {
		q = &queue{name: name}
		r.queues.all[name] = q
		r.resolve(q)
	}
	return q
}

// resolve finds out whose requests the queue has.
func (r *Runner) resolve(q *queue) {
	d, defined := job.Find(q.name, r.catalog.shown)
	switch {
	case defined:
		q.definition, q.missing = d.Name, time.Time{}
	case q.missing.IsZero():
		q.definition, q.missing = "", time.Now()
	default:
		q.definition = ""
	}
}

// tend begins or ends the taking of requests out of the queue.
func (r *Runner) tend(q *queue, now time.Time) {
	if q.depth > 0 {
		q.active = now
	}
	unknown := q.definition == ""
	switch idle := q.depth == 0 && (unknown || now.Sub(q.active) > r.timing.idle); {
	case idle && q.puller == nil:
		delete(r.queues.all, q.name)
	case idle && !q.leaving:
		q.leaving = true
		q.puller.stop()
	case idle || !r.ready() || strings.ContainsAny(q.name, "*>"): // no consumer can be told apart from that of all requests
	case q.definition != "":
		r.review(q.definition)
	case !r.emptied(q, now):
	case q.puller != nil:
		r.let(q, maxHeld)
	case r.queues.strangers < maxStrangers:
		r.queues.strangers++
		r.let(q, maxHeld)
	}
}

// emptied reports whether the requests of a job that is not known are given up. The runs that wait for them end first: a request must not be gone while a record says that it is
// in the queue, because it would be queued again.
func (r *Runner) emptied(q *queue, now time.Time) bool {
	if !r.isNobodys(q.name) {
		q.missing = now
	}
	return now.Sub(q.missing) > r.timing.unknown && r.shelf.waiting(q.name) == 0
}

// isNobodys reports whether no definition has the name, nor may come to have it when the cluster has told all and has said which ones it takes.
func (r *Runner) isNobodys(name string) bool {
	if !r.observed {
		return false
	}
	for _, k := range r.kinds {
		wanted := k.wanted()
		if wanted == nil || k.decided() {
			continue
		}
		if _, has := job.Find(name, map[string]job.Definition{k.name: *wanted}); has {
			return false
		}
	}
	return true
}

// askFor lets the pullers of a definition take as many requests as there are slots free for, beside those that are in our hands.
func (r *Runner) askFor(name string, now time.Time) {
	d, defined := r.catalog.active[name]
	for _, q := range r.queues.all {
		if q.definition != name || q.depth == 0 && now.Sub(q.active) > r.timing.idle {
			continue
		}
		count := 0
		if defined && r.ready() {
			count = r.wants(d)
		}
		r.let(q, count)
	}
}

// wants is how many more requests of the definition may come into our hands.
func (r *Runner) wants(d job.Definition) int {
	held := r.slots.held[d.Name]
	most := maxHeld
	if r.troubles.full {
		most = 1 // to find out when there is room again
	}
	return max(0, min(r.free(d)-r.startable(d.Name), most-len(held)))
}

// startable is how many requests in our hands wait for nothing but a slot. One whose record cannot be read or written does not keep others from theirs.
func (r *Runner) startable(name string) (count int) {
	for t := range r.slots.held[name] {
		if t.failures == 0 && !r.needs.block(t.run.DependsOn) {
			count++
		}
	}
	return count
}

// let allows the queue that many deliveries from now on.
func (r *Runner) let(q *queue, count int) {
	q.granted = q.handled + uint64(count)
	switch {
	case q.leaving:
	case q.puller != nil:
		q.puller.let(q.granted)
	case count > 0:
		r.queues.starting = append(r.queues.starting, q)
	}
}

// startPullers begins to take requests out of queues that may give some.
func (r *Runner) startPullers(ctx context.Context) {
	for _, q := range r.queues.starting {
		if q.puller != nil || q.granted == 0 || r.queues.all[q.name] != q {
			continue
		}
		q.puller = newPuller(ctx, r, q.name)
		q.puller.let(q.granted)
		r.helpers.Go(q.puller.run)
	}
	r.queues.starting = r.queues.starting[:0]
}

// whyUnknown says why there is no job of the name.
func (r *Runner) whyUnknown(name string) string {
	if d, _ := job.Find(name, r.catalog.shown); d.Refused != "" {
		return fmt.Sprintf("the definition of the job %s is not used: %s", d.Name, d.Refused)
	}
	return fmt.Sprintf("there is no job of the name %s", name)
}

// onLeft notes that the puller of a queue has ended.
func (r *Runner) onLeft(name string, now time.Time) {
	q := r.queue(name)
	q.puller, q.leaving, q.handled, q.granted = nil, false, 0, 0
	r.tend(q, now)
}

// onDelivery takes a request into our hands.
func (r *Runner) onDelivery(name string, delivery *bus.Delivery, now time.Time) {
	q := r.queue(name)
	q.handled++
	q.active = now
	message := delivery.Job()
	k := r.owner(message, cmp.Or(q.definition, name))
	d, defined := r.catalog.active[k.definition]
	switch {
	case job.ValidRunID(message.RunID) != nil:
		r.buryStranger(delivery, job.ReasonBadMessage, "its run id is none")
	case defined:
		r.receive(d, delivery, now)
	case r.unknown(q, message, now) && !r.inQueue(k):
		r.buryStranger(delivery, reasonUnknownJob, r.whyUnknown(k.definition))
	default:
		r.giveBack(k, delivery)
	}
	switch {
	case q.definition != "":
		r.review(q.definition)
	case r.emptied(q, now):
		r.let(q, maxHeld)
	}
}
