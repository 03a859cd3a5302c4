package jobrunner

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/sluicefaas/sluice/pkg/job"
)

// slots counts the Jobs that are not over, and those that are about to be. The goroutine of Run owns it.
type slots struct {
	used map[string]int // by definition
	// total is their sum, and most how many there may be.
	total, most int
	// held are the requests in our hands of runs without a slot, by definition.
	held map[string]map[*tracked]struct{}
	rate bucket
}

func newSlots(config Config) slots {
	return slots{used: map[string]int{}, most: config.MaxRunning, held: map[string]map[*tracked]struct{}{}, rate: bucket{rate: config.CreateRate}}
}

// bucket lets so many creations a second through, and a tenth of that at once (a token bucket).
type bucket struct {
	rate, tokens float64
	filled       time.Time
}

// take takes a token, or says when there is one.
func (b *bucket) take(now time.Time) (ok bool, next time.Time) {
	if b.rate <= 0 {
		return true, now
	}
	most := max(1, b.rate/10)
	b.tokens = min(most, b.tokens+b.rate*now.Sub(b.filled).Seconds())
	b.filled = now
	if b.tokens < 1 {
		missing := (1 - b.tokens) / b.rate
		return false, now.Add(time.Duration(missing*float64(time.Second)) + time.Millisecond)
	}
	b.tokens--
	return true, now
}

// free is how many more Jobs of the definition may be made. Jobs that are over and kept do not count (row 23 of the bugs of others, SlimFaas #333).
func (r *Runner) free(d job.Definition) int {
	return min(d.Parallel-r.slots.used[d.Name], r.slots.most-r.slots.total)
}

// recount brings what is counted of a run up to date.
func (r *Runner) recount(t *tracked) {
	there := r.tracked[t.key] == t
	if t.granted && (!there || !t.waits() || t.delivery == nil || r.needs.block(t.run.DependsOn)) {
		t.granted = false // it is being created or over, its request is not ours any more, or it has to wait again
	}
	if holds := there && t.occupies(); holds != t.holds {
		t.holds = holds
		r.occupy(t.definition, holds)
	}
	r.hold(t, there && t.delivery != nil && !t.holds && (t.waits() || !t.known))
	if able := t.held && t.waits() && t.denied == nil; able != t.able {
		t.able = able
		r.review(t.definition)
	}
	r.need(t, there)
}

// hold notes whether the run's request is in our hands and has no slot.
func (r *Runner) hold(t *tracked, held bool) {
	if held == t.held {
		return
	}
	t.held = held
	all := r.slots.held[t.definition]
	switch {
	case !held:
		if delete(all, t); len(all) == 0 {
			delete(r.slots.held, t.definition)
		}
	case all == nil:
		r.slots.held[t.definition] = map[*tracked]struct{}{t: {}}
	default:
		all[t] = struct{}{}
	}
	r.review(t.definition)
}

// occupy counts a slot that is taken or free again.
func (r *Runner) occupy(definition string, taken bool) {
	change := -1
	if taken {
		change = 1
	}
	full := r.slots.total >= r.slots.most
	r.slots.total += change
	if r.slots.used[definition] += change; r.slots.used[definition] == 0 {
		delete(r.slots.used, definition)
	}
	r.review(definition)
	if full && !taken {
		r.reviewAll()
	}
}

// occupies reports whether the run takes a slot: it has a Job that is not over, is about to get one, or its Job has to be deleted first. A Job that is over
// takes none, also before that is in the record.
func (t *tracked) occupies() bool {
	switch {
	case t.granted:
		return true
	case !t.known:
		return t.object != nil && !t.object.Suspended && t.object.End == ""
	}
	return t.created() && t.unended()
}

// admit gives the free slots of a definition to the requests in our hands, the oldest first, and asks for as many more as there is room for.
func (r *Runner) admit(name string, now time.Time) {
	d, defined := r.catalog.active[name]
	if defined && r.ready() {
		for _, t := range r.candidates(name) {
			if !r.grant(t, d, now) {
				break
			}
		}
	}
	for t := range r.slots.held[name] {
		r.touch(t) // why it waits may have changed
	}
	r.askFor(name, now)
}

// candidates are the requests in our hands that could start, the oldest first.
func (r *Runner) candidates(name string) (all []*tracked) {
	for t := range r.slots.held[name] {
		if t.waits() && (t.denied == nil || r.troubles.full) && !r.needs.block(t.run.DependsOn) {
			all = append(all, t)
		}
	}
	slices.SortFunc(all, func(a, b *tracked) int { return cmp.Compare(a.request.Sequence, b.request.Sequence) })
	return all
}

// grant gives a slot to a request, if there is one.
func (r *Runner) grant(t *tracked, d job.Definition, now time.Time) bool {
	if r.free(d) <= 0 {
		return false
	}
	if h := &r.troubles; h.full {
		if now.Before(h.probe) {
			r.alarm.set(h.probe)
			r.later(d.Name, h.probe)
			return false
		}
		h.probe = now.Add(r.timing.quota)
	}
	if ok, next := r.slots.rate.take(now); !ok {
		r.later(d.Name, next)
		return false
	}
	t.granted, t.denied = true, nil
	r.recount(t)
	r.touch(t)
	return true
}

// later has a definition reviewed at that time.
func (r *Runner) later(name string, at time.Time) {
	r.waiting[name] = at
	r.alarm.set(at)
}

// wakeAt has the run decided about at that time.
func (r *Runner) wakeAt(t *tracked, at time.Time) {
	t.due = at
	r.alarm.set(at)
}

func (r *Runner) onAlarm(now time.Time) {
	r.alarm.rang()
	for name, at := range r.waiting {
		if now.Before(at) {
			r.alarm.set(at)
			continue
		}
		delete(r.waiting, name)
		r.review(name)
	}
	for _, t := range r.tracked {
		switch {
		case t.due.IsZero():
		case now.Before(t.due):
			r.alarm.set(t.due)
		default:
			r.touch(t)
		}
	}
}

// reviewAll has every definition reviewed of which requests are in our hands or in the queue.
func (r *Runner) reviewAll() {
	for name := range r.slots.held {
		r.review(name)
	}
	for _, q := range r.queues.all {
		if q.definition != "" {
			r.review(q.definition)
		}
	}
}

// gate says whether the run may start. What only a moment's wait stands in the way of is not said.
func (r *Runner) gate(t *tracked) job.Gate {
	if gate := r.needs.gate(t.run.DependsOn, r.observed); gate.Closed() {
		return gate
	}
	if t.granted {
		return job.Gate{}
	}
	d, defined := r.catalog.active[t.definition]
	switch {
	case defined && r.troubles.full:
		return job.Gate{Phase: job.Queued, Reason: job.ReasonJobQuotaExceeded, Message: "the namespace has no room for another Job"}
	case defined && r.free(d) <= 0:
		return r.slotGate(d)
	}
	return job.Gate{Phase: t.run.Phase, Reason: t.run.Reason, Message: t.run.Message}
}

// slotGate says why there is no slot for a request.
func (r *Runner) slotGate(d job.Definition) job.Gate {
	gate := job.Gate{Phase: job.Queued, Reason: job.ReasonConcurrencyLimit}
	switch {
	case r.slots.used[d.Name] >= d.Parallel:
		gate.Message = fmt.Sprintf("%d Jobs of %s run, and no more may", d.Parallel, d.Name)
	case r.slots.total >= r.slots.most:
		gate.Message = fmt.Sprintf("%d Jobs of all definitions run, and no more may", r.slots.most)
	default:
		gate.Message = "others were asked for before it, and wait"
	}
	return gate
}
