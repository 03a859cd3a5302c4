package gateway

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/pkg/ops"
)

// TestOutsideIsOutside: what is not there and what is private are the same, in every mode.
func TestOutsideIsOutside(t *testing.T) {
	f := start(t)
	private := state("hidden", backend(t, func(http.ResponseWriter, *http.Request) { t.Error("a private function was called") }))
	private.Function.DefaultVisibility = function.Private
	f.put(private)
	for _, mode := range []string{"/function/", "/async-function/"} {
		unknown := expectProblem(t, f.send("POST", mode+"unknown/x", "body"), unknownFunction)
		hidden := expectProblem(t, f.send("POST", mode+"hidden/x", "body"), unknownFunction)
		if strings.ReplaceAll(unknown.Detail, "unknown", "hidden") != hidden.Detail {
			t.Errorf("%s: %q and %q tell them apart", mode, unknown.Detail, hidden.Detail)
		}
		request := f.request("POST", mode+"hidden/x", "body")
		request.Header.Set("X-Forwarded-For", "127.0.0.1")
		expectProblem(t, f.do(request), unknownFunction)
	}
	if f.depth("hidden") != 0 || f.depth("unknown") != 0 {
		t.Error("a call was queued")
	}
}

func TestQueueFull(t *testing.T) {
	f := start(t, func(o *options) { o.settings.QueueLimit = 3 })
	f.put(state("f"))
	f.put(state("g"))
	for range 3 {
		if answer := f.send("POST", "/async-function/f", "x"); answer.StatusCode != http.StatusAccepted {
			t.Fatalf("%s", answer.Status)
		}
	}
	expectProblem(t, f.send("POST", "/async-function/f", "x"), fullQueue)
	if answer := f.send("POST", "/async-function/g", "x"); answer.StatusCode != http.StatusAccepted {
		t.Errorf("another function's call: %s", answer.Status)
	}
	f.fetch("f", 3)
	if answer := f.send("POST", "/async-function/f", "x"); answer.StatusCode != http.StatusAccepted {
		t.Errorf("after calls were taken: %s", answer.Status)
	}
}

func TestStorageFull(t *testing.T) {
	f := start(t, func(o *options) { o.settings.StorageLimit = 100_000 })
	f.put(state("f"))
	body := strings.Repeat("x", 40_000)
	for range 2 {
		f.send("POST", "/async-function/f", body)
	}
	expectProblem(t, f.send("POST", "/async-function/f", body), fullStorage)
}

// TestNATSAway: 503 within the patience, and nothing is queued when it comes back.
func TestNATSAway(t *testing.T) {
	const patience = 300 * time.Millisecond
	f := start(t, func(o *options) { o.settings.PublishPatience = patience })
	f.serve("f", func(http.ResponseWriter, *http.Request) {})
	f.nats.Stop()
	begin := time.Now()
	expectProblem(t, f.send("POST", "/async-function/f", "x"), silentQueue)
	if took := time.Since(begin); took < patience/2 {
		t.Errorf("the answer took %s", took)
	}
	if answer := f.send("GET", "/function/f", ""); answer.StatusCode != http.StatusOK {
		t.Errorf("sync without NATS: %s", answer.Status)
	}
	f.nats.Start()
	eventually(t, "calls to be accepted again", func() bool { return f.send("POST", "/async-function/f", "x").StatusCode == http.StatusAccepted })
	f.fetch("f", 1)
}

// TestNATSBackWithinThePatience: a call in the meantime is accepted, once.
func TestNATSBackWithinThePatience(t *testing.T) {
	f := start(t)
	f.put(state("f"))
	f.nats.Stop()
	answers := f.later(f.request("POST", "/async-function/f", "x"))
	f.nats.Start()
	if answer := wait(t, "the answer", answers); answer.err != nil || answer.StatusCode != http.StatusAccepted {
		t.Errorf("%+v", answer)
	}
	f.fetch("f", 1)
}

