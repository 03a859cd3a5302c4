package dispatcher

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/pkg/upstream"
)

const (
	// workerTick is how often a worker looks at what only time changes.
	workerTick = 500 * time.Millisecond
	// noSlotDelay is how long a call is handed back that came when its slot was gone.
	noSlotDelay = 100 * time.Millisecond
	// maxUnsettled bounds the calls that have ended and wait for the server to confirm it, beside those that run.
	maxUnsettled = 256
	// maxAsked bounds the calls that one function may have asked for and not yet got.
	maxAsked = 1_024
	// backlog is how many ends of calls may wait for the worker before their goroutines do.
	backlog = 64
)

// worker is one function at the dispatcher. While it is awake, the goroutine of run owns the fields below the line.
type worker struct {
	dispatcher *Dispatcher
	name       string
	spec       atomic.Pointer[function.Function]
	endpoints  upstream.Endpoints
	removed    chan struct{} // closed when the function is gone
	taken      atomic.Uint64 // calls started, for progress and activity

	running  bool   // guarded by Dispatcher.mu
	unlisten func() // ends the idle subscription, nil if there is none; guarded by Dispatcher.mu

	// ---- owned by run

	consumer *bus.Consumer
	open     bool // the consumer may be pulled from
	opening  bool
	opened   chan openResult
	tookOver bool // what an earlier process left is delivered again; kept over the worker's lives
	// calls are those that run or have ended without confirmation, by stream sequence.
	calls map[uint64]*call
	// waiting are the failed attempts of calls that wait for another one, by stream sequence.
	waiting  map[uint64]bus.Attempt
	answered chan struct{} // a slot has become free
	settled  chan *call
	lastWake time.Time
	quiet    int // ticks in a row without replica and work
}

type openResult struct {
	attempts map[uint64]bus.Attempt
	err      error
}

func newWorker(d *Dispatcher, name string) *worker {
	return &worker{dispatcher: d, name: name, removed: make(chan struct{})}
}

// listenLocked subscribes to the function's calls without pulling them. Dispatcher.mu is held.
func (w *worker) listenLocked() {
	if w.unlisten != nil {
		return
	}
	stop, err := w.dispatcher.idle.Listen(w.name)
	if err != nil {
		w.dispatcher.deps.Logger.Error().Err(err).Str("function", w.name).Msg("calls of an idle function are noticed late")
		return
	}
	w.unlisten = stop
}

// unlistenLocked ends that. Dispatcher.mu is held.
func (w *worker) unlistenLocked() {
	if w.unlisten != nil {
		w.unlisten()
		w.unlisten = nil
	}
}

func (w *worker) limits() upstream.Limits {
	f := w.spec.Load()
	return upstream.Limits{Total: f.NumberParallelRequest, PerReplica: f.NumberParallelRequestPerPod}
}

// run dispatches the function's calls until it is idle, removed, or take ends and its calls have ended.
func (w *worker) run(take, work context.Context) {
	w.consumer = w.dispatcher.deps.Bus.NewConsumer(w.name, maxAsked)
	w.open, w.opening, w.opened = false, false, make(chan openResult, 1)
	w.calls, w.waiting = map[uint64]*call{}, map[uint64]bus.Attempt{}
	w.answered, w.settled = make(chan struct{}, backlog), make(chan *call, backlog)
	w.quiet, w.lastWake = 0, time.Time{}
	defer w.consumer.Close()

	reconnects, stop := w.dispatcher.deps.Bus.Reconnects()
	defer stop()
	ticker := time.NewTicker(workerTick)
	defer ticker.Stop()
	w.wakeIfAsleep(time.Now())
	w.reopen(take)
	for w.step(take, work, events{reconnects, ticker.C}) {
	}
	if w.opening {
		<-w.opened
	}
}

type events struct {
	reconnects <-chan struct{}
	tick       <-chan time.Time
}

// step handles one event and reports whether there will be more.
func (w *worker) step(take, work context.Context, on events) bool {
	stopping := take.Err() != nil || closed(w.removed)
	if stopping && len(w.calls) == 0 {
		return false
	}
	var taken, gone <-chan struct{}
	if !stopping {
		taken, gone = take.Done(), w.removed
	}
	select {
	case msg := <-w.consumer.Messages():
		delivery, err := w.consumer.Handle(msg)
		if err != nil {
			w.reopen(take)
		}
		if delivery != nil {
			w.receive(work, delivery, stopping)
		}
	case <-w.answered:
	case c := <-w.settled:
		w.finish(c)
	case <-w.endpoints.Changed():
	case result := <-w.opened:
		w.onOpened(take, result)
	case <-on.reconnects:
		w.reopen(take)
	case now := <-on.tick:
		if !w.onTick(take, now) {
			return false
		}
	case <-taken:
	case <-gone:
	}
	w.pull(stopping)
	return true
}

