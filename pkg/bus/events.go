package bus

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/sluicefaas/sluice/pkg/function"
)

// Event is one publication for all functions that subscribe to its name.
type Event struct {
	// Name is one word of a subject: letters, digits, - and _.
	Name        string
	Path, Query string
	Header      http.Header
	Body        []byte
	// Public says that the publisher is outside: private subscriptions do not get it. Who publishes straight to NATS is inside.
	Public bool
}

// EnsureEvents makes the stream of events. It is for the dispatcher.
func (b *Bus) EnsureEvents(ctx context.Context) error {
	return b.ensure(ctx, "events stream", func(ctx context.Context) error {
		_, err := b.js.CreateOrUpdateStream(ctx, b.eventsConfig())
		return err
	})
}

func (b *Bus) eventsConfig() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:                 b.EventsStream(),
		Description:          "Events that are to be queued for each function that gets them, one subject each",
		Subjects:             []string{b.AllEvents()},
		Retention:            jetstream.WorkQueuePolicy,
		Storage:              jetstream.FileStorage,
		Replicas:             b.config.Replicas,
		Discard:              jetstream.DiscardNew,
		DiscardNewPerSubject: true,
		MaxMsgsPerSubject:    b.config.Settings.QueueLimit,
		MaxBytes:             b.config.Settings.storage().events,
		MaxMsgSize:           int32(min(b.maxCallSize(), 1<<31-1)),
		Duplicates:           b.config.Settings.duplicateWindow(),
		AllowDirect:          true,
	}
}

// PublishEvent stores an event and returns once the server has acknowledged it, with the patience and the errors of PublishCall. It takes over
// the event's header.
func (b *Bus) PublishEvent(ctx context.Context, event Event) error {
	if err := function.ValidEvent(event.Name); err != nil {
		return err
	}
	if _, err := b.publishAlone(ctx, b.encodeEvent(event), nuid.Next()); err != nil {
		return fmt.Errorf("publish event %s: %w", event.Name, err)
	}
	return nil
}

// PublishEventCall queues the event for one function, as a Call with Event set. The same event is queued once for a function within the
// duplicate window, which begins with the first time.
func (b *Bus) PublishEventCall(ctx context.Context, function, id string, event Event) error {
	msg := b.encode(Call{
		Function: function, Method: http.MethodPost, Path: event.Path, Query: event.Query, Header: maps.Clone(event.Header), Body: event.Body, Event: event.Name,
	})
	if _, err := b.publishAlone(ctx, msg, "event-"+id+"-"+function); err != nil {
		return fmt.Errorf("queue event %s for %s: %w", event.Name, function, err)
	}
	return nil
}

// encodeEvent turns an event into a message, with the rules of a call.
func (n Names) encodeEvent(event Event) *nats.Msg {
	msg := n.encode(Call{Method: http.MethodPost, Path: event.Path, Query: event.Query, Header: event.Header, Body: event.Body})
	msg.Subject = n.EventSubject(event.Name)
	if event.Public {
		msg.Header[HeaderEventPublic] = []string{"true"}
	}
	return msg
}

// decodeEvent is the inverse of encodeEvent; it also takes what other NATS clients publish. The error wraps ErrBadMessage.
func (n Names) decodeEvent(msg *nats.Msg) (Event, error) {
	name := strings.TrimPrefix(msg.Subject, n.EventSubject(""))
	if err := function.ValidEvent(name); err != nil {
		return Event{}, fmt.Errorf("%w: %w", ErrBadMessage, err)
	}
	call, err := decodeHeader(msg, Call{Path: "/", Header: http.Header{}, Body: msg.Data})
	if err == nil && call.stored.name != "" {
		err = fmt.Errorf("%w: %s %q: an event has its body with it", ErrBadMessage, HeaderBody, call.stored.name)
	}
	return Event{
		Name: name, Path: call.Path, Query: call.Query, Header: call.Header, Body: call.Body,
		Public: msg.Header.Get(HeaderEventPublic) == "true",
	}, err
}

const (
	// eventsAckPending bounds the events that are with dispatchers or wait for their next time.
	eventsAckPending = 1_000
	// eventPause is the pause before an event comes again that could not be handled.
	eventPause = time.Second
	// eventAck is for how long the confirmation that an event is out of the stream is waited for.
	eventAck = 2 * ackTimeout
	// eventsLook is the pause between two looks whether the pull is lost.
	eventsLook = 500 * time.Millisecond
)