// TestCallerGoneWhileQueuing: his call is not waited for.
func TestCallerGoneWhileQueuing(t *testing.T) {
	f := start(t)
	f.put(state("f"))
	f.nats.Stop()
	ctx, hangUp := context.WithCancel(t.Context())
	answers := f.later(f.request("POST", "/async-function/f", "x").WithContext(ctx))
	eventually(t, "the call to come", func() bool { return f.room() < f.config.BodyBudget })
	hangUp()
	<-answers
	eventually(t, "the call to end", func() bool { return f.value(t, "sluice_calls_total", "outcome", "caller-gone") == 1 })
	f.nats.Start()
}

// TestEveryAcceptedCallIsStored is row 18: with NATS stopped and started under load, the calls that got 202 are those that are
// queued, each once, by their ids. One that got 503 may be queued too: its ack was lost.
func TestEveryAcceptedCallIsStored(t *testing.T) {
	f := start(t)
	f.put(state("f"))
	accepted := map[string]bool{}
	others := 0
	var mu sync.Mutex
	var callers sync.WaitGroup
	stop := make(chan struct{})
	for range 8 {
		callers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				answer := f.send("POST", "/async-function/f", "x")
				mu.Lock()
				if answer.StatusCode == http.StatusAccepted {
					if id := answer.Header.Get("X-Call-Id"); accepted[id] {
						t.Errorf("%s was given twice", id)
					} else {
						accepted[id] = true
					}
				} else {
					others++
				}
				mu.Unlock()
			}
		})
	}
	for range 3 {
		before := count(&mu, accepted)
		eventually(t, "more calls", func() bool { return count(&mu, accepted) > before+50 })
		f.nats.Stop()
		f.nats.Start()
	}
	before := count(&mu, accepted)
	eventually(t, "more calls", func() bool { return count(&mu, accepted) > before+50 })
	close(stop)
	callers.Wait()
	stored := int(f.depth("f"))
	if stored < len(accepted) || stored > len(accepted)+others {
		t.Errorf("%d calls are stored, %d were accepted, %d were not", stored, len(accepted), others)
	}
	for left := stored; left > 0; left -= 100 {
		for _, delivery := range f.fetch("f", min(left, 100)) {
			delete(accepted, delivery.ID)
		}
	}
	if len(accepted) > 0 {
		t.Errorf("%d accepted calls are not stored", len(accepted))
	}
}

func count(mu *sync.Mutex, ids map[string]bool) int {
	mu.Lock()
	defer mu.Unlock()
	return len(ids)
}

// TestGatewayMakesNothing: it waits for what dispatcher and scaler make, because whoever may change a stream may read and forge others.
func TestGatewayMakesNothing(t *testing.T) {
	f := start(t)
	js := must(jetstream.New(must(nats.Connect(f.nats.URL()))(t)))(t)
	t.Cleanup(js.Conn().Close)
	other := connect(t, f.nats, bus.Settings{Prefix: "other", QueueLimit: 1, PublishPatience: time.Second})
	g := New(Config{Listen: []string{"127.0.0.1:0"}}, Deps{Bus: other, Health: ops.NewHealth(), Logger: f.deps.Logger, Registry: emptyRegistry()})
	if err := g.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ended <- g.Run(ctx, ctx) }()
	settings := bus.Settings{Prefix: "other", QueueLimit: 2, PublishPatience: time.Second}
	dispatcher := connect(t, f.nats, settings)
	if _, err := dispatcher.OpenFunctions(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-g.Known():
		t.Error("the gateway is ready before the calls stream is made")
	case <-time.After(2 * testInterval):
	}
	if err := dispatcher.EnsureCalls(t.Context()); err != nil {
		t.Fatal(err)
	}
	wait(t, "the gateway to be ready", g.Known())
	if stream := must(js.Stream(t.Context(), "other-calls"))(t); stream.CachedInfo().Config.MaxMsgsPerSubject != settings.QueueLimit {
		t.Error("the gateway has changed the calls stream")
	}
	cancel()
	if err := wait(t, "the end of Run", ended); err != nil {
		t.Error(err)
	}
}
