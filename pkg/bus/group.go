package bus

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// groupLeast is the size from which a batch is cheaper than as many publishes: the server stages a batch in files of its own,
	// which costs about as much as 16 syncs. Fewer calls are published as they come.
	groupLeast = 16
	// groupMost and groupBytes bound a batch; the server allows 1,000 messages.
	groupMost  = 256
	groupBytes = 4 << 20
	// groupCallBytes is the largest call in a batch: staging writes a call twice, so a large one is cheaper alone.
	groupCallBytes = 64 << 10
	// groupHeader is at least what the headers of a batch add to a message.
	groupHeader = 128
	// groupPause is for how long nothing is grouped after a batch that failed for no reason of its calls.
	groupPause = 5 * time.Second
	// groupFullPause is for how long the calls of a full queue are published alone, because one refuses its whole batch.
	groupFullPause = time.Second
	// groupFullMost bounds the queues that are known to be full.
	groupFullMost = 1_000
)

// group lets calls that are published at the same time share the server's syncs. Up to groupLeast calls are on their way
// alone. Those that come meanwhile wait; when one of those before them has ended, they are published as one batch if they are
// enough. After a batch one call goes alone, in whose time the callers that were just answered can come back for the next
// batch: without it, two halves of the callers would take turns. There is no timer: whoever waits goes on when something
// before it has ended.
type group struct {
	bus *Bus
	// link is used by the goroutine of run alone.
	link *groupLink
	// wake tells run that a batch can be made.
	wake  chan struct{}
	stop  chan struct{}
	ended sync.WaitGroup

	mu      sync.Mutex
	waiting []*groupCall // guarded by mu
	// alone counts the calls that are being published alone, of at most slots: groupLeast, or 1 after a batch.
	alone, slots int // guarded by mu
	// busy says that a batch is on its way or about to be.
	busy   bool                 // guarded by mu
	closed bool                 // guarded by mu
	paused time.Time            // until when nothing is grouped; guarded by mu
	full   map[string]time.Time // until when the calls of a subject are published alone; guarded by mu
}

// groupCall is a call that waits for its turn.
type groupCall struct {
	msg *nats.Msg
	// turn is closed when the call goes on: in batch, or alone if that is nil. The fields below are written before that.
	turn  chan struct{}
	batch *groupBatch
	place int // in the batch, from 0
}

// newGroup starts the goroutine that publishes batches; close ends it.
func newGroup(bus *Bus) (*group, error) {
	link, err := newGroupLink(bus.conn, bus.config.Settings.attemptTimeout())
	if err != nil {
		return nil, err
	}
	g := &group{bus: bus, link: link, wake: make(chan struct{}, 1), stop: make(chan struct{}), slots: groupLeast, full: map[string]time.Time{}}
	g.ended.Go(g.run)
	return g, nil
}

// close returns when the goroutine has ended. The connection is closed already, so nothing is waited for.
func (g *group) close() {
	g.mu.Lock()
	if !g.closed {
		g.closed = true
		close(g.stop)
	}
	g.mu.Unlock()
	g.ended.Wait()
}

// publish is a first attempt to publish the call, alone or with others. When a batch fails, all its calls get an error that
// is not permanent: each is then repeated alone with the Nats-Msg-Id that it had, so that it is stored once and gets an
// answer of its own.
func (g *group) publish(ctx context.Context, msg *nats.Msg) (*jetstream.PubAck, error) {
	call := g.enter(msg)
	if call == nil {
		return g.bus.publishOnce(ctx, msg)
	}
	select {
	case <-call.turn:
	case <-ctx.Done():
		if g.withdraw(call) {
			return nil, context.Cause(ctx)
		}
		<-call.turn
	}
	if call.batch != nil {
		return call.batch.answer(ctx, call)
	}
	defer g.leave()
	return g.bus.publishOnce(ctx, msg)
}

// enter puts the call into the queue; it returns nil for one that does not take part.
func (g *group) enter(msg *nats.Msg) *groupCall {
	if size := int64(msg.Size()) + groupHeader; size > min(groupCallBytes, g.bus.maxCallSize()) {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if g.closed || len(g.waiting) >= maxPendingPublishes || now.Before(g.paused) || now.Before(g.full[msg.Subject]) {
		return nil
	}
	call := &groupCall{msg: msg, turn: make(chan struct{})}
	g.waiting = append(g.waiting, call)
	g.advance()
	return call
}

// advance lets those go on that need not wait. mu is held.
func (g *group) advance() {
	if g.busy {
		return
	}
	if len(g.waiting) >= groupMost {
		g.begin()
		return
	}
	for len(g.waiting) > 0 && g.alone < g.slots {
		g.alone++
		close(g.waiting[0].turn)
		g.waiting = slices.Delete(g.waiting, 0, 1)
	}
}

// begin has a batch made of those who wait. mu is held, and busy is false: so wake has room.
func (g *group) begin() {
	g.busy = true
	g.wake <- struct{}{}
}

// leave ends a call that was published alone.
func (g *group) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.alone--
	if g.busy {
		return
	}
	if len(g.waiting) >= groupLeast {
		g.begin()
		return
	}
	g.slots = groupLeast
	g.advance()
}

// withdraw takes a call out of the queue; it returns false if its turn has come.
func (g *group) withdraw(call *groupCall) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.waiting, call)
	if i < 0 {
		return false
	}
	g.waiting = slices.Delete(g.waiting, i, i+1)
	return true
}

// run publishes one batch after the other until close.
func (g *group) run() {
	defer g.link.close()
	for {
		select {
		case <-g.wake:
		case <-g.stop:
			g.dismiss()
			return
		}
		if batch := g.take(); batch != nil {
			last, err := g.link.publish(batch)
			g.learn(err)
			batch.settle(last, err)
		}
		g.finish()
	}
}

// finish goes on after a batch.
func (g *group) finish() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.busy, g.slots = false, 1
	g.advance()
}

// take makes a batch of those who wait, in their order; it returns nil if they are too few.
func (g *group) take() *groupBatch {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting) < groupLeast { // some have left
		return nil
	}
	count, bytes := 0, 0
	for _, call := range g.waiting[:min(len(g.waiting), groupMost)] {
		if bytes += call.msg.Size() + groupHeader; bytes > groupBytes {
			break
		}
		count++
	}
	batch := newGroupBatch(g.waiting[:count])
	g.waiting = slices.Delete(g.waiting, 0, count)
	return batch
}

// dismiss sends all who wait on their own way, which finds the connection closed.
func (g *group) dismiss() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.busy = false
	g.alone += len(g.waiting)
	for _, call := range g.waiting {
		close(call.turn)
	}
	g.waiting = nil
}

// learn stops grouping for a while after a batch that failed, unless that was for one of its calls or with the connection: a
// server that is out of storage does not answer a batch at all, and one whose stream does not take batches refuses each.
func (g *group) learn(err error) {
	if err == nil || errors.Is(err, ErrQueueFull) || errors.Is(err, nats.ErrDisconnected) {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.paused = time.Now().Add(groupPause)
}

// refused learns from a call that was not accepted. It may be called on nil.
func (g *group) refused(msg *nats.Msg, err error) {
	switch {
	case g == nil:
	case errors.Is(err, ErrStorageFull):
		g.learn(err)
	case errors.Is(err, ErrQueueFull):
		g.mu.Lock()
		defer g.mu.Unlock()
		if len(g.full) >= groupFullMost {
			clear(g.full)
		}
		g.full[msg.Subject] = time.Now().Add(groupFullPause)
	}
}
