package dispatcher

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/pkg/upstream"
)

func subscribed(events ...string) func(*function.Function) {
	return func(f *function.Function) {
		for _, event := range events {
			name, private := strings.CutPrefix(event, "Private:")
			s := function.Subscription{Event: name, Visibility: function.Public}
			if private {
				s.Visibility = function.Private
			}
			f.SubscribeEvents = append(f.SubscribeEvents, s)
		}
	}
}

// publishing sets DefaultPublish.
func publishing(seconds ...int) func(*function.Function) {
	return func(f *function.Function) {
		f.Configuration.DefaultPublish = function.Policy{HTTPTimeout: 30, TimeoutRetries: seconds, HTTPStatusRetries: []int{500, 503}}
	}
}

func (r *rig) event(event bus.Event) {
	r.t.Helper()
	if err := r.bus.PublishEvent(r.t.Context(), event); err != nil {
		r.t.Fatal(err)
	}
}

// awaitEvents waits until the stream of events is there, which the dispatcher makes.
func (r *rig) awaitEvents() {
	r.t.Helper()
	if err := r.bus.EnsureEvents(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

func counts(backends []*backend) (counts []int) {
	for _, b := range backends {
		counts = append(counts, b.count())
	}
	return counts
}

func backends(t *testing.T, handlers ...http.HandlerFunc) (list []*backend) {
	for _, handle := range handlers {
		list = append(list, newBackend(t, nil, handle))
	}
	return list
}

// Every ready replica of every subscriber gets the event as it was published, and nobody else does.
func TestEventReachesEveryReplicaOfEverySubscriber(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.awaitEvents()
	three := backends(t, answer(200), answer(202), answer(302))
	one, hidden, other := newBackend(t, nil, answer(200)), newBackend(t, nil, answer(200)), newBackend(t, nil, answer(200))
	r.put(spec("three", subscribed("fibo", "more"), publishing(60)), three...)
	r.put(spec("one", subscribed("fibo"), publishing()), one)
	r.put(spec("hidden", subscribed("Private:fibo"), publishing()), hidden)
	r.put(spec("other", subscribed("Fibo", "fib"), publishing()), other)
	event := bus.Event{
		Name: "fibo", Path: "/a%2Fb/", Query: "x=1&y", Body: []byte("body"), Public: true,
		Header: http.Header{"X-Two": {"1", "2"}, "Cookie": {"a=b"}, "Nats-Rollup": {"all"}},
	}
	r.event(event) // before a dispatcher runs
	s := r.dispatch()
	all := append(slices.Clone(three), one)
	eventually(t, "the event is everywhere", func() bool { return !slices.Contains(counts(all), 0) })
	for _, b := range all {
		c := b.calls()[0]
		got := c.request
		if got.Method != http.MethodPost || got.RequestURI != "/a%2Fb/?x=1&y" || c.body != "body" || fmt.Sprint(got.Header["X-Two"]) != "[1 2]" ||
			got.Header.Get("Cookie") != "a=b" || got.Header.Get("Nats-Rollup") != "all" || c.id == "" || c.try != "0" {
			t.Errorf("%s %s %v: %s", got.Method, got.RequestURI, got.Header, c.body)
		}
	}
	r.awaitEmpty("three", "one", "hidden", "other")
	event.Public, event.Header = false, nil
	r.event(event)
	eventually(t, "it is everywhere again", func() bool { return fmt.Sprint(counts(append(all, hidden))) == "[2 2 2 2 1]" })
	r.awaitEmpty("three", "one", "hidden", "other")
	if other.count() != 0 {
		t.Error("who has not subscribed got it")
	}
	r.event(bus.Event{Name: "nobodys", Path: "/"})
	eventually(t, "they are counted", func() bool {
		return s.counted("sluice_events_distributed_total", "queued") >= 2 && s.counted("sluice_events_distributed_total", "no_subscriber") >= 1
	})
	eventually(t, "each request is an attempt", func() bool { return s.counted("sluice_attempts_total", "three", "success") == 6 })
}

// An event is tried again at those replicas only that it has not reached, as DefaultPublish says.
func TestEventIsTriedAgainWhereItFailed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.awaitEvents()
	list := backends(t, answer(200), script(answer(500), aborted, answer(204)), answer(200))
	r.put(spec("f", subscribed("e"), publishing(1, 1)), list...)
	s := r.dispatch()
	r.event(bus.Event{Name: "e", Path: "/"})
	eventually(t, "three attempts", func() bool { return list[1].count() == 3 })
	r.awaitEmpty("f")
	r.awaitNoRecords("f")
	if got := fmt.Sprint(counts(list)); got != "[1 3 1]" {
		t.Errorf("attempts %s", got)
	}
	for i, c := range list[1].calls() {
		if c.try != fmt.Sprint(i) || (c.last == "true") != (i == 2) || i > 0 && c.at.Sub(list[1].calls()[i-1].until) < time.Second {
			t.Errorf("attempt %d: try %s, last %s", i, c.try, c.last)
		}
	}
	eventually(t, "the end is counted", func() bool { return s.counted("sluice_queued_calls_ended_total", "f", "success") == 1 })
}

// What has been reached is remembered over a restart of the dispatcher, whether it stops in order or not.
func TestEventSurvivesTheDispatcher(t *testing.T) {
	for _, kill := range []bool{false, true} {
		t.Run(fmt.Sprintf("killed_%v", kill), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, shortAckWait)
			r.awaitEvents()
			list := backends(t, answer(200), script(answer(500), answer(500), answer(200)), answer(200))
			r.put(spec("f", subscribed("e"), publishing(7, 7)), list...) // a dispatcher is gone by then
			r.event(bus.Event{Name: "e", Path: "/"})
			for i := range 2 {
				theirs := r.connect()
				s := r.dispatchOver(theirs)
				eventually(t, "an attempt", func() bool { return list[1].count() == i+1 })
				attempts := r.attempts()
				slowly(t, 10*time.Millisecond, "it is recorded", func() bool {
					records, err := attempts.Load(t.Context(), "f")
					for _, record := range records {
						return err == nil && record.Tries == i+1
					}
					return false
				})
				if kill {
					theirs.Close()
					s.interrupt()
				} else {
					s.stop()
				}
			}
			r.dispatch()
			r.awaitEmpty("f")
			r.awaitNoRecords("f")
			if got := fmt.Sprint(counts(list)); got != "[1 3 1]" {
				t.Errorf("attempts %s", got)
			}
		})
	}
}

