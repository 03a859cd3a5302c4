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
	attempt := s.waiting[delivery.Sequence]
	if early := time.Until(attempt.Next); early > 0 {
		s.handBack(delivery, early)
		return
	}
	c := &call{worker: s.worker, delivery: delivery, tries: attempt.Tries, recorded: attempt.Tries > 0, spec: *s.spec.Load(), progress: time.Now()}
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
	if s.stopping() {
		return false
	}
	if c.lease, ok = s.endpoints.Acquire(s.limits()); !ok {
		s.wakeIfAsleep(time.Now())
	}
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
		s.waiting[sequence] = c.next
		s.handBack(c.delivery, time.Until(c.next.Next))
	case interrupted:
		s.handBack(c.delivery, longestNoSlotDelay)
	case unsettled: // comes back after the ack wait
	}
}
