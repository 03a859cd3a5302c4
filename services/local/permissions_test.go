package local

import (
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/function"
)

// TestNATSUsersHaveWhatTheyNeed: everything that the services do, each as its user of the chart's NATS server, is permitted; and of what
// is permitted, everything is needed.
func TestNATSUsersHaveWhatTheyNeed(t *testing.T) {
	g, refused := startGuarded(t), &refusals{}
	t.Cleanup(func() { refused.report(t) }) // also when something else has failed for it
	leaveBehind(t, g, refused)
	leaveJobsBehind(t, g, refused)
	g.lose("sluice-dead") // which dispatcher and jobrunner make, whoever is the first

	functions := play(t)
	cluster := newScaled(strings.TrimPrefix(functions.server.URL, "http://"), "f", "gone")
	stopDispatcher := startDispatcher(t, g.login("dispatcher", refused))
	c := person{t, startGateway(t, g.login("gateway", refused)), &http.Client{Timeout: 2 * patience}}
	t.Cleanup(c.client.CloseIdleConnections)
	eventually(t, "what was left behind is read", func() bool { // the scaler removes it
		return g.used("dispatcher", "$JS.FC.KV_sluice-functions.>") && g.used("gateway", "$JS.FC.KV_sluice-inside.>") &&
			g.used("gateway", "$JS.FC.KV_sluice-definitions.>") && g.used("gateway", "$JS.FC.KV_sluice-runs.>")
	})
	s := startScaler(t, g.login("scaler", refused), cluster)
	<-s.Synced()
	eventually(t, "the caller is inside", func() bool { return c.status("/functions") == http.StatusOK })

	c.synchronous()
	c.queued(functions)
	eventually(t, "f is at zero", func() bool { return cluster.count("f") == 0 })
	client := g.client()
	client.publish("sluice.call.f", "query=client")
	eventually(t, "the call of the client is delivered", func() bool { return functions.count("query=client") == 1 })
	client.publish("sluice.call.unknown", "query=unknown")
	client.publish("sluice.event.e", "query=client-event")
	eventually(t, "the event of the client is delivered", func() bool { return functions.count("query=client-event") == 1 })
	c.published(functions)
	c.takenOver(functions)
	c.waitedFor()
	c.onlyOnce(functions)
	c.large(functions)
	c.jobs(startJobrunner(t, g.login("jobrunner", refused)), client)
	cluster.remove("gone")

	// A server that restarts makes every watch and consumer start anew, a dispatcher that restarts has calls delivered again.
	g.stop()
	g.start()
	c.ask(http.MethodPost, "/async-function/f/?query=restarted", http.StatusAccepted)
	eventually(t, "a call is delivered after the restart", func() bool { return functions.count("query=restarted") == 1 })
	stopDispatcher()
	startDispatcher(t, g.login("dispatcher", refused))
	c.ask(http.MethodPost, "/async-function/f/?query=again", http.StatusAccepted)
	eventually(t, "a call is delivered by the next dispatcher", func() bool { return functions.count("query=again") == 1 })
	eventually(t, "calls are given up", func() bool {
		return g.seen.has("dispatcher", "sluice.dead.f") && g.seen.has("dispatcher", "sluice.dead.unknown")
	})

	for _, user := range permissionUsers {
		g.expectAllUsed(user)
	}
}

// leaveBehind stores as much of an earlier run as makes the server ask its readers for flow control.
func leaveBehind(t *testing.T, g *guarded, refused *refusals) {
	t.Helper()
	const large, count = 200 << 10, 30
	writer := g.login("scaler", refused)
	defer writer.Close()
	functions, err := writer.OpenFunctions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dispatcher := g.login("dispatcher", refused)
	defer dispatcher.Close()
	attempts, err := dispatcher.OpenAttempts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	inside, err := writer.OpenInside(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("x", large)
	for i := range count {
		if _, err := inside.Put(t.Context(), netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), function.Insider{Name: text}); err != nil {
			t.Fatal(err)
		}
		state := function.State{Function: function.Function{Name: "old-" + strconv.Itoa(i), Kind: text}}
		if _, err := functions.Put(t.Context(), state); err != nil {
			t.Fatal(err)
		}
		if err := attempts.Record(t.Context(), "f", strconv.Itoa(i), bus.Attempt{Outcome: text}); err != nil {
			t.Fatal(err)
		}
	}
}

// synchronous are a call from zero and all that a person may ask.
func (c person) synchronous() {
	c.t.Helper()
	c.ask(http.MethodGet, "/function/f/", http.StatusOK)
	for _, path := range []string{"/status-functions", "/status-function/f", "/functions", "/functions/f"} {
		c.ask(http.MethodGet, path, http.StatusOK)
	}
	c.ask(http.MethodPost, "/wake-function/gone", http.StatusNoContent)
}

