package gateway

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/bus/bustest"
	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/pkg/ops"
	"github.com/sluicefaas/sluice/pkg/upstream"
)

// testInterval is between reports of activity: much less than the second of the product.
const testInterval = 100 * time.Millisecond

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, bustest.Leaks()...) }

// fixture is a Gateway that serves, with a NATS server of its own.
type fixture struct {
	*Gateway
	t        testing.TB
	nats     *bustest.Server
	bus      *bus.Bus
	store    *bus.Functions
	registry *prometheus.Registry
	client   *http.Client
	// stopTaking begins the shutdown, interrupt ends its patience; ended gets what Run returns.
	stopTaking, interrupt func()
	ended                 chan error
}

// options are what a test changes before the start.
type options struct {
	config   Config
	settings bus.Settings
	log      io.Writer
}

// start starts everything, and ends it with the test.
func start(t testing.TB, changes ...func(*options)) *fixture {
	t.Helper()
	o := options{
		config: Config{
			Listen: []string{"127.0.0.1:0"}, InsideListen: []string{"127.0.0.1:0"}, ExposeFunctions: true, CORSAllowOrigin: []Origin{"*"},
			AsyncBodyLimit: 1 << 30, BodyBudget: 64 << 20, StartWait: testPatience,
		},
		settings: bus.Settings{Prefix: "sluice", QueueLimit: 100_000, PublishPatience: testPatience},
		log:      io.Discard,
	}
	for _, change := range changes {
		change(&o)
	}
	f := &fixture{t: t, nats: bustest.Start(t), registry: prometheus.NewRegistry(), ended: make(chan error, 1)}
	f.bus = connect(t, f.nats, o.settings)
	transport := upstream.NewTransport()
	t.Cleanup(transport.CloseIdleConnections)
	f.Gateway = New(o.config, Deps{
		Bus: f.bus, Name: "gateway-1", Transport: transport, Health: ops.NewHealth(), Logger: zerolog.New(o.log), Registry: f.registry,
	})
	f.interval = testInterval
	f.run()
	mine := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	f.client = &http.Client{Transport: mine, Timeout: 2 * testPatience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(mine.CloseIdleConnections)
	return f
}

func connect(t testing.TB, nats *bustest.Server, settings bus.Settings) *bus.Bus {
	t.Helper()
	b, err := bus.Connect(bus.Config{URL: nats.URL(), Replicas: 1, Settings: settings})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// run listens and runs the Gateway, until the bucket is known.
func (f *fixture) run() {
	f.t.Helper()
	if err := f.Listen(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	take, stopTaking := context.WithCancel(context.Background())
	work, interrupt := context.WithCancel(context.Background())
	f.stopTaking, f.interrupt = stopTaking, interrupt
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.ended <- f.Run(take, work)
	}()
	f.t.Cleanup(func() {
		stopTaking()
		interrupt()
		<-done
	})
	for _, ensure := range []func(context.Context) error{f.bus.EnsureCalls, f.bus.EnsureKeys} { // as the dispatcher does
		if err := ensure(f.t.Context()); err != nil {
			f.t.Fatal(err)
		}
	}
	f.store = must(f.bus.OpenFunctions(f.t.Context()))(f.t)
	wait(f.t, "the gateway to know the bucket", f.Known())
}

// put shares a state as the scaler does, and waits until the gateway has it.
func (f *fixture) put(state function.State) {
	f.t.Helper()
	revision := must(f.store.Put(f.t.Context(), state))(f.t)
	eventually(f.t, "the gateway to apply the state", func() bool { return f.functions.revision.Load() >= revision })
}

// serve makes a function with one replica, served by handler.
func (f *fixture) serve(name string, handler http.HandlerFunc) (address string) {
	f.t.Helper()
	address = backend(f.t, handler)
	f.put(state(name, address))
	return address
}

func backend(t testing.TB, handler http.HandlerFunc) (address string) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// state is a public function with replicas at the addresses.
func state(name string, addresses ...string) function.State {
	s := function.State{Generation: 1, Replicas: len(addresses), Function: function.Function{
		Name: name, Kind: function.KindDeployment, ReplicasAtStart: 1, DefaultVisibility: function.Public,
		Configuration: function.Configuration{DefaultSync: function.Policy{HTTPTimeout: 30}},
	}}
	for _, address := range addresses {
		s.Endpoints = append(s.Endpoints, function.Endpoint{Replica: "replica-" + address, Address: address})
	}
	return s
}

func (f *fixture) url(path string) string { return "http://" + f.Addr() + path }

// inside sends a request without a body through the listener whose callers are inside.
func (f *fixture) inside(method, path string) result {
	f.t.Helper()
	return f.do(must(http.NewRequestWithContext(f.t.Context(), method, "http://"+f.InsideAddr()+path, nil))(f.t))
}

// result is an answer that has been read.
type result struct {
	*http.Response
	body string
	err  error // of reading the body
}

func (f *fixture) do(r *http.Request) result {
	f.t.Helper()
	answer, err := f.client.Do(r)
	if err != nil {
		f.t.Fatalf("%s %s: %v", r.Method, r.URL, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return result{Response: answer, body: string(body), err: err}
}

// send makes a request; body is sent with its length, an empty one not at all.
func (f *fixture) send(method, path, body string) result {
	f.t.Helper()
	return f.do(f.request(method, path, body))
}

func (f *fixture) request(method, path, body string) *http.Request {
	f.t.Helper()
	return must(http.NewRequestWithContext(f.t.Context(), method, f.url(path), strings.NewReader(body)))(f.t)
}

// raw sends text on a connection of its own and reads the answer.
func (f *fixture) raw(text string) result {
	f.t.Helper()
	conn, answers := dial(f.t, f.Addr())
	say(f.t, conn, text)
	return readAnswer(f.t, answers)
}

func dial(t testing.TB, address string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn := must(net.Dial("tcp", address))(t)
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * testPatience))
	return conn, bufio.NewReader(conn)
}

func say(t testing.TB, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

func closedAddress(t testing.TB) string {
	t.Helper()
	listener := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	defer listener.Close()
	return listener.Addr().String()
}

func readAnswer(t testing.TB, answers *bufio.Reader) result {
	t.Helper()
	answer, err := http.ReadResponse(answers, nil)
	if err != nil {
		t.Fatalf("read the answer: %v", err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return result{Response: answer, body: string(body), err: err}
}

// fetch takes count queued calls of the function out of the queue.
func (f *fixture) fetch(name string, count int) []*bus.Delivery {
	f.t.Helper()
	deliveries := must(f.bus.Fetch(f.t.Context(), name, count))(f.t)
	if len(deliveries) != count {
		f.t.Fatalf("%d calls of %s are queued, want %d", len(deliveries), name, count)
	}
	for _, delivery := range deliveries {
		if err := delivery.Done(f.t.Context()); err != nil {
			f.t.Fatal(err)
		}
	}
	return deliveries
}

// depth is how many calls of the function are queued.
func (f *fixture) depth(name string) uint64 {
	f.t.Helper()
	return must(f.bus.Depth(f.t.Context(), name))(f.t)
}

func must[T any](value T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// eventually polls until holds returns true.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(testPatience)
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for !holds() {
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func wait[T any](t testing.TB, what string, from <-chan T) T {
	t.Helper()
	select {
	case value := <-from:
		return value
	case <-time.After(testPatience):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}
