package dispatcher

import (
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
)

// handle takes what came of a message of the consumer.
func (s *shift) handle(delivery *bus.Delivery, err error) {
	if err != nil {
		s.reopen()
	}
	if delivery != nil {
		s.receive(delivery)
	}
}

// handleArrived handles all messages that are here. It comes before the end of a call is noted: a second delivery of that call, from
// before its end was confirmed, may be among them, and must find it.
func (s *shift) handleArrived() {
	for {
		select {
		case msg := <-s.consumer.Messages():
			s.handle(s.consumer.Handle(msg))
		default:
			return
		}
	}
}

// receive takes one delivered call.
func (s *shift) receive(delivery *bus.Delivery) {
	if known := s.calls[delivery.Sequence]; known != nil {
		known.delivery.Replace(delivery) // it runs, or has ended and waits to say so: this is its new handle
		return
	}
	if s.over.has(delivery.Sequence) {
		s.begin(&call{worker: s.worker, delivery: delivery, over: true, progress: time.Now()})
		return
	}
	record, recorded := s.waiting[delivery.Sequence]
	if early := time.Until(record.Next); early > 0 && record.Callback == "" {
		s.handBack(delivery, early)
		return
	}
	c := &call{worker: s.worker, delivery: delivery, record: record, recorded: recorded, spec: *s.spec.Load(), progress: time.Now()}
	if delivery.Err == nil && !s.lease(c) {
		s.handBack(delivery, s.noSlotDelay(time.Now()))
		return
	}
	s.begin(c)
}

// noSlotDelay is how long a call is handed back that came when its slot was gone. A pull that is open when the last replica ends can
// still bring one, which wakes the function: it comes back often enough to add little to a quick start.
func (s *shift) noSlotDelay(now time.Time) time.Duration {
	if s.endpoints.Ready() > 0 {
		return longestNoSlotDelay
	}
	return min(max(shortestNoSlotDelay, now.Sub(s.lastWake)/noSlotShare), longestNoSlotDelay)
}

// lease takes a slot for the call. It reports false if there is none, or no more is to be taken.
func (s *shift) lease(c *call) (ok bool) {
	switch {
	case s.stopping():
		return false
	case c.taken(): // it has its slot; a replica that is gone has none to keep
		c.lease, _ = s.endpoints.AcquireAt(c.record.Endpoint)
		return true
	case c.delivery.Call.Event != "":
		ok = s.leaseForEvent(c)
	default:
		c.lease, ok = s.endpoints.Acquire(s.limits())
	}
	if !ok {
		s.wakeIfAsleep(time.Now())
	}
	return ok
}

// leaseForEvent takes a slot for an event, and decides where it goes. There is none to take if all replicas that it had to reach are
// gone.
func (s *shift) leaseForEvent(c *call) (ok bool) {
	c.targets = targets(s.endpoints.List(), c.record.Pending)
	if len(c.targets) == 0 {
		return c.record.Pending != nil
	}
	if s.endpoints.Free(s.limits()) == 0 {
		return false
	}
	c.lease, ok = s.endpoints.AcquireAt(c.targets[0].Address)
	return ok
}

// begin starts a call's goroutine. It ends by sending the call to settled, which step reads until there is no call left.
func (s *shift) begin(c *call) {
	s.calls[c.delivery.Sequence] = c
	if !c.over {
		s.taken.Add(1)
	}
	go c.run(s)
}

func (s *shift) handBack(delivery *bus.Delivery, delay time.Duration) {
	if err := delivery.Again(delay); err != nil {
		s.lost = true
		s.dispatcher.deps.Logger.Debug().Err(err).Str("function", s.name).Str("call", delivery.ID).Msg("the call comes back after the ack wait")
	}
}

// finish forgets a call whose end is settled, or hands it back for another attempt. That is told to the server here, and not by the
// call's own goroutine: after it there is no sign of progress, which would put the attempt off, and the call is not known any more when
// it comes back.
func (s *shift) finish(c *call) {
	sequence := c.delivery.Sequence
	delete(s.calls, sequence)
	switch c.end {
	case ended:
		delete(s.waiting, sequence)
		s.over.add(sequence)
	case again:
		s.waiting[sequence] = c.record
		s.handBack(c.delivery, time.Until(c.record.Next))
	case returned:
		s.remember(c)
		s.handBack(c.delivery, c.wait)
	case unsettled: // comes back after the ack wait
		s.remember(c)
	}
}

// remember keeps what the attempt has brought although it has no end: that the function has taken the call over, for one.
func (s *shift) remember(c *call) {
	if c.recorded || c.taken() || c.record.Pending != nil {
		s.waiting[c.delivery.Sequence] = c.record
	}
}
