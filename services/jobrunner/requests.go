package jobrunner

import (
	"context"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/job"
)

// receive takes a request, of which a record may be there already.
func (r *Runner) receive(d job.Definition, delivery *bus.Delivery, now time.Time) {
	message := delivery.Job()
	accepted := job.Accept(d, message, now)
	if len(accepted.Request) > maxRequest {
		accepted.Request = nil
	}
	k := key{accepted.Definition, accepted.ID}
	t := r.track(k)
	if t.delivery != nil || t.known && !t.waits() {
		r.metrics.redelivered.Inc()
	}
	switch {
	case t.delivery == nil:
	case t.request.Sequence == message.Sequence:
		t.delivery.Replace(delivery) // the server has taken it for lost: this is its new handle
		return
	case !t.known || t.doubts > 0 || t.run.SpecHash != t.accepted.SpecHash: // the one in our hands may be the wrong one
		_ = delivery.Again(r.timing.tick) // it comes again after the ack wait at the latest
		return
	case accepted.SpecHash == t.accepted.SpecHash:
		r.settleTwin(delivery)
		return
	default:
		r.buryStranger(delivery, reasonConflict, "the run "+k.id+" has another request")
		return
	}
	t.delivery, t.request, t.accepted, t.progress = delivery, message, accepted, now
	t.request.Body = nil // it is in accepted
}

// maxRequest is of a body that is kept in the record, beside the Job that it makes: both have to fit into a message of NATS.
const maxRequest = 256 << 10

// release lets go of a request.
func (r *Runner) release(t *tracked) {
	t.delivery, t.request, t.accepted = nil, job.Message{}, job.Run{}
	r.touch(t)
}

// keepDelivery tells the server that the request is still worked on, before the ack wait is over.
func (r *Runner) keepDelivery(t *tracked, now time.Time) {
	if t.delivery == nil || now.Sub(t.progress) < r.deps.Bus.ProgressInterval()-r.timing.tick {
		return
	}
	t.progress = now
	if err := t.delivery.InProgress(); err != nil {
		r.deps.Logger.Debug().Err(err).Str("job", t.definition).Str("run", t.id).Msg("progress was not reported")
	}
}

// settleTwin takes a second message of a run out of the queue, whose first one is in our hands.
func (r *Runner) settleTwin(delivery *bus.Delivery) {
	r.turns.addWork(onBus, func(ctx context.Context) func(time.Time) {
		err := delivery.Done(ctx)
		return func(time.Time) {
			if err != nil {
				r.deps.Logger.Debug().Err(err).Msg("a request that was published twice comes again")
			}
		}
	})
}

// buryStranger keeps a message as a dead letter that makes no run.
func (r *Runner) buryStranger(delivery *bus.Delivery, reason, detail string) {
	r.turns.addWork(onBus, func(ctx context.Context) func(time.Time) {
		err := r.deps.Bus.BuryJob(ctx, delivery, reason, detail)
		return func(time.Time) {
			if err != nil {
				r.deps.Logger.Debug().Err(err).Str("reason", reason).Msg("a request that can make no run comes again")
				return
			}
			r.metrics.buried(reason)
			r.deps.Logger.Warn().Str("reason", reason).Str("detail", detail).Msg("the request is kept as a dead letter")
		}
	})
}

// leave hands back the requests in our hands, so that the next leader gets them at once. Nothing else of the Runner runs any more.
func (r *Runner) leave() {
	for _, t := range r.tracked {
		if t.delivery != nil {
			_ = t.delivery.Again(0) // it comes again after the ack wait at the latest
		}
	}
	r.leaveFunctions()
}
