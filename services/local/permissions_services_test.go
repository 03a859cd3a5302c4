package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/pkg/ops"
	"github.com/sluicefaas/sluice/pkg/upstream"
	"github.com/sluicefaas/sluice/services/dispatcher"
	"github.com/sluicefaas/sluice/services/gateway"
	"github.com/sluicefaas/sluice/services/scaler"
)

// permissionSettings make what is rare, as a sign of life for a long call, happen within a second.
var permissionSettings = bus.Settings{Prefix: "sluice", QueueLimit: 1000, PublishPatience: 10 * time.Second, AckWait: 900 * time.Millisecond}

// refusals are the subjects that the server has refused, over all connections.
type refusals struct {
	mu   sync.Mutex
	seen []string // guarded by mu
}

func (r *refusals) note(user string, err error) {
	if errors.Is(err, nats.ErrPermissionViolation) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.seen = append(r.seen, user+": "+err.Error())
	}
}

func (r *refusals) report(t *testing.T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, refusal := range r.seen {
		t.Error(refusal)
	}
}

// login returns a Bus of one of the users.
func (g *guarded) login(user string, refused *refusals) *bus.Bus {
	g.t.Helper()
	b, err := bus.Connect(bus.Config{
		URL: g.url(), Replicas: 1, Settings: permissionSettings, Name: user, Service: user,
		Auth:   bus.Auth{User: user, Password: bus.Secret(passwordOf(user))},
		Notify: func(_ string, err error) { refused.note(user, err) },
	})
	if err != nil {
		g.t.Fatal(err)
	}
	return b
}

// start runs a service until its context ends; the returned function ends it and waits.
func start(t *testing.T, b *bus.Bus, run func(take, work context.Context) error) (stop func()) {
	take, stopTaking := context.WithCancel(context.Background())
	work, interrupt := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(take, work) }()
	stop = sync.OnceFunc(func() {
		stopTaking()
		interrupt()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v", err)
		}
		b.Close()
	})
	t.Cleanup(stop)
	return stop
}

func startScaler(t *testing.T, b *bus.Bus, cluster scaler.Cluster) *scaler.Scaler {
	s := scaler.New(scaler.Config{DrainTimeout: time.Second}, scaler.Deps{
		Bus: b, Cluster: cluster, Logger: zerolog.Nop(), Registry: prometheus.NewRegistry(),
	})
	start(t, b, func(take, _ context.Context) error { return s.Run(take) })
	return s
}

func startDispatcher(t *testing.T, b *bus.Bus) (stop func()) {
	transport := upstream.NewTransport()
	t.Cleanup(transport.CloseIdleConnections)
	config := dispatcher.Config{
		UnknownGrace: 100 * time.Millisecond, StuckAfter: time.Second, BodySweepInterval: 100 * time.Millisecond, BodySweepGrace: 500 * time.Millisecond,
	}
	d := dispatcher.New(config, dispatcher.Deps{
		Bus: b, Name: "dispatcher-1", Sole: true, Transport: transport, Logger: zerolog.Nop(), Registry: prometheus.NewRegistry(),
	})
	return start(t, b, d.Run)
}

func startGateway(t *testing.T, b *bus.Bus) (url string) {
	transport := upstream.NewTransport()
	t.Cleanup(transport.CloseIdleConnections)
	g := gateway.New(gateway.Config{Listen: []string{"127.0.0.1:0"}, AsyncBodyLimit: 1 << 22, BodyBudget: 1 << 24, StartWait: patience}, gateway.Deps{
		Bus: b, Name: "gateway-1", Transport: transport, Health: ops.NewHealth(), Logger: zerolog.Nop(), Registry: prometheus.NewRegistry(),
	})
	if err := g.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	start(t, b, g.Run)
	select {
	case <-g.Known():
	case <-time.After(patience):
		t.Fatal("the gateway does not know the functions")
	}
	return "http://" + g.Addr()
}

// scaled is a cluster of functions that one HTTP server plays, each with no replica or one.
type scaled struct {
	address string
	events  chan func(scaler.Observer)

	mu       sync.Mutex
	replicas map[string]int // guarded by mu
}

func newScaled(address string, names ...string) *scaled {
	c := &scaled{address: address, events: make(chan func(scaler.Observer), 100), replicas: map[string]int{}}
	for _, name := range names {
		c.replicas[name] = 0
	}
	return c
}