// FollowEvents calls handle for each event, one at a time, until ctx ends. An event is out of the stream once handle returns nil; after an error it
// comes again. id is the same each time. Those who follow at the same time share the events.
func (b *Bus) FollowEvents(ctx context.Context, handle func(ctx context.Context, id string, event Event) error) error {
	// An event that comes again because its dispatcher has died must do so within the duplicate window of the calls that it was queued as.
	ackWait := min(b.ackWait(), b.config.Settings.duplicateWindow()/2)
	consumer := b.newConsumer("events", b.EventsStream(), 1, jetstream.ConsumerConfig{
		Durable: EventsConsumer, FilterSubject: b.AllEvents(), AckWait: ackWait, MaxAckPending: eventsAckPending,
	})
	defer consumer.Close()
	reconnects, stop := b.Reconnects()
	defer stop()
	f := &eventsFollower{bus: b, consumer: consumer, handle: handle, reconnects: reconnects, progress: ackWait / 3, handled: map[uint64]bool{}}
	for ctx.Err() == nil {
		if err := f.run(ctx); err != nil && ctx.Err() == nil {
			b.notices.tell("the pull of events was lost", err)
			sleep(ctx, reconnectWait)
		}
	}
	return nil
}

// eventsFollower is the state of FollowEvents. One goroutine owns it.
type eventsFollower struct {
	bus        *Bus
	consumer   *Consumer
	handle     func(ctx context.Context, id string, event Event) error
	reconnects <-chan struct{}
	// progress is how often an event that is being handled needs a sign of life.
	progress time.Duration
	// handled has the places of events that were handled, but whose end the server has not confirmed.
	handled map[uint64]bool
}

// run pulls one event after the other until the pull is lost or ctx ends.
func (f *eventsFollower) run(ctx context.Context) error {
	if err := f.consumer.Open(ctx); err != nil {
		return err
	}
	if err := f.consumer.Reset(); err != nil {
		return err
	}
	look := time.NewTicker(eventsLook)
	defer look.Stop()
	for {
		if f.consumer.Asked() == 0 {
			if err := f.consumer.Pull(1); err != nil {
				return err
			}
		}
		select {
		case msg := <-f.consumer.Messages():
			delivery, err := f.consumer.Handle(msg)
			if err != nil {
				return err
			}
			if delivery != nil {
				f.take(ctx, delivery)
			}
		case now := <-look.C:
			if f.consumer.Silent(now) {
				return errLost
			}
		case <-f.reconnects:
			return nil
		case <-ctx.Done():
			f.leave(ctx)
			return nil
		}
	}
}

// leave hands back what an open pull has brought.
func (f *eventsFollower) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	for _, delivery := range f.consumer.Leave(ctx) {
		_ = delivery.Again(0) // if it is lost the event comes after the ack wait
	}
}

// take handles one event and settles it.
func (f *eventsFollower) take(ctx context.Context, d *Delivery) {
	if !f.handled[d.Sequence] {
		if err := f.process(ctx, d); err != nil {
			f.bus.notices.tell("an event comes again", err)
			_ = d.Again(eventPause) // as in leave
			return
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), eventAck)
	defer cancel()
	if err := d.Done(ctx); err != nil { // it comes again, to be settled only
		if len(f.handled) < eventsAckPending {
			f.handled[d.Sequence] = true
		}
		f.bus.notices.tell("the end of an event is not confirmed", err)
		return
	}
	delete(f.handled, d.Sequence)
}

// process calls handle, with signs of life while it runs. A message that is no event is passed over.
func (f *eventsFollower) process(ctx context.Context, d *Delivery) error {
	event, err := f.bus.decodeEvent(d.message)
	if err != nil {
		f.bus.notices.tell("an event is passed over", err)
		return nil
	}
	alive, stop := context.WithCancel(ctx)
	var ended sync.WaitGroup
	ended.Go(func() { signal(alive, d, f.progress) })
	defer ended.Wait()
	defer stop()
	return f.handle(ctx, eventID(d), event)
}

// signal tells the server every so often that a delivery is being worked on, until ctx ends.
func signal(ctx context.Context, d *Delivery, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			_ = d.InProgress() // the next one may arrive
		case <-ctx.Done():
			return
		}
	}
}

// eventID is when and at which place the event was stored, as a call's id is.
func eventID(d *Delivery) string { return formatCallID(d.Accepted.UnixMilli(), d.Sequence) }
