package gateway

import (
	"context"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/function"
)

// subscriber is a function that gets a public and a private event.
func subscriber(name string) function.State {
	s := state(name)
	s.Function.SubscribeEvents = []function.Subscription{{Event: "open", Visibility: function.Public}, {Event: "secret", Visibility: function.Private}}
	return s
}

// events makes their stream and follows it, as the dispatcher does.
func (f *fixture) events() <-chan bus.Event {
	f.t.Helper()
	if err := f.bus.EnsureEvents(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	events := make(chan bus.Event, 100)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = f.bus.FollowEvents(ctx, func(_ context.Context, _ string, event bus.Event) error { events <- event; return nil })
	}()
	f.t.Cleanup(func() { stop(); <-done })
	return events
}

// fromInside turns a request into one from inside.
func (f *fixture) fromInside(r *http.Request) *http.Request {
	r.URL.Host, r.Host = f.InsideAddr(), ""
	return r
}

func TestPublishEvent(t *testing.T) {
	f := start(t)
	events := f.events()
	f.put(subscriber("f"))
	request := f.request("POST", "/publish-event/open/a%2Fb//c/?x=%20y", "body")
	request.Header = http.Header{"Nats-Rollup": {"all"}, "Sluice-Event": {"forged"}, "Cookie": {"a", "b"}, "X-Forwarded-For": {"10.0.0.1"}}
	if answer := f.do(request); answer.StatusCode != http.StatusNoContent || answer.body != "" {
		t.Fatalf("%s %s", answer.Status, answer.body)
	}
	got := wait(t, "the event", events)
	if got.Name != "open" || got.Path != "/a%2Fb//c/" || got.Query != "x=%20y" || string(got.Body) != "body" || !got.Public {
		t.Errorf("%+v", got)
	}
	if got.Header.Get("Nats-Rollup") != "all" || got.Header.Get("Sluice-Event") != "" || !reflect.DeepEqual(got.Header["Cookie"], []string{"a", "b"}) || got.Header.Get("X-Forwarded-For") != "127.0.0.1" {
		t.Errorf("%v", got.Header)
	}
	for _, path := range []string{"/publish-event/secret", "/publish-event/open"} {
		if answer := f.do(f.fromInside(f.request("POST", path, ""))); answer.StatusCode != http.StatusNoContent {
			t.Errorf("%s from inside: %s %s", path, answer.Status, answer.body)
		}
		if got := wait(t, "the event", events); got.Public || got.Path != "/" || "/publish-event/"+got.Name != path {
			t.Errorf("%+v", got)
		}
	}
	if n := f.value(t, "sluice_events_total", "outcome", "accepted"); n != 3 {
		t.Errorf("%v events are counted", n)
	}
}

// TestEventsOfNobody: private ones are the same from outside.
func TestEventsOfNobody(t *testing.T) {
	f := start(t)
	f.events()
	f.put(subscriber("f"))
	unknown := expectProblem(t, f.send("POST", "/publish-event/unknown/x", "body"), unknownEvent)
	secret := expectProblem(t, f.send("POST", "/publish-event/secret/x", "body"), unknownEvent)
	if strings.ReplaceAll(unknown.Detail, "unknown", "secret") != secret.Detail {
		t.Errorf("%q and %q tell them apart", unknown.Detail, secret.Detail)
	}
	expectProblem(t, f.do(f.fromInside(f.request("POST", "/publish-event/unknown", ""))), unknownEvent)
	expectProblem(t, f.send("POST", "/publish-event/Open", ""), unknownEvent)
	for _, name := range []string{"a.b", "%6fpen", "a*", "%3E", strings.Repeat("x", 64), "a$b"} {
		expectProblem(t, f.send("POST", "/publish-event/"+name, ""), badRequest)
	}
	for _, verb := range []string{"GET", "PUT", "DELETE"} {
		expectProblem(t, f.send(verb, "/publish-event/open/x", ""), wrongMethod)
	}
	if all := f.series(t, "sluice_events_total", "", ""); len(all) != 0 {
		t.Errorf("%v: what callers make up is a label", all)
	}
}

func TestEventBodies(t *testing.T) {
	f := start(t)
	events := f.events()
	f.put(subscriber("f"))
	limit := f.bus.InlineBody()
	for _, chunked := range []bool{false, true} {
		for size, status := range map[int64]int{limit: http.StatusNoContent, limit + 1: http.StatusRequestEntityTooLarge} {
			request := f.request("POST", "/publish-event/open", strings.Repeat("x", int(size)))
			if chunked {
				request.ContentLength = -1
			}
			answer := f.do(request)
			if answer.StatusCode != status {
				t.Errorf("%d bytes, chunked %v: %s %s", size, chunked, answer.Status, answer.body)
			}
		}
		if got := wait(t, "the event", events); int64(len(got.Body)) != limit {
			t.Errorf("%d bytes", len(got.Body))
		}
	}
	if n := f.value(t, "sluice_events_total", "outcome", "body-too-large"); n != 2 || f.room() != f.config.BodyBudget {
		t.Errorf("%v are counted, budget %d", n, f.room())
	}
}

func TestEventsWithoutNATS(t *testing.T) {
	f := start(t, func(o *options) { o.settings.PublishPatience = 300 * time.Millisecond })
	f.events()
	f.put(subscriber("f"))
	f.nats.Stop()
	expectProblem(t, f.send("POST", "/publish-event/open", "x"), silentQueue)
	f.nats.Start()
}
