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

const (
	// earlySlack is how much too early a retry may come: the server's timers are not exact.
	earlySlack = 50 * time.Millisecond
	// settleGrace is how long a call's end may take to be settled after calls were interrupted.
	settleGrace = 3 * time.Second
)

// call is one delivered call until its end is settled. Its own goroutine runs it; the worker's reads next after that.
type call struct {
	worker   *worker
	delivery *bus.Delivery
	lease    *upstream.Lease // nil for a message that is no call
	spec     function.Function
	tries    int  // failed attempts before this one
	recorded bool // there is an attempt record
	progress time.Time
	// next is the record of this attempt, if it failed and another one follows.
	next *bus.Attempt
}

// run makes one attempt and settles what came of it.
func (c *call) run(work context.Context) {
	answer, result := c.attempt(work)
	ctx, cancel := settleContext(work)
	defer cancel()
	if err := c.settle(ctx, answer, result); err != nil {
		c.worker.dispatcher.deps.Logger.Warn().Err(err).Str("function", c.worker.name).Str("call", c.delivery.ID).
			Msg("the call's end could not be settled: it will be delivered again")
	}
	c.worker.settled <- c
}

// settleContext outlives work by settleGrace: what has run must be said to have.
func settleContext(work context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(work))
	stop := context.AfterFunc(work, func() {
		select {
		case <-time.After(settleGrace):
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, func() { stop(); cancel() }
}

func (c *call) attempt(work context.Context) (upstream.Answer, outcome) {
	if c.delivery.Err != nil {
		return upstream.Answer{}, outcome{verdict: bury, reason: "bad_message", detail: c.delivery.Err.Error()}
	}
	metrics := c.worker.dispatcher.metrics
	policy := c.spec.Configuration.DefaultAsync
	answer := c.worker.dispatcher.caller.Do(work, c.lease.Endpoint, c.request(policy))
	c.lease.Release()
	c.worker.answered <- struct{}{}
	result := decide(answer, c.tries, policy, time.Now())
	metrics.attempts.WithLabelValues(c.worker.name, attemptLabel(result)).Inc()
	metrics.duration.WithLabelValues(c.worker.name).Observe(answer.Duration.Seconds())
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
func (c *call) settle(ctx context.Context, answer upstream.Answer, result outcome) error {
	switch result.verdict {
	case retry:
		return c.settleRetry(ctx, answer, result)
	case bury:
		return c.settleDead(ctx, answer, result)
	case handBack:
		return c.delivery.Again(0)
	default:
		return c.done(ctx, result)
	}
}

func (c *call) settleRetry(ctx context.Context, answer upstream.Answer, result outcome) error {
	attempt := bus.Attempt{Tries: c.tries + 1, Next: time.Now().Add(result.delay), Outcome: result.detail, Status: answer.Status}
	if err := c.worker.dispatcher.attempts.Record(ctx, c.worker.name, c.delivery.ID, attempt); err != nil {
		return err
	}
	c.next = &attempt
	return c.delivery.Again(time.Until(attempt.Next))
}

func (c *call) settleDead(ctx context.Context, answer upstream.Answer, result outcome) error {
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
		return err
	}
	d.deps.Logger.Warn().Str("function", c.worker.name).Str("call", c.delivery.ID).Str("reason", result.reason).Int("attempts", death.Attempts).
		Str("detail", result.detail).Str("show", d.deps.Bus.ShowDead(sequence)).Msg("call given up")
	return c.done(ctx, result)
}

// done takes the call out of the queue, then removes its attempt record.
func (c *call) done(ctx context.Context, result outcome) error {
	if err := c.delivery.Done(ctx); err != nil {
		return err
	}
	d := c.worker.dispatcher
	d.metrics.ended(c.worker.name, result, time.Since(c.delivery.Accepted))
	if !c.recorded {
		return nil
	}
	return d.attempts.Remove(ctx, c.worker.name, c.delivery.ID)
}

// keepAlive tells the server that the call is still worked on, before the ack wait is over.
func (c *call) keepAlive(now time.Time) {
	if now.Sub(c.progress) < bus.ProgressInterval {
		return
	}
	c.progress = now
	if err := c.delivery.InProgress(); err != nil {
		c.worker.dispatcher.deps.Logger.Debug().Err(err).Str("call", c.delivery.ID).Msg("progress was not reported")
	}
}