// pull asks for as many calls as there are free slots. It waits until what has arrived is handled, so that slots which become free
// together are asked for together.
func (w *worker) pull(stopping bool) {
	if !w.open || stopping || len(w.answered) > 0 || len(w.consumer.Messages()) > 0 {
		return
	}
	limits, asked := w.limits(), w.consumer.Asked()
	free := min(w.endpoints.Free(limits), limits.Total+maxUnsettled-len(w.calls), maxAsked) - asked
	if free <= 0 {
		return
	}
	if err := w.consumer.Pull(free); err != nil {
		w.open = false // the reconnect or the next tick opens it again
	}
}

// receive takes one delivered call.
func (w *worker) receive(work context.Context, delivery *bus.Delivery, stopping bool) {
	if known := w.calls[delivery.Sequence]; known != nil {
		known.delivery.Replace(delivery) // it runs, or has ended and waits to say so: this is its new handle
		return
	}
	attempt := w.waiting[delivery.Sequence]
	if early := time.Until(attempt.Next); early > earlySlack {
		w.handBack(delivery, early)
		return
	}
	c := &call{worker: w, delivery: delivery, tries: attempt.Tries, recorded: attempt.Tries > 0, spec: *w.spec.Load(), progress: time.Now()}
	if delivery.Err != nil {
		w.begin(work, c)
		return
	}
	lease, ok := w.endpoints.Acquire(w.limits())
	if !ok || stopping {
		if ok {
			lease.Release()
		}
		w.handBack(delivery, noSlotDelay)
		return
	}
	c.lease = lease
	w.begin(work, c)
}

// begin starts a call's goroutine. It ends by sending the call to settled, which step reads until there is no call left.
func (w *worker) begin(work context.Context, c *call) {
	w.calls[c.delivery.Sequence] = c
	w.taken.Add(1)
	go c.run(work)
}

func (w *worker) handBack(delivery *bus.Delivery, delay time.Duration) {
	if err := delivery.Again(delay); err != nil {
		w.dispatcher.deps.Logger.Debug().Err(err).Str("function", w.name).Str("call", delivery.ID).Msg("the call comes back after the ack wait")
	}
}

// finish forgets a call whose end is settled, or notes its failed attempt.
func (w *worker) finish(c *call) {
	delete(w.calls, c.delivery.Sequence)
	if c.next != nil {
		w.waiting[c.delivery.Sequence] = *c.next
	} else {
		delete(w.waiting, c.delivery.Sequence)
	}
}

// reopen makes sure that the consumer is there, in the background; pulls wait for it.
func (w *worker) reopen(ctx context.Context) {
	w.open = false
	if w.opening || ctx.Err() != nil {
		return
	}
	w.opening = true
	go func() {
		err := w.consumer.Open(ctx)
		if err == nil {
			err = w.takeOver(ctx)
		}
		var attempts map[uint64]bus.Attempt
		if err == nil {
			attempts, err = w.dispatcher.attempts.Load(ctx, w.name)
		}
		w.opened <- openResult{attempts, err}
	}()
}

// takeOver has what an earlier process has left unacknowledged delivered at once instead of after the ack wait. Only who knows
// that this process is gone may do so. Calls that wait for a retry come too, and go back for the rest of their time.
func (w *worker) takeOver(ctx context.Context) error {
	if !w.dispatcher.deps.Sole || w.tookOver {
		return nil
	}
	if err := w.consumer.Redeliver(ctx); err != nil {
		return err
	}
	w.tookOver = true // only one reopen runs at a time
	return nil
}

// onOpened resumes pulling. Records that were not known are those that an earlier owner has kept.
func (w *worker) onOpened(ctx context.Context, result openResult) {
	w.opening = false
	err := result.err
	if err == nil {
		err = w.consumer.Reset()
	}
	if err != nil {
		if ctx.Err() == nil {
			w.dispatcher.deps.Logger.Error().Err(err).Str("function", w.name).Msg("calls cannot be pulled: it will be tried again")
		}
		return
	}
	for sequence, attempt := range result.attempts {
		if known, ok := w.waiting[sequence]; !ok || known.Tries < attempt.Tries {
			w.waiting[sequence] = attempt
		}
	}
	w.open = true
}

// onTick does what time asks for. It reports false when the function has become idle.
func (w *worker) onTick(ctx context.Context, now time.Time) bool {
	for _, c := range w.calls {
		c.keepAlive(now)
	}
	if w.consumer.Silent(now) || !w.open {
		w.reopen(ctx)
	}
	if w.endpoints.Ready() > 0 || len(w.calls) > 0 || ctx.Err() != nil || closed(w.removed) {
		w.quiet = 0
		return true
	}
	// Without a replica there is either work, and a wake in case the first one was lost, or sleep.
	if w.quiet++; w.quiet%2 == 1 {
		return true
	}
	if w.open && w.dispatcher.sleep(ctx, w) {
		return false
	}
	w.wakeIfAsleep(now)
	return true
}

// wakeIfAsleep asks the scaler for a replica if there is none.
func (w *worker) wakeIfAsleep(now time.Time) {
	if w.endpoints.Ready() > 0 || now.Sub(w.lastWake) < workerTick {
		return
	}
	w.lastWake = now
	if err := w.dispatcher.deps.Bus.Wake(w.name); err != nil {
		w.dispatcher.deps.Logger.Debug().Err(err).Str("function", w.name).Msg("the wake was not sent")
	}
}

func closed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}
