package services_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/bus/bustest"
	"github.com/sluicefaas/sluice/pkg/function"
)

// share puts the state of a function into the bucket, as the scaler does.
func share(t *testing.T, natsURL, name string, addresses ...string) {
	t.Helper()
	b, err := bus.Connect(bus.Config{URL: natsURL, Replicas: 1, Settings: bus.Settings{Prefix: "sluice", QueueLimit: 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	functions, err := b.OpenFunctions(ctx)
	if err != nil {
		t.Fatal(err)
	}
	state := function.State{Function: function.Defaults(name, function.KindDeployment), Generation: 1, Replicas: len(addresses)}
	for _, address := range addresses {
		state.Endpoints = append(state.Endpoints, function.Endpoint{Replica: "pod-" + address, Address: address})
	}
	if _, err := functions.Put(ctx, state); err != nil {
		t.Fatal(err)
	}
}

// callers are a gateway and a dispatcher that are ready, with one function f.
type callers struct {
	gateway, dispatcher *process
	nats                *bustest.Server
	replica             *replica
}

func startCallers(t *testing.T, gatewayArgs ...string) *callers {
	t.Helper()
	c := &callers{nats: bustest.Start(t), replica: serveReplica(t)}
	share(t, c.nats.URL(), "f", c.replica.address)
	c.dispatcher = start(t, "dispatcher", c.nats.URL())
	c.gateway = start(t, "gateway", c.nats.URL(), gatewayArgs...)
	c.dispatcher.readiness(http.StatusOK)
	c.gateway.readiness(http.StatusOK)
	return c
}

// queue makes an async call and returns its id.
func (p *process) queue(path string) string {
	p.t.Helper()
	got := send(p.t, http.MethodPost, "http://"+p.api+"/async-function/f"+path, "x")
	if got.status != http.StatusAccepted {
		p.t.Fatalf("async call: %d %s", got.status, got.body)
	}
	return got.header.Get("X-Call-Id")
}

func TestSyncAndAsyncCalls(t *testing.T) {
	t.Parallel()
	c := startCallers(t)
	if got := send(t, http.MethodGet, "http://"+c.gateway.api+"/function/f/path", ""); got.status != http.StatusOK || got.body != "hello from "+c.replica.address {
		t.Errorf("sync call: %d %s", got.status, got.body)
	}
	id := c.gateway.queue("/path")
	eventually(t, "the queued call has been delivered", func() bool { _, ended := c.replica.calls(); return ended[id] == 1 })
	for _, p := range []*process{c.gateway, c.dispatcher} {
		if got := send(t, http.MethodGet, "http://"+p.ops+"/metrics", ""); !strings.Contains(got.body, "sluice_build_info{") {
			t.Errorf("/metrics of %s: %d %s", p.service, got.status, got.body)
		}
	}
	if got := send(t, http.MethodGet, "http://"+c.gateway.api+"/metrics", ""); got.status != http.StatusNotFound {
		t.Errorf("/metrics on the API's port: %d", got.status)
	}
}

func TestHealthIsOnBothPortsAndSaysWhatA202IsWorth(t *testing.T) {
	t.Parallel()
	nats := bustest.Start(t)
	for replicas, want := range map[string]string{"1": "one NATS server has", "3": "most of 3 NATS servers have"} {
		p := start(t, "gateway", nats.URL(), "--stream-replicas="+replicas)
		for _, address := range []string{p.api, p.ops} {
			var report struct{ Details map[string]string }
			eventually(t, "the gateway answers on "+address, func() bool {
				got := send(t, http.MethodGet, "http://"+address+"/health", "")
				return got.status == http.StatusOK && json.Unmarshal([]byte(got.body), &report) == nil
			})
			if !strings.Contains(report.Details["durability"], want) {
				t.Errorf("durability with %s replicas: %q, want %q in it", replicas, report.Details["durability"], want)
			}
		}
		if warned := strings.Contains(p.out.String(), "--stream-replicas=3"); warned != (replicas == "1") {
			t.Errorf("a warning at the start with %s replicas: %t", replicas, warned)
		}
	}
}

// The order of a gateway's end: not ready, still serving for the drain delay, then calls in flight end, exit 0.
func TestGatewayDrains(t *testing.T) {
	t.Parallel()
	const delay = 10 * time.Second                        // in which the test sees what it does
	c := startCallers(t, "--drain-delay="+delay.String()) // the last one counts
	inFlight := make(chan answer, 1)
	go func() { inFlight <- send(t, http.MethodGet, "http://"+c.gateway.api+"/function/f?ms=15000", "") }()
	eventually(t, "a call is in flight", func() bool { started, _ := c.replica.calls(); return started == 1 })
	begun := time.Now()
	c.gateway.terminate()
	if body := c.gateway.readiness(http.StatusServiceUnavailable); !strings.Contains(body, "draining") {
		t.Errorf("/ready: %s", body)
	}
	if got := send(t, http.MethodGet, "http://"+c.gateway.api+"/function/f", ""); got.status != http.StatusOK {
		t.Errorf("a call after /ready has turned: %d %s", got.status, got.body)
	}
	eventually(t, "no new call is taken", func() bool {
		return send(t, http.MethodGet, "http://"+c.gateway.api+"/function/f", "").status == 0
	})
	if taken := time.Since(begun); taken < delay {
		t.Errorf("calls were taken for %s only", taken)
	}
	if got := <-inFlight; got.status != http.StatusOK {
		t.Errorf("the call in flight: %d %s", got.status, got.body)
	}
	if code := c.gateway.exited(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// A dispatcher that is told to end finishes its calls and takes no more; what is queued goes to the next one.
func TestDispatcherDrains(t *testing.T) {
	t.Parallel()
	c := startCallers(t)
	var ids []string
	for range 30 { // ten at once
		ids = append(ids, c.gateway.queue("?ms=3000"))
	}
	eventually(t, "calls run", func() bool { started, _ := c.replica.calls(); return started >= 10 })
	c.dispatcher.terminate()
	if code := c.dispatcher.exited(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	started, ended := c.replica.calls()
	if started != len(ended) || started == len(ids) {
		t.Errorf("of %d calls, %d were started and %d ended", len(ids), started, len(ended))
	}
	c.dispatcher.launch()
	eventually(t, "every call has ended", func() bool { _, ended := c.replica.calls(); return len(ended) == len(ids) })
	for _, id := range ids {
		if _, ended := c.replica.calls(); ended[id] != 1 {
			t.Errorf("call %s ended %d times", id, ended[id])
		}
	}
}

// A dispatcher that is killed is the only one: the next one calls again at once what it has left.
func TestDispatcherKilled(t *testing.T) {
	t.Parallel()
	c := startCallers(t)
	id := c.gateway.queue("?ms=3000")
	eventually(t, "the call runs", func() bool { started, _ := c.replica.calls(); return started == 1 })
	c.dispatcher.kill()
	c.dispatcher.launch()
	c.dispatcher.readiness(http.StatusOK) // however long its process takes to start
	begun := time.Now()
	eventually(t, "the call runs again", func() bool { started, _ := c.replica.calls(); return started >= 2 })
	if took := time.Since(begun); took > 20*time.Second { // the ack wait is 30 s
		t.Errorf("it was called again after %s", took)
	}
	eventually(t, "the call has ended", func() bool { _, ended := c.replica.calls(); return ended[id] > 0 })
}
