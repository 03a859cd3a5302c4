package dispatcher

import (
	"context"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
)

const (
	// shiftTick is how often a shift looks at what only time changes.
	shiftTick = 500 * time.Millisecond
	// A call that came when its slot was gone is handed back for these; see noSlotDelay.
	shortestNoSlotDelay = 10 * time.Millisecond
	longestNoSlotDelay  = 100 * time.Millisecond
	noSlotShare         = 8
	// leaveTimeout bounds the wait for the server to send nothing more.
	leaveTimeout = time.Second
	// maxUnsettled bounds the calls that have ended and wait for the server to confirm it, beside those that run.
	maxUnsettled = 256
	// maxAsked bounds the calls that one function may have asked for and not yet got.
	maxAsked = 1_024
	// backlog is how many ends of calls may wait for the shift before their goroutines do.
	backlog = 64
)

// shift is the time in which a function is awake. The goroutine of run owns its fields; the channels are written by the goroutines
// that it has started.
type shift struct {
	*worker
	phases

	consumer *bus.Consumer
	open     bool               // the consumer may be pulled from
	opening  context.CancelFunc // ends the opening that is under way, nil if none is
	anew     bool               // it is to be followed by another one
	lost     bool               // what was said to the server, or by it, may not have arrived
	opened   chan openResult
	// calls are those that run or have ended without confirmation, by stream sequence.
	calls map[uint64]*call
	// waiting are the attempt records of calls that do not run, by stream sequence.
	waiting map[uint64]bus.Attempt
	// over are those that have ended: a server that goes down may confirm an end and forget it.
	over     recent
	answered chan struct{} // a slot has become free
	settled  chan *call
	lastWake time.Time
	quiet    int // ticks in a row without replica and calls
}

type openResult struct {
	attempts map[uint64]bus.Attempt
	lost     bool // still
	err      error
}

func newShift(of phases, w *worker) *shift {
	return &shift{
		worker: w, phases: of,
		consumer: w.dispatcher.deps.Bus.NewConsumer(w.name, maxAsked),
		opened:   make(chan openResult, 1),
		calls:    map[uint64]*call{}, waiting: map[uint64]bus.Attempt{},
		answered: make(chan struct{}, backlog), settled: make(chan *call, backlog),
	}
}

type events struct {
	reconnects <-chan struct{}
	tick       <-chan time.Time
}

// run dispatches the function's calls until it is idle or gone, or take ends and its calls have ended.
func (s *shift) run() {
	reconnects, stop := s.dispatcher.deps.Bus.Reconnects()
	defer stop()
	ticker := time.NewTicker(shiftTick)
	defer ticker.Stop()
	s.reopen()
	for s.step(events{reconnects, ticker.C}) {
	}
}

// step handles one event and reports whether there will be more.
func (s *shift) step(on events) bool {
	var taken <-chan struct{}
	if !s.stopping() {
		taken = s.take.Done()
	} else if len(s.calls) == 0 {
		s.stop()
		return false
	}
	select {
	case msg := <-s.consumer.Messages():
		s.handle(s.consumer.Handle(msg))
	case <-s.answered:
	case c := <-s.settled:
		s.handleArrived()
		s.finish(c)
	case <-s.endpoints.Changed():
	case <-s.changed:
	case <-s.published:
		s.quiet = 0
		s.wakeIfAsleep(time.Now())
	case result := <-s.opened:
		s.onOpened(result)
	case <-on.reconnects:
		s.onReconnect()
	case now := <-on.tick:
		if !s.onTick(now) {
			return false
		}
	case <-taken:
	}
	s.pull()
	return true
}

func (s *shift) stopping() bool { return s.take.Err() != nil }

// stop ends the shift because the dispatcher takes no more.
func (s *shift) stop() {
	if s.opening != nil {
		<-s.opened // it ends with take
	}
	s.leave()
}

// leave ends the pulls and hands back what they have brought in the meantime. It reports whether that was nothing.
func (s *shift) leave() bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.take), leaveTimeout)
	defer cancel()
	s.open = false
	left := s.consumer.Leave(ctx)
	for _, delivery := range left {
		s.handBack(delivery, 0)
	}
	return len(left) == 0
}

// pull asks for as many calls as there are free slots. It waits until what has arrived is handled, so that slots which become free
// together are asked for together.
func (s *shift) pull() {
	if !s.open || s.stopping() || len(s.answered) > 0 || len(s.consumer.Messages()) > 0 {
		return
	}
	limits := s.limits()
	free := min(s.endpoints.Free(limits), limits.Total+maxUnsettled-len(s.calls), maxAsked) - s.consumer.Asked()
	if free <= 0 {
		return
	}
	if err := s.consumer.Pull(free); err != nil {
		s.open = false // the reconnect or the next tick opens it again
	}
}