// A dispatcher that is stopped in the middle of an event keeps what it has reached.
func TestEventThatIsInterrupted(t *testing.T) {
	t.Parallel()
	r, g := newRig(t), make(gate)
	r.awaitEvents()
	list := backends(t, answer(200), g.hold)
	r.put(spec("f", subscribed("e"), publishing()), list...)
	r.event(bus.Event{Name: "e", Path: "/"})
	first := r.dispatch()
	eventually(t, "one has it, the other one works", func() bool { return list[0].count() == 1 && list[1].own.current() == 1 })
	eventually(t, "that is known", func() bool { return first.counted("sluice_attempts_total", "f", "success") == 1 })
	first.interrupt()
	close(g)
	r.dispatch()
	r.awaitEmpty("f")
	r.awaitNoRecords("f")
	if list[0].count() != 1 || list[1].count() != 2 || list[1].calls()[1].try != "0" {
		t.Errorf("attempts %v", counts(list))
	}
}

// A subscriber that is asleep is woken, and gets the event when it is ready.
func TestEventWakesASubscriber(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.awaitEvents()
	b := newBackend(t, nil, answer(200))
	asleep := spec("asleep", subscribed("e"), publishing())
	r.put(asleep)
	wakes := r.wakes("asleep")
	s := r.dispatch()
	<-s.known
	r.event(bus.Event{Name: "e", Path: "/"})
	eventually(t, "a wake", func() bool { return wakes() > 0 })
	r.put(asleep, b)
	eventually(t, "the event", func() bool { return b.count() == 1 })
	r.awaitEmpty("asleep")
}

