package dispatcher

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/bus/bustest"
	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/pkg/upstream"
)

// patience is how long a test waits for what must happen.
const patience = 45 * time.Second

// TestMain runs more tests at a time than there are processors: most of them wait most of the time.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, bustest.Leaks()...)
}

// rig is a NATS server, and a bus that plays the gateway (it publishes) and the scaler (it writes states).
type rig struct {
	t         *testing.T
	server    *bustest.Server // the only one, nil in a cluster
	url       string
	replicas  int // of streams
	settings  bus.Settings
	bus       *bus.Bus
	functions *bus.Functions
	// Of the dispatchers that are started, unless zero: how often they look at all queues and at a call that was taken over, and their UnknownGrace.
	sweepEvery, lookEvery, grace time.Duration
}

func newRig(t *testing.T, changes ...func(*bus.Settings)) *rig {
	t.Helper()
	server := bustest.Start(t)
	r := &rig{t: t, server: server, url: server.URL(), replicas: 1}
	r.open(changes...)
	return r
}

// newClusterRig has three servers that keep a copy of everything each.
func newClusterRig(t *testing.T, changes ...func(*bus.Settings)) (*rig, *bustest.Cluster) {
	t.Helper()
	cluster := bustest.StartCluster(t, 3)
	r := &rig{t: t, url: cluster.URL(), replicas: 3}
	r.open(changes...)
	return r, cluster
}

// open makes what the gateway and the scaler make.
func (r *rig) open(changes ...func(*bus.Settings)) {
	t := r.t
	t.Helper()
	r.settings = bus.Settings{Prefix: "sluice", QueueLimit: 100_000, PublishPatience: patience}
	for _, change := range changes {
		change(&r.settings)
	}
	r.bus = r.connect()
	if err := r.bus.EnsureCalls(t.Context()); err != nil {
		t.Fatal(err)
	}
	var err error
	if r.functions, err = r.bus.OpenFunctions(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func shortAckWait(s *bus.Settings) { s.AckWait = 2 * time.Second }

// calmAckWait is one that a call outlives in a test, and that a busy machine does not mistake for the silence of a dispatcher.
func calmAckWait(s *bus.Settings) { s.AckWait = 6 * time.Second }

// longAckWait is one for which no test waits: what comes back was handed back.
func longAckWait(s *bus.Settings) { s.AckWait = 10 * time.Minute }

func (r *rig) connect() *bus.Bus {
	r.t.Helper()
	b, err := bus.Connect(bus.Config{URL: r.url, Replicas: r.replicas, Settings: r.settings})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(b.Close)
	return b
}

// put publishes a state as the scaler does and returns the bucket's revision.
func (r *rig) put(f function.Function, backends ...*backend) uint64 {
	r.t.Helper()
	state := function.State{Function: f, Replicas: len(backends)}
	for _, b := range backends {
		state.Endpoints = append(state.Endpoints, function.Endpoint{Replica: b.address, Address: b.address})
	}
	revision, err := r.functions.Put(context.WithoutCancel(r.t.Context()), state)
	if err != nil {
		r.t.Error(err)
	}
	return revision
}

func (r *rig) publish(name, body string) (id string) {
	r.t.Helper()
	id, err := r.bus.PublishCall(r.t.Context(), bus.Call{Function: name, Method: "POST", Path: "/", Body: []byte(body)})
	if err != nil {
		r.t.Error(err)
	}
	return id
}

func (r *rig) publishMany(name string, count int) {
	r.t.Helper()
	atOnce(count, func(int) { r.publish(name, "x") })
}

// atOnce does something count times, several at a time.
func atOnce(count int, do func(i int)) {
	const workers = 16
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for i := w; i < count; i += workers {
				do(i)
			}
		})
	}
	group.Wait()
}

// raw is a NATS client as anybody may have one.
func (r *rig) raw() *nats.Conn {
	r.t.Helper()
	conn, err := nats.Connect(r.url)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(conn.Close)
	return conn
}

