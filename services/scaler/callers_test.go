package scaler

import (
	"context"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/function"
)

// reader is a gateway's view of the bucket.
type reader struct {
	mu       sync.Mutex
	states   map[string]function.State // guarded by mu
	revision uint64                    // guarded by mu
}

// watch follows the bucket until the test ends.
func watch(t testing.TB, b *bus.Bus) *reader {
	t.Helper()
	r := &reader{states: map[string]function.State{}}
	store, err := b.OpenFunctions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- store.Watch(ctx, r) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *reader) Apply(state function.State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.states[state.Function.Name] = state
}

func (r *reader) Remove(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.states, name)
}

func (r *reader) Applied(revision uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.revision = revision
}

func (r *reader) get(name string) (function.State, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	state, ok := r.states[name]
	return state, ok
}

func (r *reader) applied() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.revision
}

// replicas are the names of a function's endpoints.
func (r *reader) replicas(name string) []string {
	state, _ := r.get(name)
	var names []string
	for _, e := range state.Endpoints {
		names = append(names, e.Replica)
	}
	return names
}

// caller is a gateway as the scaler knows it: it reports again and again until it falls silent.
type caller struct {
	f      *fixture
	mu     sync.Mutex
	report bus.Activity // guarded by mu
	quiet  func()
}

const newest = 1 << 60 // a revision that is ahead of all

// caller starts one whose reports say that it has applied the revision.
func (f *fixture) caller(name string, revision uint64) *caller {
	f.t.Helper()
	c := &caller{f: f, report: bus.Activity{Sender: name, Kind: bus.KindGateway, Revision: revision}}
	b := f.connect(name)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		for ctx.Err() == nil {
			c.mu.Lock()
			report := c.report
			c.mu.Unlock()
			_ = b.ReportActivity(report) // while NATS is away, the next one will do
			select {
			case <-ticker.C:
			case <-ctx.Done():
			}
		}
	}()
	c.quiet = sync.OnceFunc(func() { cancel(); <-done })
	f.t.Cleanup(c.quiet)
	return c
}

// at sets the revision that it says to have applied.
func (c *caller) at(revision uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Revision = revision
}

// is sets what it says to be.
func (c *caller) is(kind string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Kind = kind
}

// needs makes it a jobrunner one of whose jobs depends on the function.
func (c *caller) needs(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Functions = map[string]bus.FunctionActivity{name: {InFlight: 1}}
}

// busy sets how many calls it has in flight at the replica with the number, 0 for none.
func (c *caller) busy(name string, number, calls int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	functions := maps.Clone(c.report.Functions)
	if functions == nil {
		functions = map[string]bus.FunctionActivity{}
	}
	endpoints := maps.Clone(functions[name].Endpoints)
	if endpoints == nil {
		endpoints = map[string]int{}
	}
	endpoints[pod(name, number).Address] = calls
	total := 0
	for _, n := range endpoints {
		total += n
	}
	functions[name] = bus.FunctionActivity{InFlight: total, Endpoints: endpoints}
	if total == 0 {
		delete(functions, name)
	}
	c.report.Functions = functions
}

// sends sets how many calls it has in flight at the function's replicas, all at once.
func (c *caller) sends(name string, calls map[int]int) {
	entry := bus.FunctionActivity{Endpoints: map[string]int{}}
	for number, n := range calls {
		entry.InFlight += n
		entry.Endpoints[pod(name, number).Address] = n
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Functions = map[string]bus.FunctionActivity{name: entry}
}

// heard waits until the scaler has a report that the caller made from now on.
func (c *caller) heard() {
	c.f.t.Helper()
	from := time.Now()
	c.mu.Lock()
	name, revision := c.report.Sender, c.report.Revision
	c.mu.Unlock()
	eventually(c.f.t, name+" is heard", func() (heard bool) {
		c.f.inside(func(time.Time) {
			s := c.f.scaler.senders[name]
			heard = s != nil && s.heard.After(from.Add(20*time.Millisecond)) && s.revision == revision
		})
		return heard
	})
}

func (f *fixture) publish(name string) {
	f.t.Helper()
	if _, err := f.bus.PublishCall(f.t.Context(), bus.Call{Function: name}); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) wake(name string) {
	f.t.Helper()
	if err := f.bus.Wake(name); err != nil {
		f.t.Fatal(err)
	}
}
