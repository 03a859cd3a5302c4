package scaler

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/bus/bustest"
	"github.com/sluicefaas/sluice/pkg/function"
)

// patience bounds each wait of a test for something that happens at once.
const patience = 30 * time.Second

// quick is the timing of most tests. The silence of a sender stays long, so that a busy machine is not taken for it.
var quick = timing{
	tick: 20 * time.Millisecond, sender: 3 * time.Second, fresh: 2 * time.Second, settle: 100 * time.Millisecond,
	stale: 300 * time.Millisecond, sharePause: 20 * time.Millisecond, set: 5 * time.Second, query: 5 * time.Second,
}

// fixture is a server, a scripted cluster and a reader of the bucket. The scaler runs after start.
type fixture struct {
	t        testing.TB
	server   *bustest.Server
	bus      *bus.Bus // of the callers
	cluster  *scripted
	reader   *reader
	timing   timing
	drain    time.Duration
	config   Config
	scaler   *Scaler
	registry *prometheus.Registry
	logs     *logs
	stop     func()
}

func newFixture(t testing.TB, workloads ...function.Workload) *fixture {
	t.Helper()
	f := &fixture{t: t, server: bustest.Start(t), timing: quick, drain: time.Minute, cluster: newScripted(workloads...)}
	f.bus = f.connect("caller")
	if err := f.bus.EnsureCalls(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.reader = watch(t, f.bus)
	return f
}

func (f *fixture) connect(name string) *bus.Bus {
	f.t.Helper()
	b, err := bus.Connect(bus.Config{
		URL: f.server.URL(), Replicas: 1, Name: name,
		Settings: bus.Settings{Prefix: "sluice", QueueLimit: 1000, PublishPatience: 20 * time.Second},
	})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(b.Close)
	return b
}

// start runs a scaler until the test ends or stop is called.
func (f *fixture) start() *fixture { return f.startWith(f.cluster) }

func (f *fixture) startWith(cluster Cluster) *fixture {
	f.t.Helper()
	return f.run(cluster, prometheus.NewRegistry(), f.connect("scaler"))
}

// startAgain is start in a process that has these already.
func (f *fixture) startAgain(registry *prometheus.Registry, b *bus.Bus) {
	f.t.Helper()
	f.run(f.cluster, registry, b)
}

func (f *fixture) run(cluster Cluster, registry *prometheus.Registry, b *bus.Bus) *fixture {
	f.t.Helper()
	f.registry, f.logs = registry, &logs{}
	f.config.DrainTimeout = f.drain
	f.scaler = New(f.config, Deps{Bus: b, Cluster: cluster, Registry: f.registry, Logger: zerolog.New(f.logs)})
	f.scaler.timing = f.timing
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.scaler.Run(ctx) }()
	f.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			f.t.Errorf("Run returned %v", err)
		}
	})
	f.t.Cleanup(f.stop)
	return f
}

// startSynced is start, and waits until every function is shared.
func (f *fixture) startSynced() *fixture {
	f.t.Helper()
	f.start()
	select {
	case <-f.scaler.Synced():
	case <-time.After(patience):
		f.t.Fatal("not synced")
	}
	return f
}

// inside runs look where the scaler's state may be looked at.
func (f *fixture) inside(look func(now time.Time)) {
	done := make(chan struct{})
	f.scaler.do(func(now time.Time) { look(now); close(done) })
	<-done
}

// trusted waits until the scaler trusts what it knows.
func (f *fixture) trusted() *fixture {
	f.t.Helper()
	eventually(f.t, "the scaler trusts what it knows", func() (trusted bool) {
		f.inside(func(now time.Time) { trusted = f.scaler.trusted(now) })
		return trusted
	})
	return f
}

func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("it did not happen that %s", what)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// never fails if the condition holds at any time within d.
func never(t testing.TB, d time.Duration, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(d); time.Now().Before(deadline); <-time.After(2 * time.Millisecond) {
		if condition() {
			t.Fatalf("it happened that %s", what)
		}
	}
}

// spec is a function that is woken to one replica and goes to least when nothing happens for a number of seconds.
func spec(name string, least, timeout int) function.Function {
	f := function.Defaults(name, function.KindDeployment)
	f.ReplicasMin, f.TimeoutSecondBeforeSetReplicasMin = least, timeout
	return f
}

// deployed is a workload with count ready pods, name-1 the oldest.
func deployed(f function.Function, count int) function.Workload {
	w := function.Workload{Function: f, Replicas: count}
	for i := range count {
		w.Pods = append(w.Pods, pod(f.Name, i+1))
	}
	return w
}

func pod(name string, number int) function.Pod {
	return function.Pod{Name: fmt.Sprintf("%s-%d", name, number), Address: fmt.Sprintf("%s:%d", name, 8000+number), Ready: true}
}

// logs keeps lines.
type logs struct {
	mu    sync.Mutex
	lines bytes.Buffer // guarded by mu
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.Write(p)
}

// with returns the lines that have all the words.
func (l *logs) with(words ...string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
lines:
	for line := range strings.Lines(l.lines.String()) {
		for _, word := range words {
			if !strings.Contains(line, word) {
				continue lines
			}
		}
		found = append(found, line)
	}
	return found
}