// consumer is the function's durable consumer as the server has it.
func (r *rig) consumer(name string) jetstream.Consumer {
	r.t.Helper()
	js, err := jetstream.New(r.raw())
	if err != nil {
		r.t.Fatal(err)
	}
	consumer, err := js.Consumer(r.t.Context(), "sluice-calls", name)
	if err != nil {
		r.t.Fatal(err)
	}
	return consumer
}

func (r *rig) depth(name string) uint64 {
	r.t.Helper()
	depth, err := r.bus.Depth(context.WithoutCancel(r.t.Context()), name)
	if err != nil {
		r.t.Fatal(err)
	}
	return depth
}

func (r *rig) awaitEmpty(names ...string) {
	r.t.Helper()
	slowly(r.t, 20*time.Millisecond, "the queues are empty", func() bool {
		depths, err := r.bus.Depths(r.t.Context())
		for _, name := range names {
			if err != nil || depths[name] > 0 {
				return false
			}
		}
		return true
	})
}

// service is a running Dispatcher.
type service struct {
	*Dispatcher
	t                      *testing.T
	registry               *prometheus.Registry
	log                    *logBuffer
	stopTaking, interrupts context.CancelFunc
	done                   chan struct{}
	err                    error
}

func (r *rig) dispatch(changes ...func(*Config)) *service {
	return r.dispatchOver(r.connect(), changes...)
}

func (r *rig) dispatchOver(b *bus.Bus, changes ...func(*Config)) *service {
	r.t.Helper()
	config := Config{UnknownGrace: cmp.Or(r.grace, time.Minute), StuckAfter: 30 * time.Second}
	for _, change := range changes {
		change(&config)
	}
	transport := upstream.NewTransport()
	s := &service{t: r.t, registry: prometheus.NewRegistry(), log: &logBuffer{}, done: make(chan struct{})}
	s.Dispatcher = New(config, Deps{
		Bus: b, Name: "dispatcher", Transport: transport, Logger: zerolog.New(s.log).Level(zerolog.InfoLevel), Registry: s.registry,
	})
	s.sweepEvery, s.lookEvery = cmp.Or(r.sweepEvery, s.sweepEvery), cmp.Or(r.lookEvery, s.lookEvery)
	var take, work context.Context
	take, s.stopTaking = context.WithCancel(context.Background())
	work, s.interrupts = context.WithCancel(context.Background())
	go func() {
		s.err = s.Run(take, work)
		transport.CloseIdleConnections()
		close(s.done)
	}()
	r.t.Cleanup(func() { s.interrupt() })
	return s
}

// stop ends the service as its process does, and waits for the calls that run.
func (s *service) stop() {
	s.t.Helper()
	s.stopTaking()
	wait(s.t, "the dispatcher ends", s.done)
	if s.err != nil {
		s.t.Errorf("Run: %v", s.err)
	}
}

// interrupt ends the service and the calls that run.
func (s *service) interrupt() {
	s.t.Helper()
	s.stopTaking()
	s.interrupts()
	wait(s.t, "the dispatcher ends", s.done)
}

// logBuffer keeps log lines.
type logBuffer struct {
	mu    sync.Mutex
	lines []map[string]any // guarded by mu
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range bytes.Lines(p) {
		entry := map[string]any{}
		if err := json.Unmarshal(line, &entry); err != nil {
			return 0, err
		}
		l.lines = append(l.lines, entry)
	}
	return len(p), nil
}

// with returns the lines with the message.
func (l *logBuffer) with(message string) (found []map[string]any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if text, _ := line["message"].(string); strings.Contains(text, message) {
			found = append(found, line)
		}
	}
	return found
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	slowly(t, 2*time.Millisecond, what, condition)
}

// slowly looks at a condition that is expensive.
func slowly(t *testing.T, every time.Duration, what string, condition func() bool) {
	t.Helper()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for deadline := time.Now().Add(patience); !condition(); <-ticker.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// holdsFor checks for a while that a condition keeps to be true.
func holdsFor(t *testing.T, d time.Duration, what string, condition func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for end := time.Now().Add(d); time.Now().Before(end); <-ticker.C {
		if !condition() {
			t.Fatalf("it did not hold: %s", what)
		}
	}
}

func wait(t *testing.T, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("waited in vain: %s", what)
	}
}
