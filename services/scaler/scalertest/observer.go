package scalertest

import (
	"context"
	"maps"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/services/scaler"
)

// Recorder is an Observer that keeps what it was told and lets a test wait for a state.
type Recorder struct {
	mu      sync.Mutex
	latest  map[string]function.Workload    // guarded by mu
	history []function.Workload             // guarded by mu
	inside  map[netip.Addr]function.Insider // guarded by mu: nil before the first report
	synced  int                             // guarded by mu
	atSync  int                             // guarded by mu: how many functions were known at the first Synced
	changed chan struct{}                   // guarded by mu: closed and replaced by each call
}

var _ scaler.Observer = (*Recorder)(nil)

// NewRecorder returns a Recorder that has seen nothing.
func NewRecorder() *Recorder {
	return &Recorder{latest: map[string]function.Workload{}, changed: make(chan struct{})}
}

// Inside implements scaler.Observer.
func (r *Recorder) Inside(inside map[netip.Addr]function.Insider) {
	r.record(func() { r.inside = maps.Clone(inside) })
}

// Observe implements scaler.Observer.
func (r *Recorder) Observe(workload function.Workload) {
	r.record(func() {
		r.latest[workload.Function.Name] = workload
		r.history = append(r.history, workload)
	})
}

// Forget implements scaler.Observer.
func (r *Recorder) Forget(name string) {
	r.record(func() { delete(r.latest, name) })
}

// Last implements scaler.Observer: there was no earlier leader.
func (r *Recorder) Last(string) (function.Function, bool) { return function.Function{}, false }

// Synced implements scaler.Observer.
func (r *Recorder) Synced() {
	r.record(func() {
		if r.synced++; r.synced == 1 {
			for _, workload := range r.latest {
				if !workload.Watched {
					r.atSync++
				}
			}
		}
	})
}

func (r *Recorder) record(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
	close(r.changed)
	r.changed = make(chan struct{})
}

// History is everything that was observed of a function, the oldest first.
func (r *Recorder) History(name string) []function.Workload {
	r.mu.Lock()
	defer r.mu.Unlock()
	var history []function.Workload
	for _, workload := range r.history {
		if workload.Function.Name == name {
			history = append(history, workload)
		}
	}
	return history
}

// next is closed by the next call of the observer.
func (r *Recorder) next() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

// Wait returns the workload as soon as the condition holds for it, and fails the test at the timeout.
func (r *Recorder) Wait(t testing.TB, name string, timeout time.Duration, condition func(function.Workload) bool) function.Workload {
	t.Helper()
	deadline := time.After(timeout)
	for {
		r.mu.Lock()
		workload, changed := r.latest[name], r.changed
		r.mu.Unlock()
		if workload.Function.Name == name && condition(workload) {
			return workload
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("function %s was not observed as expected within %s; the last observation is %+v", name, timeout, workload)
		}
	}
}

// WaitInside returns the addresses that are inside as soon as the condition holds for what was reported last, and fails the test at
// the timeout.
func (r *Recorder) WaitInside(t testing.TB, timeout time.Duration, condition func(map[netip.Addr]function.Insider) bool) map[netip.Addr]function.Insider {
	t.Helper()
	deadline := time.After(timeout)
	for {
		r.mu.Lock()
		inside, changed := r.inside, r.changed
		r.mu.Unlock()
		if inside != nil && condition(inside) {
			return inside
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("what is inside was not reported as expected within %s; the last report is %v", timeout, inside)
		}
	}
}

// WaitSynced waits for Synced and returns how many functions had been observed before it.
func (r *Recorder) WaitSynced(t testing.TB, timeout time.Duration) int {
	t.Helper()
	deadline := time.After(timeout)
	for {
		r.mu.Lock()
		synced, atSync, changed := r.synced, r.atSync, r.changed
		r.mu.Unlock()
		if synced > 0 {
			return atSync
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("Synced was not called within %s", timeout)
		}
	}
}

// Watch runs a cluster's Watch until stop is called, which returns when Watch has. The test's end calls it too.
func Watch(t testing.TB, cluster scaler.Cluster) (recorder *Recorder, stop func()) {
	t.Helper()
	recorder = NewRecorder()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- cluster.Watch(ctx, recorder) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Watch returned %v", err)
		}
	})
	t.Cleanup(stop)
	return recorder, stop
}

// Ready is a condition for Wait: exactly count replicas exist, and all are ready.
func Ready(count int) func(function.Workload) bool {
	return func(workload function.Workload) bool {
		return workload.Replicas == count && len(workload.Pods) == count && len(workload.ReadyEndpoints()) == count
	}
}