// An event takes one slot of its function, however many replicas it goes to.
func TestEventTakesOneSlot(t *testing.T) {
	t.Parallel()
	r, g := newRig(t), make(gate)
	r.awaitEvents()
	total := &gauge{}
	list := replicas(t, 4, total, g)
	r.put(spec("f", parallel(3, 0), subscribed("e"), publishing()), list...)
	s := r.dispatch()
	r.event(bus.Event{Name: "e", Path: "/"})
	eventually(t, "all work on the event", func() bool { return total.current() == 4 })
	if got := s.inFlight("f"); got != 4 {
		t.Errorf("%d in flight", got)
	}
	r.publishMany("f", 5)
	eventually(t, "two calls beside it", func() bool { return total.current() == 6 })
	holdsFor(t, 200*time.Millisecond, "no more", func() bool { return total.current() == 6 })
	close(g)
	r.awaitEmpty("f")
	eventually(t, "nothing is in flight", func() bool { return s.inFlight("f") == 0 })
}

// A replica that refuses the event for good does not keep others from being tried again; in the end a dead letter names those that
// were not reached. One that has gone in the meantime is not missed.
func TestEventThatIsLost(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.awaitEvents()
	letters := r.deadLetters()
	list := backends(t, answer(200), answer(404), answer(500), script(answer(500), answer(200)), answer(500))
	f := spec("f", subscribed("e"), publishing(8)) // long enough for the dispatcher to hear that one has gone
	r.put(f, list...)
	r.event(bus.Event{Name: "e", Path: "/p", Body: []byte("kept")})
	s := r.dispatch()
	r.awaitRecord("f")
	r.put(f, list[:4]...)
	letter := letters.next()
	detail := letter.Header.Get("Sluice-Dead-Detail")
	if letter.Header.Get("Sluice-Dead-Reason") != "event_lost" || letter.Header.Get("Sluice-Dead-Attempts") != "2" || string(letter.Data) != "kept" ||
		letter.Header.Get("Sluice-Event") != "e" || !strings.Contains(detail, list[1].address+": the function answered 404") || !strings.Contains(detail, list[2].address+": the function answered 500") {
		t.Errorf("%v %q", letter.Header, letter.Data)
	}
	for _, b := range []*backend{list[0], list[3], list[4]} {
		if strings.Contains(detail, b.address) {
			t.Errorf("it names %s: %s", b.address, detail)
		}
	}
	r.awaitEmpty("f")
	r.awaitNoRecords("f")
	if got := fmt.Sprint(counts(list)); got != "[1 1 2 2 1]" {
		t.Errorf("attempts %s", got)
	}
	eventually(t, "it is counted", func() bool { return s.counted("sluice_dead_calls_total", "f", "event_lost") == 1 })
}

// All replicas that an event had still to reach have gone: others do not get it.
func TestEventOfReplicasThatHaveGone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.awaitEvents()
	list := backends(t, answer(200), answer(500), answer(200))
	f := spec("f", subscribed("e"), publishing(8)) // long enough for the dispatcher to hear that one has gone
	r.put(f, list[:2]...)
	r.event(bus.Event{Name: "e", Path: "/"})
	r.dispatch()
	r.awaitRecord("f")
	r.put(f, list[0], list[2])
	r.awaitEmpty("f")
	r.awaitNoRecords("f")
	if got := fmt.Sprint(counts(list)); got != "[1 1 0]" {
		t.Errorf("attempts %s", got)
	}
}

