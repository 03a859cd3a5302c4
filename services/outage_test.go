package services_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
)

// NATS is away at the start: the processes live, are not ready and say why; when it comes, they serve.
func TestNATSComesLater(t *testing.T) {
	t.Parallel()
	nats := bustest.Start(t)
	nats.Stop()
	gateway, dispatcher := start(t, "gateway", nats.URL()), start(t, "dispatcher", nats.URL())
	for _, p := range []*process{gateway, dispatcher} {
		if body := p.readiness(http.StatusServiceUnavailable); !strings.Contains(body, `"nats":"NATS is not available`) {
			t.Errorf("/ready of %s: %s", p.service, body)
		}
		if got := send(t, http.MethodGet, "http://"+p.ops+"/health", ""); got.status != http.StatusOK {
			t.Errorf("/health of %s: %d %s", p.service, got.status, got.body)
		}
	}
	if got := send(t, http.MethodGet, "http://"+gateway.api+"/ready", ""); got.status != http.StatusServiceUnavailable {
		t.Errorf("/ready on the API's port: %d %s", got.status, got.body)
	}
	nats.Start()
	replica := serveReplica(t)
	share(t, nats.URL(), "f", replica.address)
	dispatcher.readiness(http.StatusOK)
	gateway.readiness(http.StatusOK)
	eventually(t, "the gateway knows the function", func() bool {
		return send(t, http.MethodGet, "http://"+gateway.api+"/function/f", "").status == http.StatusOK
	})
	id := gateway.queue("/")
	eventually(t, "the queued call has been delivered", func() bool { _, ended := replica.calls(); return ended[id] == 1 })
}

// NATS comes back without its data, as a server in an emptyDir whose pod was replaced: the processes end with a sentence, and those that their
// restart brings serve.
func TestNATSLosesItsData(t *testing.T) {
	t.Parallel()
	nats := bustest.Start(t)
	replica := serveReplica(t)
	share(t, nats.URL(), "f", replica.address)
	gateway, dispatcher := start(t, "gateway", nats.URL()), start(t, "dispatcher", nats.URL())
	gateway.readiness(http.StatusOK)
	dispatcher.readiness(http.StatusOK)
	nats.Lose()
	for _, p := range []*process{gateway, dispatcher} {
		if code := p.exited(); code != 1 || !strings.Contains(p.out.String(), "NATS has lost a stream that was there") {
			t.Errorf("%s ended with %d", p.service, code)
		}
	}
	share(t, nats.URL(), "f", replica.address)
	gateway.launch()
	dispatcher.launch()
	gateway.readiness(http.StatusOK)
	id := gateway.queue("/")
	eventually(t, "the queued call has been delivered", func() bool { _, ended := replica.calls(); return ended[id] == 1 })
}
