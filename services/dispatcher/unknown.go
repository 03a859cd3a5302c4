package dispatcher

import (
	"context"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/upstream"
)

const (
	// sweepInterval is how often all queues are looked at, for calls that no subscription has told of and for functions that are not known.
	sweepInterval = 5 * time.Second
	// lookAgain is when they are looked at again if they could not be.
	lookAgain = 250 * time.Millisecond
	// buryBatch is how many calls of an unknown function are taken at a time.
	buryBatch = 100
)

// sweep looks at all queues every sweepInterval, and when asked to, until ctx ends: known functions are made awake, calls of
// unknown ones are given up after the grace time.
func (d *Dispatcher) sweep(ctx context.Context) {
	reconnects, stop := d.deps.Bus.Reconnects()
	defer stop()
	if !d.awaitKnown(ctx) {
		return
	}
	ticker := time.NewTicker(min(d.sweepEvery, max(d.config.UnknownGrace/4, 10*time.Millisecond)))
	defer ticker.Stop()
	unknown := map[string]time.Time{} // since when
	var again <-chan time.Time
	for {
		select {
		case <-ticker.C:
		case <-d.look:
		case <-reconnects:
		case <-again:
		case <-ctx.Done():
			return
		}
		again = nil
		depths, err := d.deps.Bus.Depths(ctx)
		if err != nil {
			again = time.After(lookAgain)
			continue
		}
		d.sweepOnce(depths, unknown)
	}
}

func (d *Dispatcher) sweepOnce(depths map[string]uint64, unknown map[string]time.Time) {
	for name := range unknown {
		if depths[name] == 0 {
			delete(unknown, name)
		}
	}
	var due []string
	for name := range depths {
		if d.start(name) {
			delete(unknown, name)
			continue
		}
		since, seen := unknown[name]
		if !seen {
			unknown[name] = time.Now()
			d.deps.Logger.Warn().Str("function", name).Dur("grace", d.config.UnknownGrace).Msg("calls are queued for a function that is not known")
		} else if time.Since(since) > d.config.UnknownGrace {
			due = append(due, name)
		}
	}
	if len(due) == 0 {
		return
	}
	select {
	case d.due <- due:
	default: // the ones before take their time
	}
}

// buryUnknown gives up what sweep finds due, beside it, so that known functions do not wait for that.
func (d *Dispatcher) buryUnknown(ctx context.Context) {
	for {
		select {
		case due := <-d.due:
			for _, name := range due {
				d.buryQueue(ctx, name)
			}
		case <-ctx.Done():
			return
		}
	}
}

// buryQueue gives up the calls that are queued now for a function that is not known.
func (d *Dispatcher) buryQueue(ctx context.Context, name string) {
	depth, err := d.deps.Bus.Depth(ctx, name)
	if err != nil {
		return // the next sweep finds it again
	}
	buried := 0
	for ctx.Err() == nil && depth > 0 && !d.knows(name) {
		deliveries, err := d.deps.Bus.Fetch(ctx, name, int(min(depth, buryBatch)))
		if err != nil {
			d.deps.Logger.Error().Err(err).Str("function", name).Msg("calls of an unknown function could not be read")
			break
		}
		if len(deliveries) == 0 {
			break // the rest waits for a retry
		}
		depth -= min(depth, uint64(len(deliveries)))
		buried += d.buryAll(ctx, name, deliveries)
	}
	if buried > 0 {
		d.deps.Logger.Warn().Str("function", name).Int("calls", buried).Str("reason", "unknown_function").
			Str("show", "nats stream view "+d.deps.Bus.DeadStream()+" --subject "+d.deps.Bus.DeadSubject(name)).Msg("calls given up")
	}
}

func (d *Dispatcher) buryAll(ctx context.Context, name string, deliveries []*bus.Delivery) (buried int) {
	attempts, err := d.attempts.Load(ctx, name)
	if err != nil {
		d.deps.Logger.Error().Err(err).Str("function", name).Msg("calls of an unknown function are given up later")
	}
	for _, delivery := range deliveries {
		if err != nil || d.knows(name) { // it has come in the meantime
			_ = delivery.Again(0) // or after the ack wait
			continue
		}
		if d.buryOne(ctx, name, delivery, attempts[delivery.Sequence].Tries) {
			buried++
		}
	}
	return buried
}

func (d *Dispatcher) buryOne(ctx context.Context, name string, delivery *bus.Delivery, tries int) bool {
	result := outcome{verdict: bury, reason: "unknown_function", detail: "no function has the name " + name}
	death := bus.Death{Reason: result.reason, Detail: result.detail, At: time.Now(), Attempts: tries}
	_, err := d.deps.Bus.Bury(ctx, delivery, death)
	if err == nil {
		err = delivery.Done(ctx)
	}
	if err != nil {
		d.deps.Logger.Error().Err(err).Str("function", name).Str("call", delivery.ID).Msg("the call could not be given up: it will be tried again")
		return false
	}
	d.metrics.ended(unknownFunction, result, time.Since(delivery.Accepted))
	d.tell(delivery, upstream.Answer{}, result)
	if tries > 0 {
		d.removeRecord(ctx, name, delivery.ID)
	}
	return true
}

func (d *Dispatcher) knows(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.workers[name] != nil
}
