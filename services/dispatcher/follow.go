package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
)

// followPause is how long the events are left alone after an error of the whole.
const followPause = time.Second

// awaitKnown waits until the functions are known. It reports false if ctx has ended before.
func (d *Dispatcher) awaitKnown(ctx context.Context) bool {
	select {
	case <-d.known:
		return true
	case <-ctx.Done():
		return false
	}
}

// eventQueue queues events for the functions that subscribe to them. One goroutine owns it.
type eventQueue struct {
	*Dispatcher
	// partly has the functions for which an event is queued that comes again because of others, by its id: the queue itself remembers
	// for a short time only.
	partly map[string]map[string]bool
}

// maxPartly bounds the events that are remembered so; a function may get what is beyond twice.
const maxPartly = 1_000

// followEvents queues each event for the functions that subscribe to it, until ctx ends.
func (d *Dispatcher) followEvents(ctx context.Context) {
	if !d.awaitKnown(ctx) {
		return
	}
	q := eventQueue{d, map[string]map[string]bool{}}
	for ctx.Err() == nil {
		if err := d.deps.Bus.FollowEvents(ctx, q.queue); err != nil && ctx.Err() == nil {
			d.deps.Logger.Error().Err(err).Msg("events cannot be read: it will be tried again")
			select {
			case <-time.After(followPause):
			case <-ctx.Done():
			}
		}
	}
}

// queue queues one event. An error means that it comes again.
func (q eventQueue) queue(ctx context.Context, id string, event bus.Event) (failed error) {
	subscribers := q.subscribers(event)
	if len(subscribers) == 0 {
		q.metrics.events.WithLabelValues("no_subscriber").Inc()
		q.deps.Logger.Debug().Str("event", event.Name).Str("id", id).Msg("an event has no subscriber")
		return nil
	}
	done := q.partly[id]
	if done == nil {
		done = map[string]bool{}
	}
	for _, name := range subscribers {
		if done[name] {
			continue
		}
		if err := q.queueFor(ctx, name, id, event); err != nil {
			failed = errors.Join(failed, fmt.Errorf("queue event %s for %s: %w", event.Name, name, err))
			continue
		}
		done[name] = true
	}
	if failed == nil {
		delete(q.partly, id)
		q.metrics.events.WithLabelValues("queued").Inc()
	} else if len(q.partly) < maxPartly {
		q.partly[id] = done
	}
	return failed
}

// queueFor queues the event for one function, unless that can take none: others must not wait for it.
func (q eventQueue) queueFor(ctx context.Context, name, id string, event bus.Event) error {
	err := q.deps.Bus.PublishEventCall(ctx, name, id, event)
	if errors.Is(err, bus.ErrQueueFull) || errors.Is(err, bus.ErrTooLarge) {
		q.metrics.events.WithLabelValues("refused").Inc()
		q.deps.Logger.Warn().Err(err).Str("function", name).Str("event", event.Name).Str("id", id).Msg("the function does not get an event: its queue has refused it")
		return nil
	}
	return err
}

// subscribers are the functions that get the event, by name.
func (d *Dispatcher) subscribers(event bus.Event) (names []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, w := range d.workers {
		if !w.gone && w.spec.Load().Receives(event.Name, event.Path, !event.Public) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