// A function whose queue is full loses the event; the others do not wait for it.
func TestEventForAFullQueue(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(s *bus.Settings) { s.QueueLimit = 3 })
	r.awaitEvents()
	b := newBackend(t, nil, answer(200))
	r.put(spec("full", subscribed("e"), publishing()))
	r.put(spec("works", subscribed("e"), publishing()), b)
	r.publishMany("full", 3)
	s := r.dispatch()
	r.event(bus.Event{Name: "e", Path: "/"})
	eventually(t, "the event", func() bool { return b.count() == 1 })
	eventually(t, "the loss is counted", func() bool { return s.counted("sluice_events_distributed_total", "refused") == 1 })
	if lines := s.log.with("does not get an event"); len(lines) != 1 || lines[0]["function"] != "full" || lines[0]["event"] != "e" {
		t.Errorf("log %v", lines)
	}
}

func TestTargets(t *testing.T) {
	a, b, c := function.Endpoint{Replica: "a", Address: "1"}, function.Endpoint{Replica: "b", Address: "2"}, function.Endpoint{Address: "3"}
	ready := []function.Endpoint{a, b, c}
	tests := []struct {
		pending []string
		want    []function.Endpoint
	}{
		{nil, ready},
		{[]string{}, nil},
		{[]string{"gone"}, nil},
		{[]string{"b", "gone"}, []function.Endpoint{b}},
		{[]string{"3", "a"}, []function.Endpoint{a, c}},
		{[]string{"2"}, nil}, // an address is no name where there is one
	}
	for _, test := range tests {
		if got := targets(ready, test.pending); !slices.Equal(got, test.want) {
			t.Errorf("%q: got %v", test.pending, got)
		}
	}
	if ready[0] != a || ready[2] != c {
		t.Errorf("the list was changed: %v", ready)
	}
}

func TestDecideEventProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		verdicts := rapid.SliceOfN(rapid.SampledFrom([]verdict{acknowledge, retry, bury, handBack}), 0, 8).Draw(t, "verdicts")
		record := bus.Attempt{Tries: 1, Lost: rapid.SliceOfN(rapid.Just("earlier: x"), 0, 2).Draw(t, "lost")}
		before := len(record.Lost)
		var replies []reply
		seen, longest := map[verdict]int{}, time.Duration(0)
		for i, v := range verdicts {
			delay := time.Duration(rapid.IntRange(0, 9).Draw(t, "delay")) * time.Second
			if v == acknowledge || v == bury {
				delay = 0
			}
			longest = max(longest, delay)
			seen[v]++
			replies = append(replies, reply{fmt.Sprint(i), upstream.Answer{}, outcome{verdict: v, delay: delay, reason: "reason", detail: "detail"}})
		}
		got := decideEvent(replies, &record)
		want := acknowledge
		switch {
		case seen[handBack] > 0:
			want = handBack
		case seen[retry] > 0:
			want = retry
		case len(record.Lost) > 0:
			want = bury
		}
		if got.verdict != want || record.Pending == nil || len(record.Pending) != seen[retry]+seen[handBack] || len(record.Lost) != before+seen[bury] {
			t.Fatalf("got %+v, record %+v", got, record)
		}
		if (want == retry || want == handBack) && got.delay != longest || got.reason == "" || want != acknowledge && got.detail == "" {
			t.Fatalf("got %+v", got)
		}
	})
}

// What could be queued for some functions only is queued for the others later, and for none twice.
func TestEventComesAgainForThoseThatDoNotHaveIt(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(s *bus.Settings) { s.PublishPatience = 500 * time.Millisecond })
	r.put(spec("f", subscribed("e"), publishing()))
	s := r.dispatch()
	<-s.known
	q := eventQueue{s.Dispatcher, map[string]map[string]bool{"id": {"gone": true}}}
	r.server.Stop()
	err := q.queue(t.Context(), "other", bus.Event{Name: "e", Path: "/"})
	if !errors.Is(err, bus.ErrUnavailable) || len(q.partly) != 2 {
		t.Errorf("without NATS: %v, remembered %v", err, q.partly)
	}
	q.partly["id"]["f"] = true
	if err := q.queue(t.Context(), "id", bus.Event{Name: "e", Path: "/"}); err != nil || len(q.partly) != 1 {
		t.Errorf("what is queued everywhere: %v, remembered %v", err, q.partly)
	}
	r.server.Start()
}
