package dispatcher

import (
	"net/http"
	"strconv"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/pkg/upstream"
)

// call is one delivered call until its end is settled. Its own goroutine runs it, and sends it back to the shift, which owns it
// before and after.
type call struct {
	worker   *worker
	delivery *bus.Delivery
	lease    *upstream.Lease // nil for what is sent to no replica
	spec     function.Function
	// record is of the attempts before this one; then of this one too, if another one follows or the function has taken the call over.
	record   bus.Attempt
	recorded bool // there is one
	// targets are the replicas that an event goes to.
	targets  []function.Endpoint
	over     bool // it has ended before: only the queue has to be told again
	progress time.Time
	end      end
	wait     time.Duration // before a call that is returned comes again
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
	if c.end == ended && !c.over {
		s.dispatcher.tell(c.delivery, answer, result)
	}
	s.settled <- c
}

func (c *call) attempt(s *shift) (answer upstream.Answer, result outcome) {
	switch {
	case c.delivery.Err != nil:
		return upstream.Answer{}, outcome{verdict: bury, reason: "bad_message", detail: c.delivery.Err.Error(), unsent: true}
	case c.taken():
		answer, result = upstream.Answer{Status: http.StatusAccepted}, c.resume(s)
		c.count(result)
	case c.delivery.Call.Event != "":
		answer, result = c.notify(s)
	default:
		answer, result = c.ask(s)
		c.count(result)
	}
	if c.lease != nil {
		c.lease.Release()
	}
	s.answered <- struct{}{}
	return answer, result
}

// ask makes the attempt at the leased replica.
func (c *call) ask(s *shift) (upstream.Answer, outcome) {
	start := time.Now()
	answer, result := c.send(s, c.lease.Endpoint)
	if result.verdict == takeOver {
		result = c.takeOver(s, start.Add(c.policy().Timeout()))
	}
	return answer, result
}

// send sends the call to one replica.
func (c *call) send(s *shift, to function.Endpoint) (upstream.Answer, outcome) {
	d, policy := s.dispatcher, c.policy()
	request := c.request(policy)
	stored, err := c.openBody(s.work, &request)
	if err != nil {
		return upstream.Answer{}, c.withoutBody(err)
	}
	answer := d.caller.Do(s.work, to, request)
	d.metrics.duration.WithLabelValues(s.name).Observe(answer.Duration.Seconds())
	if err := stored.failure(answer); err != nil {
		return answer, c.withoutBody(err)
	}
	return answer, decide(answer, c.record.Tries, policy, time.Now())
}

func (c *call) count(result outcome) {
	c.worker.dispatcher.metrics.attempts.WithLabelValues(c.worker.name, attemptLabel(result)).Inc()
}

// policy is that of the call, as it is at the start of the attempt.
func (c *call) policy() function.Policy {
	if c.delivery.Call.Event != "" {
		return c.spec.Configuration.DefaultPublish
	}
	return c.spec.Configuration.DefaultAsync
}

// request is the call as the function gets it, with the three headers of an attempt.
func (c *call) request(policy function.Policy) upstream.Request {
	header := make(http.Header, len(c.delivery.Call.Header)+5)
	for name, values := range c.delivery.Call.Header {
		if !upstream.ReservedFromOutside(name) && name != "Host" && name != "Content-Length" {
			header[name] = values
		}
	}
	tries := c.record.Tries
	header.Set("SlimFaas-Element-Id", c.delivery.ID)
	header.Set("SlimFaas-Try-Number", strconv.Itoa(tries))
	header.Set("Slimfaas-Last-Try", strconv.FormatBool(tries >= len(policy.TimeoutRetries)))
	header.Set("X-Call-Id", c.delivery.ID)
	header.Set("X-Start-Time", strconv.FormatInt(c.delivery.Accepted.UnixNano(), 10))
	request := upstream.Request{
		Method: c.delivery.Call.Method, Path: c.delivery.Call.Path, Query: c.delivery.Call.Query,
		Header: header, Body: c.delivery.Call.Body, Timeout: policy.Timeout(),
	}
	if c.delivery.Call.ResultTo != "" {
		request.KeepBody = c.worker.dispatcher.deps.Bus.MaxResultBody()
	}
	return request
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
