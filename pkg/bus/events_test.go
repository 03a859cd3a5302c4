package bus

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
)

// ensureEvents returns a Bus whose events stream is there.
func ensureEvents(t *testing.T, server *bustest.Server, changes ...func(*Config)) *Bus {
	t.Helper()
	b := connect(t, server, changes...)
	if err := b.EnsureEvents(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	return b
}

// followed is one event as handle was told of it.
type followed struct {
	ID    string
	Event Event
}

// follow handles events until the test ends or the returned function is called.
func follow(t *testing.T, b *Bus, handle func(context.Context, followed) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- b.FollowEvents(ctx, func(ctx context.Context, id string, event Event) error { return handle(ctx, followed{id, event}) })
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("follow: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// followAll puts each event into the channel.
func followAll(t *testing.T, b *Bus) <-chan followed {
	t.Helper()
	ch := make(chan followed, 10_000)
	follow(t, b, func(_ context.Context, e followed) error {
		ch <- e
		return nil
	})
	return ch
}

func publishEvent(t *testing.T, b *Bus, event Event) {
	t.Helper()
	if err := b.PublishEvent(within(t, patience), event); err != nil {
		t.Fatal(err)
	}
}

func storedEvents(t *testing.T, b *Bus) uint64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	stream, err := b.js.Stream(ctx, b.EventsStream())
	if err != nil {
		t.Fatal(err)
	}
	return stream.CachedInfo().State.Msgs
}

func TestEventRoundTrip(t *testing.T) {
	t.Parallel()
	b := ensureEvents(t, bustest.Start(t))
	events := followAll(t, b)
	for _, event := range []Event{
		{Name: "fibo-public", Path: "/", Header: http.Header{}, Public: true},
		{Name: "A_1", Path: "/a%2Fb//", Query: "q=1&q", Header: http.Header{"X": {"1", "2"}, "Nats-Rollup": {"all"}}, Body: []byte("body")},
	} {
		sent := event
		sent.Header = event.Header.Clone()
		publishEvent(t, b, sent)
		got := next(t, events)
		if len(got.Event.Body) == 0 {
			got.Event.Body = nil
		}
		if _, _, err := ParseCallID(got.ID); err != nil || !reflect.DeepEqual(got.Event, event) {
			t.Errorf("got  %+v %v\nwant %+v", got, err, event)
		}
	}
	eventually(t, "the stream is empty", func() bool { return storedEvents(t, b) == 0 })
}

// Anybody who may publish to the subject publishes an event; what is none is passed over and stops nobody.
func TestEventsOfOtherClients(t *testing.T) {
	t.Parallel()
	b := ensureEvents(t, bustest.Start(t))
	events := followAll(t, b)
	for _, msg := range []*nats.Msg{
		{Subject: "sluice.event.a", Header: nats.Header{HeaderPath: {"no path"}}},
		{Subject: "sluice.event.a/b"},
		{Subject: "sluice.event." + strings.Repeat("a", 64)},
		{Subject: "sluice.event.a", Header: nats.Header{HeaderBody: {"x"}, HeaderBodySize: {"1"}}},
		{Subject: "sluice.event.a", Data: []byte("x")},
	} {
		if _, err := b.js.PublishMsg(within(t, patience), msg); err != nil {
			t.Fatal(err)
		}
	}
	got := next(t, events).Event
	if got.Name != "a" || got.Path != "/" || got.Public || string(got.Body) != "x" {
		t.Errorf("got %+v", got)
	}
	eventually(t, "the stream is empty", func() bool { return storedEvents(t, b) == 0 })
	if len(events) > 0 {
		t.Errorf("%+v is told as an event", <-events)
	}
}

func TestBadEventsAreRefused(t *testing.T) {
	t.Parallel()
	b := ensureEvents(t, bustest.Start(t), func(c *Config) { c.Settings.QueueLimit = 1 })
	for _, name := range []string{"", "a.b", "a b", "*", ">", "é", strings.Repeat("a", 64)} {
		if err := b.PublishEvent(within(t, patience), Event{Name: name}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", name)) {
			t.Errorf("%q: %v", name, err)
		}
	}
	publishEvent(t, b, Event{Name: "a"})
	if err := b.PublishEvent(within(t, patience), Event{Name: "a"}); !errors.Is(err, ErrQueueFull) {
		t.Errorf("a full queue: %v", err)
	}
	publishEvent(t, b, Event{Name: "b"}) // has room of its own
	if err := b.PublishEvent(within(t, patience), Event{Name: "c", Body: make([]byte, b.maxCallSize()+1)}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a large body: %v", err)
	}
	if err := b.PublishEvent(within(t, patience), Event{Name: "c", Header: http.Header{"X": {strings.Repeat("x", maxCallHeader)}}}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a large header: %v", err)
	}
}

// An event is out of the stream only once it was handled; it has the same id each time, and others come meanwhile.
func TestEventThatCannotBeHandledComesAgain(t *testing.T) {
	t.Parallel()
	b := ensureEvents(t, bustest.Start(t))
	told := make(chan followed, 100)
	failures := map[string]int{}
	follow(t, b, func(_ context.Context, e followed) error {
		told <- e
		if e.Event.Name == "bad" && failures[e.ID] < 2 {
			failures[e.ID]++
			return errors.New("not now")
		}
		return nil
	})
	publishEvent(t, b, Event{Name: "bad"})
	publishEvent(t, b, Event{Name: "good"})
	id := next(t, told).ID
	if got := next(t, told); got.Event.Name != "good" {
		t.Errorf("then came %+v", got)
	}
	for range 2 {
		if got := next(t, told); got.ID != id {
			t.Errorf("then came %+v", got)
		}
	}
	eventually(t, "the stream is empty", func() bool { return storedEvents(t, b) == 0 })
}

// An event whose handling takes longer than the ack wait is handled once.
func TestSlowEventIsHandledOnce(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	wait := func(c *Config) { c.Settings.AckWait = 6 * time.Second }
	b := ensureEvents(t, server, wait)
	told := make(chan followed, 10)
	slow := func(_ context.Context, e followed) error {
		told <- e
		<-time.After(9 * time.Second)
		return nil
	}
	follow(t, b, slow)
	follow(t, connect(t, server, wait), slow)
	publishEvent(t, b, Event{Name: "a"})
	next(t, told)
	eventually(t, "the stream is empty", func() bool { return storedEvents(t, b) == 0 })
	if len(told) > 0 {
		t.Error("it was handled twice")
	}
}

// Events survive a restart of the server and the loss of the consumer; dispatchers share them, and each is told once.
func TestEventsSurviveRestartsAndLostConsumers(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	b := ensureEvents(t, server)
	events := followAll(t, b)
	other := followAll(t, connect(t, server))
	counts := map[string]int{}
	round := func(name string) {
		t.Helper()
		for i := range 20 {
			publishEvent(t, b, Event{Name: name, Path: fmt.Sprintf("/%d", i)})
		}
		deadline := time.After(patience)
		for range 20 {
			select {
			case e := <-events:
				counts[e.Event.Name+e.Event.Path]++
			case e := <-other:
				counts[e.Event.Name+e.Event.Path]++
			case <-deadline:
				t.Fatalf("%s: %d events of 20 were told", name, len(counts)%20)
			}
		}
		// An event that was handled and is not settled may be told to the other one when the consumer is lost.
		eventually(t, "the stream is empty", func() bool { return storedEvents(t, b) == 0 })
	}
	round("first")
	server.Stop()
	server.Start()
	round("restarted")
	if err := b.js.DeleteConsumer(within(t, patience), b.EventsStream(), EventsConsumer); err != nil {
		t.Fatal(err)
	}
	round("lost")
	for event, count := range counts {
		if count != 1 {
			t.Errorf("%s was told %d times", event, count)
		}
	}
	if len(counts) != 60 {
		t.Errorf("%d events of 60", len(counts))
	}
}

// Who stops to follow hands back what it has.
func TestEventsOfADispatcherThatLeaves(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	slow := func(c *Config) { c.Settings.AckWait, c.Settings.PublishPatience = unhurried, unhurried }
	b := ensureEvents(t, server, slow)
	begun := make(chan struct{})
	stop := follow(t, b, func(ctx context.Context, _ followed) error {
		close(begun)
		<-ctx.Done()
		return ctx.Err()
	})
	publishEvent(t, b, Event{Name: "a"})
	next(t, begun)
	stop()
	next(t, followAll(t, connect(t, server, slow))) // within the patience, which is much less than the ack wait
}

// The call by which a function gets an event is queued once, however often the event comes.
func TestEventCallIsQueuedOnce(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.Start(t))
	event := Event{Name: "e", Path: "/p", Query: "q", Header: http.Header{"Nats-Rollup": {"all"}, "X": {"1"}}, Body: []byte("body")}
	for range 3 {
		for _, function := range []string{"f", "g"} {
			if err := b.PublishEventCall(within(t, patience), function, "id-1", event); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := b.PublishEventCall(within(t, patience), "f", "id-2", event); err != nil {
		t.Fatal(err)
	}
	for function, count := range map[string]int{"f": 2, "g": 1} {
		c := consumer(t, b, function)
		for _, d := range pulled(t, c, count) {
			want := Call{Function: function, Method: "POST", Path: "/p", Query: "q", Header: event.Header, Body: []byte("body"), Event: "e"}
			if d.Err != nil || !reflect.DeepEqual(d.Call, want) {
				t.Errorf("got  %+v %v\nwant %+v", d.Call, d.Err, want)
			}
		}
		if depth, err := b.Depth(within(t, patience), function); err != nil || depth != uint64(count) {
			t.Errorf("%s has %d calls (%v)", function, depth, err)
		}
	}
}

// An event header with what is no name makes an ordinary call.
func TestForgedEventHeader(t *testing.T) {
	call, err := testNames.decode(&nats.Msg{Subject: "sluice.call.f", Header: nats.Header{HeaderEvent: {"a.b"}}})
	if err != nil || call.Event != "" {
		t.Errorf("got %+v, %v", call, err)
	}
}
