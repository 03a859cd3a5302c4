package dispatcher

import (
	"context"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/upstream"
)

// settleGrace is how long a call's end may take to be settled after calls were interrupted.
const settleGrace = 3 * time.Second

// end is what has become of a delivered call.
type end int

const (
	// unsettled: what should have been stored could not be.
	unsettled end = iota
	// ended: the call is out of the queue.
	ended
	// again: the failed attempt is recorded.
	again
	// returned: there was no attempt that counts.
	returned
)

// settleContext outlives work by settleGrace: what has run must be said to have.
func settleContext(work context.Context) (settling context.Context, release func()) {
	settling, cancel := context.WithCancel(context.WithoutCancel(work))
	stop := context.AfterFunc(work, func() {
		select {
		case <-time.After(settleGrace):
			cancel()
		case <-settling.Done():
		}
	})
	return settling, func() { stop(); cancel() }
}

// settle ends the attempt: whatever the verdict, what must outlive us is stored before the queue is told.
func (c *call) settle(ctx context.Context, answer upstream.Answer, result outcome) (end, error) {
	switch result.verdict {
	case retry:
		return c.fail(ctx, answer, result)
	case bury:
		return c.bury(ctx, answer, result)
	case handBack:
		return c.giveBack(ctx, result)
	default:
		return c.done(ctx, result)
	}
}

// fail keeps that the attempt has failed, and when the next one is due.
func (c *call) fail(ctx context.Context, answer upstream.Answer, result outcome) (end, error) {
	next := bus.Attempt{
		Tries: c.record.Tries + 1, Next: time.Now().Add(result.delay), Outcome: result.detail, Status: answer.Status,
		Pending: c.record.Pending, Lost: c.record.Lost,
	}
	if err := c.keep(ctx, next); err != nil {
		return unsettled, err
	}
	return again, nil
}

// giveBack ends an attempt that does not count. What it has done of an event is kept all the same.
func (c *call) giveBack(ctx context.Context, result outcome) (end, error) {
	c.wait = max(result.delay, longestNoSlotDelay)
	if c.delivery.Call.Event == "" {
		return returned, nil
	}
	return returned, c.keep(ctx, c.record)
}

// keep stores the attempt record.
func (c *call) keep(ctx context.Context, record bus.Attempt) error {
	if err := c.worker.dispatcher.attempts.Record(ctx, c.worker.name, c.delivery.ID, record); err != nil {
		return err
	}
	c.record = record
	return nil
}

func (c *call) bury(ctx context.Context, answer upstream.Answer, result outcome) (end, error) {
	d := c.worker.dispatcher
	death := bus.Death{
		Reason: result.reason, Detail: result.detail, At: time.Now(), Attempts: c.record.Tries + 1,
		Status: answer.Status, Answer: answer.Body,
	}
	if result.unsent {
		death.Attempts--
	}
	sequence, err := d.deps.Bus.Bury(ctx, c.delivery, death)
	if err != nil {
		return unsettled, err
	}
	d.deps.Logger.Warn().Str("function", c.worker.name).Str("call", c.delivery.ID).Str("reason", result.reason).Int("attempts", death.Attempts).
		Str("detail", result.detail).Str("show", d.deps.Bus.ShowDead(sequence)).Msg("call given up")
	return c.done(ctx, result)
}

// done takes the call out of the queue, then removes its attempt record.
func (c *call) done(ctx context.Context, result outcome) (end, error) {
	if err := c.delivery.Done(ctx); err != nil {
		return unsettled, err
	}
	d := c.worker.dispatcher
	if c.over {
		d.deps.Logger.Info().Str("function", c.worker.name).Str("call", c.delivery.ID).Msg("the queue had forgotten that the call has ended: it did not run again")
		return ended, nil
	}
	d.metrics.ended(c.worker.name, result, time.Since(c.delivery.Accepted))
	if c.recorded {
		d.removeRecord(ctx, c.worker.name, c.delivery.ID)
	}
	return ended, nil
}

// removeRecord removes the attempt record of a call that is out of the queue. If that fails the record is in nobody's way.
func (d *Dispatcher) removeRecord(ctx context.Context, function, id string) {
	if err := d.attempts.Remove(ctx, function, id); err != nil {
		d.deps.Logger.Debug().Err(err).Str("function", function).Str("call", id).Msg("the attempt record stays until its time is over")
	}
}

// tell hands the end of the call to its caller, if he waits for it. He may have gone, which is no concern of the call's.
func (d *Dispatcher) tell(delivery *bus.Delivery, answer upstream.Answer, result outcome) {
	token := delivery.Call.ResultTo
	if token == "" {
		return
	}
	to := bus.Result{ID: delivery.ID, Status: answer.Status, Header: answer.Header, Body: answer.Body, Truncated: answer.Truncated}
	upstream.RemoveHopByHop(to.Header)
	if to.Truncated {
		to.Body = nil
	}
	if result.verdict == bury {
		to.Reason, to.Detail = result.reason, result.detail
	}
	if err := d.deps.Bus.SendResult(token, to); err != nil {
		d.deps.Logger.Debug().Err(err).Str("call", delivery.ID).Msg("the result was not handed over")
	}
}
