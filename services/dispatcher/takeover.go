package dispatcher

import (
	"context"
	"sync"
	"time"
)

const (
	// lookInterval is how often the record of a call that its function has taken over is looked at, in case a hint was lost.
	lookInterval = 5 * time.Second
	// hintedInterval is the same after a hint that the record did not bear out: it was read from a server that did not have it yet.
	hintedInterval = 250 * time.Millisecond
	// overdueInterval is the same when the time of the call is over, but not known is whether a callback came before that.
	overdueInterval = time.Second
)

// taken reports whether the function has taken the call over, or has ended it already.
func (c *call) taken() bool { return !c.record.Until.IsZero() || c.record.Callback != "" }

// takeOver keeps the call open until the function says how it has ended, until its time is over, or no more is to be taken.
func (c *call) takeOver(s *shift, until time.Time) outcome {
	d := s.dispatcher
	hint, forget := d.open.expect(c.delivery.ID)
	defer forget()
	c.record.Until, c.record.Endpoint = until, c.lease.Endpoint.Address
	looked := time.Now()
	word, err := c.storeOpen(s)
	if err != nil {
		d.deps.Logger.Warn().Err(err).Str("function", s.name).Str("call", c.delivery.ID).
			Msg("the function has taken the call over, which could not be stored: it will be called again")
		c.record.Until = time.Time{}
		return stopped()
	}
	c.recorded, c.record.Callback = true, word
	return c.await(s, hint, looked)
}

// storeOpen keeps that the function has taken the call over. It tries for as long as the ends of calls are settled: whoever finds no record
// calls the function again.
func (c *call) storeOpen(s *shift) (word string, err error) {
	for {
		word, err = s.dispatcher.attempts.Open(s.settling, s.name, c.delivery.ID, c.record)
		if err == nil || s.settling.Err() != nil {
			return word, err
		}
		select {
		case <-time.After(overdueInterval):
		case <-s.settling.Done():
		}
	}
}

// resume goes on with a call that was taken over, or ended, when an earlier dispatcher ran.
func (c *call) resume(s *shift) outcome {
	hint, forget := s.dispatcher.open.expect(c.delivery.ID)
	defer forget()
	return c.await(s, hint, c.look(s))
}

// await waits for the callback. The record is as it was at the time looked.
func (c *call) await(s *shift, hint <-chan struct{}, looked time.Time) outcome {
	hinted := false
	for {
		if o, ok := decideOpen(c.record, c.policy(), looked); ok {
			return o
		}
		timer := time.NewTimer(s.dispatcher.untilLook(time.Until(c.record.Until.Add(callbackGrace)), hinted))
		hinted = false
		select {
		case <-hint:
			hinted = true
		case <-timer.C:
		case <-s.take.Done():
			timer.Stop()
			return stopped()
		}
		timer.Stop()
		if at := c.look(s); !at.IsZero() {
			looked = at
		}
	}
}

// untilLook is how long the record need not be looked at without a hint.
func (d *Dispatcher) untilLook(left time.Duration, hinted bool) time.Duration {
	switch {
	case hinted:
		return hintedInterval
	case left <= 0:
		return overdueInterval
	}
	return min(left, d.lookEvery)
}

// look reads whether there is a callback, and returns when it did; the zero time if it could not.
func (c *call) look(s *shift) time.Time {
	if c.record.Callback != "" {
		return time.Now()
	}
	start := time.Now()
	record, _, err := s.dispatcher.attempts.Get(s.take, s.name, c.delivery.ID)
	if err != nil {
		s.dispatcher.deps.Logger.Debug().Err(err).Str("function", s.name).Str("call", c.delivery.ID).Msg("it is not known whether there is a callback")
		return time.Time{}
	}
	c.record.Callback = record.Callback
	return start
}

// openCalls are those that a callback may end at any moment. The zero value is ready for use.
type openCalls struct {
	mu    sync.Mutex
	hints map[string]chan struct{} // by call; guarded by mu
}

// expect returns a channel that gets a value when the record of the call should be looked at, and the function that ends that.
func (o *openCalls) expect(id string) (hint <-chan struct{}, forget func()) {
	ch := make(chan struct{}, 1)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.hints == nil {
		o.hints = map[string]chan struct{}{}
	}
	o.hints[id] = ch
	return ch, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.hints, id)
	}
}

// hint tells the one call.
func (o *openCalls) hint(_, id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if ch, ok := o.hints[id]; ok {
		signal(ch)
	}
}

// hintAll tells all of them.
func (o *openCalls) hintAll() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, ch := range o.hints {
		signal(ch)
	}
}

// followCallbacks tells open calls of their callbacks until ctx ends. What was said while the connection was gone is not repeated.
func (d *Dispatcher) followCallbacks(ctx context.Context) {
	reconnects, stop := d.deps.Bus.Reconnects()
	defer stop()
	unfollow, err := d.deps.Bus.OnCallback(d.open.hint)
	if err != nil {
		d.deps.Logger.Error().Err(err).Msg("callbacks are noticed late")
		return
	}
	defer unfollow()
	for {
		select {
		case <-reconnects:
			d.open.hintAll()
		case <-ctx.Done():
			return
		}
	}
}
