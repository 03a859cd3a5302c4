package local

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

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

	functions := play(t)
	cluster := newScaled(strings.TrimPrefix(functions.server.URL, "http://"), "f", "gone")
	s := startScaler(t, g.login("scaler", refused), cluster)
	stopDispatcher := startDispatcher(t, g.login("dispatcher", refused))
	c := caller{t, startGateway(t, g.login("gateway", refused)), &http.Client{Timeout: 2 * patience}}
	t.Cleanup(c.client.CloseIdleConnections)
	<-s.Synced()

	c.synchronous()
	c.queued(functions)
	eventually(t, "f is at zero", func() bool { return cluster.count("f") == 0 })
	client := g.client()
	client.publish("sluice.call.f", "query=client")
	eventually(t, "the call of the client is delivered", func() bool { return functions.count("query=client") == 1 })
	client.publish("sluice.call.unknown", "query=unknown")
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
	text := strings.Repeat("x", large)
	for i := range count {
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
func (c caller) synchronous() {
	c.t.Helper()
	c.ask(http.MethodGet, "/function/f/", http.StatusOK)
	for _, path := range []string{"/status-functions", "/status-function/f", "/functions", "/functions/f"} {
		c.ask(http.MethodGet, path, http.StatusOK)
	}
	c.ask(http.MethodPost, "/wake-function/gone", http.StatusNoContent)
}

// queued are calls that end in every way: at once, late, after a retry, and as a dead letter.
func (c caller) queued(functions *played) {
	c.t.Helper()
	for _, query := range []string{"query=async", "slow", "status=500", "status=400"} {
		c.ask(http.MethodPost, "/async-function/f/?"+query, http.StatusAccepted)
	}
	for query, count := range map[string]int{"query=async": 1, "slow": 1, "status=500": 2, "status=400": 1} {
		eventually(c.t, query+" has been called", func() bool { return functions.count(query) == count })
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