// queued are calls that end in every way: at once, late, after a retry, and as a dead letter.
func (c person) queued(functions *played) {
	c.t.Helper()
	for _, query := range []string{"query=async", "slow", "status=500", "status=400"} {
		c.ask(http.MethodPost, "/async-function/f/?"+query, http.StatusAccepted)
	}
	for query, count := range map[string]int{"query=async": 1, "slow": 1, "status=500": 2, "status=400": 1} {
		eventually(c.t, query+" has been called", func() bool { return functions.count(query) == count })
	}
}

// published is an event for f.
func (c person) published(functions *played) {
	c.t.Helper()
	c.ask(http.MethodPost, "/publish-event/e/?query=event", http.StatusNoContent)
	eventually(c.t, "the event is delivered", func() bool { return functions.count("query=event") == 1 })
}

// takenOver is a call that its function ends later.
func (c person) takenOver(functions *played) {
	c.t.Helper()
	const query = "status=202"
	c.ask(http.MethodPost, "/async-function/f/?"+query, http.StatusAccepted)
	eventually(c.t, "the call is taken over", func() bool { return functions.count(query) == 1 })
	id, _ := functions.last(query)
	c.ask(http.MethodPost, "/async-function-callback/f/"+id+"/success", http.StatusOK)
}

// waitedFor is a queued call whose caller gets the answer.
func (c person) waitedFor() {
	c.t.Helper()
	c.expect(c.request(http.MethodPost, "/async-function/f/?query=waited", "", map[string]string{"Prefer": "wait=60"}), http.StatusOK)
}

// onlyOnce are calls with a key that was there before.
func (c person) onlyOnce(functions *played) {
	c.t.Helper()
	const path = "/async-function/f/?query=key"
	key := map[string]string{"Idempotency-Key": "once"}
	for range 2 {
		c.expect(c.request(http.MethodPost, path, "body", key), http.StatusAccepted)
	}
	c.expect(c.request(http.MethodPost, path, "other", key), http.StatusConflict)
	eventually(c.t, "the call with a key is delivered", func() bool { return functions.count("query=key") == 1 })
}

// large are calls whose bodies are too large for a message: one that takes longer than bodies live that nobody needs, one that ends as a dead letter, one
// that is there twice, and one whose caller has gone before its end.
func (c person) large(functions *played) {
	c.t.Helper()
	body := strings.Repeat("x", 3<<20)
	for _, query := range []string{"slow=large", "status=400&large"} {
		c.expect(c.request(http.MethodPost, "/async-function/f/?"+query, body, nil), http.StatusAccepted)
	}
	for range 2 {
		c.expect(c.request(http.MethodPost, "/async-function/f/?large=twice", body, map[string]string{"Idempotency-Key": "large"}), http.StatusAccepted)
	}
	c.breakOff("/async-function/f/?large=broken", body)
	for _, query := range []string{"slow=large", "status=400&large", "large=twice"} {
		eventually(c.t, query+" has been called", func() bool {
			_, size := functions.last(query)
			return functions.count(query) == 1 && size == len(body)
		})
	}
}

// breakOff sends a request whose body is announced and ends before that.
func (c person) breakOff(path, body string) {
	c.t.Helper()
	broken := io.MultiReader(strings.NewReader(body), iotest.ErrReader(errors.New("broken off")))
	request, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.url+path, broken)
	if err != nil {
		c.t.Fatal(err)
	}
	request.ContentLength = int64(len(body)) + 1
	if answer, err := c.client.Do(request); err == nil {
		_ = answer.Body.Close()
		c.t.Errorf("a call that was broken off is answered with %d", answer.StatusCode)
	}
}

// outsider is another service, as the user client.
type outsider struct {
	t  *testing.T
	js jetstream.JetStream
}

func (g *guarded) client() outsider {
	g.t.Helper()
	conn, err := nats.Connect(g.url(), nats.UserInfo("client", passwordOf("client")), nats.CustomInboxPrefix("_INBOX.sluice.client"),
		nats.MaxReconnects(-1))
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		g.t.Fatal(err)
	}
	return outsider{g.t, js}
}

// publish queues a call and waits for the acknowledgement.
func (o outsider) publish(subject, query string) {
	o.t.Helper()
	msg := nats.NewMsg(subject)
	msg.Header.Set("Sluice-Query", query)
	if _, err := o.js.PublishMsg(o.t.Context(), msg); err != nil {
		o.t.Fatal(err)
	}
}
