package dispatcher

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/function"
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
	// interrupted: there was no attempt that counts.
	interrupted
)

// call is one delivered call until its end is settled. Its own goroutine runs it, and sends it back to the shift, which owns it
// before and after.
type call struct {
	worker   *worker
	delivery *bus.Delivery
	lease    *upstream.Lease // nil for a message that is no call
	spec     function.Function
	tries    int  // failed attempts before this one
	recorded bool // there is an attempt record
	over     bool // it has ended before: only the queue has to be told again
	progress time.Time
	end      end
	next     bus.Attempt // the record of this attempt, with the end again
}

// run makes one attempt and settles what came of it.
func (c *call) run(s *shift) {
	var answer upstream.Answer
	var result outcome
	if !c.over {
		answer, result = c.attempt(s)
	}
	var err error
	if c.end, err = c.settle(s.settling, answer, result); err != nil {
		s.dispatcher.deps.Logger.Warn().Err(err).Str("function", s.name).Str("call", c.delivery.ID).
			Msg("the call's end could not be settled: it will be delivered again")
	}
	s.settled <- c
}

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

func (c *call) attempt(s *shift) (upstream.Answer, outcome) {
	if c.delivery.Err != nil {
		return upstream.Answer{}, outcome{verdict: bury, reason: "bad_message", detail: c.delivery.Err.Error()}
	}
	metrics := s.dispatcher.metrics
	policy := c.spec.Configuration.DefaultAsync
	answer := s.dispatcher.caller.Do(s.work, c.lease.Endpoint, c.request(policy))
	c.lease.Release()
	s.answered <- struct{}{}
	result := decide(answer, c.tries, policy, time.Now())
	metrics.attempts.WithLabelValues(s.name, attemptLabel(result)).Inc()
	metrics.duration.WithLabelValues(s.name).Observe(answer.Duration.Seconds())
	return answer, result
}

// request is the call as the function gets it, with the three headers of an attempt.
func (c *call) request(policy function.Policy) upstream.Request {
	header := make(http.Header, len(c.delivery.Call.Header)+5)
	for name, values := range c.delivery.Call.Header {
		if !upstream.ReservedFromOutside(name) && name != "Host" && name != "Content-Length" {
			header[name] = values
		}
	}
	header.Set("SlimFaas-Element-Id", c.delivery.ID)
	header.Set("SlimFaas-Try-Number", strconv.Itoa(c.tries))
	header.Set("Slimfaas-Last-Try", strconv.FormatBool(c.tries >= len(policy.TimeoutRetries)))
	header.Set("X-Call-Id", c.delivery.ID)
	header.Set("X-Start-Time", strconv.FormatInt(c.delivery.Accepted.UnixNano(), 10))
	return upstream.Request{
		Method: c.delivery.Call.Method, Path: c.delivery.Call.Path, Query: c.delivery.Call.Query,
		Header: header, Body: c.delivery.Call.Body, Timeout: policy.Timeout(),
	}
}

// settle ends the attempt: whatever the verdict, what must outlive us is stored before the queue is told.
func (c *call) settle(ctx context.Context, answer upstream.Answer, result outcome) (end, error) {
	switch result.verdict {
	case retry:
		return c.record(ctx, answer, result)
	case bury:
		return c.bury(ctx, answer, result)
	case handBack:
		return interrupted, nil
	default:
		return c.done(ctx, result)
	}
}

func (c *call) record(ctx context.Context, answer upstream.Answer, result outcome) (end, error) {
	c.next = bus.Attempt{Tries: c.tries + 1, Next: time.Now().Add(result.delay), Outcome: result.detail, Status: answer.Status}
	if err := c.worker.dispatcher.attempts.Record(ctx, c.worker.name, c.delivery.ID, c.next); err != nil {
		return unsettled, err
	}
	return again, nil
}

func (c *call) bury(ctx context.Context, answer upstream.Answer, result outcome) (end, error) {
	d := c.worker.dispatcher
	death := bus.Death{
		Reason: result.reason, Detail: result.detail, At: time.Now(), Attempts: c.tries + 1,
		Status: answer.Status, Answer: answer.Body,
	}
	if c.delivery.Err != nil {
		death.Attempts = 0
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

// keepAlive tells the server that the call is still worked on, before the ack wait is over.
func (c *call) keepAlive(now time.Time) {
	d := c.worker.dispatcher
	if now.Sub(c.progress) < d.deps.Bus.ProgressInterval() {
		return
	}
	c.progress = now
	if err := c.delivery.InProgress(); err != nil {
		d.deps.Logger.Debug().Err(err).Str("call", c.delivery.ID).Msg("progress was not reported")
	}
}