// onReconnect opens the consumer. What was asked over the connection that is gone is not answered any more.
func (s *shift) onReconnect() {
	s.lost = true
	if s.opening != nil {
		s.anew = true
		s.opening()
	}
	s.reopen()
}

// reopen makes sure that the consumer is there, in the background; pulls wait for it.
func (s *shift) reopen() {
	s.open = false
	if s.opening != nil || s.stopping() {
		return
	}
	var ctx context.Context
	ctx, s.opening = context.WithCancel(s.take)
	lost := s.lost || s.consumer.Asked() > 0
	s.anew, s.lost = false, false
	go func() { s.opened <- s.openConsumer(ctx, lost) }()
}

// openConsumer has the consumer made. If calls may be lost on their way, all that are out are delivered again, instead of after
// the ack wait: the shift knows those that it has already.
func (s *shift) openConsumer(ctx context.Context, lost bool) (result openResult) {
	result.lost = lost
	if result.err = s.consumer.Open(ctx); result.err != nil {
		return result
	}
	if lost {
		if err := s.consumer.Redeliver(ctx); err != nil {
			s.dispatcher.deps.Logger.Debug().Err(err).Str("function", s.name).Msg("calls that were lost on their way come back after the ack wait")
		}
		result.lost = ctx.Err() != nil
	}
	result.attempts, result.err = s.dispatcher.attempts.Load(ctx, s.name)
	return result
}

// onOpened resumes pulling. Records that were not known are those that an earlier owner has kept.
func (s *shift) onOpened(result openResult) {
	s.opening()
	s.opening = nil
	s.lost = s.lost || result.lost
	if s.anew {
		s.reopen()
		return
	}
	err := result.err
	if err == nil {
		err = s.consumer.Reset()
	}
	if err != nil {
		if !s.stopping() {
			s.dispatcher.deps.Logger.Error().Err(err).Str("function", s.name).Msg("calls cannot be pulled: it will be tried again")
		}
		return
	}
	for sequence, attempt := range result.attempts {
		if known, ok := s.waiting[sequence]; !ok || known.Tries < attempt.Tries {
			s.waiting[sequence] = attempt
		}
	}
	s.open = true
}

// onTick does what time asks for. It reports false when the shift has ended.
func (s *shift) onTick(now time.Time) bool {
	for _, c := range s.calls {
		c.keepAlive(now)
	}
	if s.consumer.Silent(now) || !s.open {
		s.reopen()
	}
	if s.endpoints.Ready() > 0 || len(s.calls) > 0 || s.stopping() {
		s.quiet = 0
		return true
	}
	if s.dispatcher.isGone(s.worker) {
		return !s.end(s.dispatcher.retire)
	}
	// Without a replica there is either work, and a wake in case the first one was lost, or sleep. Its messages are listened to for a
	// tick before the depth is looked at, so that a call which was on its way when the subscription began is in the depth.
	if s.quiet++; s.quiet%2 == 1 {
		s.dispatcher.listen(s.worker)
		return true
	}
	return !s.sleep(now)
}

// sleep ends the shift of a function that has no work. It reports whether it has.
func (s *shift) sleep(now time.Time) bool {
	ctx, cancel := context.WithTimeout(s.take, shiftTick)
	depth, err := s.dispatcher.deps.Bus.Depth(ctx, s.name)
	cancel()
	if err != nil {
		return false // unknown: neither sleep nor a wake
	}
	if depth > 0 {
		s.wakeIfAsleep(now)
		return false
	}
	return s.end(s.dispatcher.sleep)
}

// end leaves, and ends the shift if the dispatcher agrees. It reports whether it has.
func (s *shift) end(agrees func(*worker) bool) bool {
	if s.opening != nil {
		return false
	}
	if s.leave() && agrees(s.worker) {
		return true
	}
	s.reopen()
	return false
}

// wakeIfAsleep asks the scaler for a replica if there is none.
func (s *shift) wakeIfAsleep(now time.Time) {
	if s.endpoints.Ready() > 0 || now.Sub(s.lastWake) < shiftTick {
		return
	}
	s.lastWake = now
	if err := s.dispatcher.deps.Bus.Wake(s.name); err != nil {
		s.dispatcher.deps.Logger.Debug().Err(err).Str("function", s.name).Msg("the wake was not sent")
	}
}
