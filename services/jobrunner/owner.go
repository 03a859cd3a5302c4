package jobrunner

import (
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/job"
)

// owner is the run that a request belongs to: the one whose record is about this very request, if there is one, else the one of the definition that its name means now. A name may
// come to mean another job, a fallback say, while the definition that it meant before is away; the request must not run for both.
func (r *Runner) owner(m job.Message, definition string) key {
	k := key{definition, m.RunID}
	if w, there := r.backlog.writing[m.Sequence]; there {
		return key{w.definition, m.RunID}
	}
	if r.placeOf(k) == m.Sequence {
		return k
	}
	for name := range r.shelf {
		if other := (key{name, m.RunID}); r.placeOf(other) == m.Sequence {
			return other
		}
	}
	for other := range r.tracked {
		if other.id == m.RunID && r.placeOf(other) == m.Sequence {
			return other
		}
	}
	if word := (key{m.Definition, m.RunID}); r.inQueue(word) { // the record may not say yet where its request is
		return word
	}
	return k
}

// placeOf is where in the queue the run's request is or was, 0 if nobody knows.
func (r *Runner) placeOf(k key) uint64 {
	t := r.tracked[k]
	switch {
	case t == nil:
		kept, _ := r.shelf.get(k)
		return kept.sequence
	case t.delivery != nil:
		return t.request.Sequence
	case !t.known:
		return t.place
	}
	return t.run.Sequence
}

// inQueue reports whether a run may still wait for its request.
func (r *Runner) inQueue(k key) bool {
	if t := r.tracked[k]; t != nil {
		return t.doubts > 0 || t.waits()
	}
	kept, there := r.shelf.get(k)
	return there && !kept.over()
}

// giveBack lets a request come again that nobody can have now: its job may be defined again. One that is in our hands has a new handle.
func (r *Runner) giveBack(k key, delivery *bus.Delivery) {
	if t := r.tracked[k]; t != nil && t.delivery != nil && t.request.Sequence == delivery.Job().Sequence {
		t.delivery.Replace(delivery)
		return
	}
	_ = delivery.Again(r.timing.tick) // it comes again after the ack wait at the latest
}

// unknown reports whether a request has waited for long enough for a job of its name.
func (r *Runner) unknown(q *queue, m job.Message, now time.Time) bool {
	return now.Sub(m.Accepted) > r.timing.unknown && (q.definition != "" || r.emptied(q, now))
}