// Watch implements scaler.Cluster.
func (c *scaled) Watch(ctx context.Context, observer scaler.Observer) error {
	c.mu.Lock()
	for name, replicas := range c.replicas {
		observer.Observe(c.workload(name, replicas))
	}
	c.mu.Unlock()
	observer.Inside(map[netip.Addr]function.Insider{netip.MustParseAddr("127.0.0.1"): {Kind: function.InsiderSluice, Name: "test"}})
	observer.Synced()
	for {
		select {
		case event := <-c.events:
			event(observer)
		case <-ctx.Done():
			return nil
		}
	}
}

// SetReplicas implements scaler.Cluster.
func (c *scaled) SetReplicas(_ context.Context, name string, count int, _ []string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.replicas[name] = count
	c.events <- func(o scaler.Observer) { o.Observe(c.workload(name, count)) }
	return nil
}

func (c *scaled) workload(name string, replicas int) function.Workload {
	w := function.Workload{Replicas: replicas, Function: function.Function{
		Name: name, Kind: function.KindDeployment, ReplicasAtStart: 1, TimeoutSecondBeforeSetReplicasMin: 3, NumberParallelRequest: 10,
		DefaultVisibility: function.Public,
		Configuration: function.Configuration{
			DefaultSync:    function.Policy{HTTPTimeout: 10},
			DefaultAsync:   function.Policy{HTTPTimeout: 10, TimeoutRetries: []int{1}, HTTPStatusRetries: []int{500}},
			DefaultPublish: function.Policy{HTTPTimeout: 10},
		},
	}}
	if name == "f" {
		w.Function.SubscribeEvents = []function.Subscription{{Event: "e", Visibility: function.Public}}
	}
	if replicas > 0 {
		w.Pods = []function.Pod{{Name: name + "-0", Address: c.address, Ready: true}}
	}
	return w
}

// remove takes a function out of the cluster.
func (c *scaled) remove(name string) { c.events <- func(o scaler.Observer) { o.Forget(name) } }

func (c *scaled) count(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.replicas[name]
}

// played is what the functions have been called with: their queries, in order.
type played struct {
	server *httptest.Server

	mu      sync.Mutex
	queries []string          // guarded by mu
	ids     map[string]string // guarded by mu: of the last queued call with each query
	read    map[string]int    // guarded by mu: the size of its body
}

// play serves every function. A query with slow takes longer than the ack wait, one with a status is answered with it.
func play(t *testing.T) *played {
	p := &played{ids: map[string]string{}, read: map[string]int{}}
	p.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.RawQuery, "slow") {
			select {
			case <-time.After(2 * permissionSettings.AckWait):
			case <-r.Context().Done():
			}
		}
		body, _ := io.ReadAll(r.Body)
		p.mu.Lock()
		p.queries = append(p.queries, r.URL.RawQuery)
		p.ids[r.URL.RawQuery], p.read[r.URL.RawQuery] = r.Header.Get("SlimFaas-Element-Id"), len(body)
		p.mu.Unlock()
		status := http.StatusOK
		_, _ = fmt.Sscanf(r.URL.RawQuery, "status=%d", &status)
		w.WriteHeader(status)
	}))
	t.Cleanup(p.server.Close)
	return p
}

func (p *played) count(query string) (count int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, q := range p.queries {
		if q == query {
			count++
		}
	}
	return count
}

// last are the id and the size of the body of the last queued call with the query.
func (p *played) last(query string) (id string, size int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ids[query], p.read[query]
}

// person calls a gateway.
type person struct {
	t      *testing.T
	url    string
	client *http.Client
}

// ask makes a request of the gateway.
func (c person) ask(method, path string, want int) {
	c.t.Helper()
	c.expect(c.request(method, path, "", nil), want)
}

// request is one with a body and headers.
func (c person) request(method, path, body string, header map[string]string) *http.Request {
	c.t.Helper()
	request, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	for name, value := range header {
		request.Header.Set(name, value)
	}
	return request
}

// expect makes a request that must get the status.
func (c person) expect(request *http.Request, want int) {
	c.t.Helper()
	if status, text := c.do(request); status != want {
		c.t.Errorf("%s %s: %d %s, want %d", request.Method, request.URL.Path, status, text, want)
	}
}

// status is that of the answer to a GET.
func (c person) status(path string) int {
	c.t.Helper()
	request, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, c.url+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	status, _ := c.do(request)
	return status
}

func (c person) do(request *http.Request) (status int, text []byte) {
	c.t.Helper()
	answer, err := c.client.Do(request)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, _ = io.ReadAll(answer.Body)
	return answer.StatusCode, text
}
