package jobrunnertest

import (
	"context"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/job"
	"github.com/sluicefaas/sluice/services/jobrunner"
)

// Recorder is an Observer that keeps what it was told and lets a test wait for a state.
type Recorder struct {
	mu      sync.Mutex
	known   Known         // guarded by mu
	history []job.Object  // guarded by mu
	synced  int           // guarded by mu
	first   Known         // guarded by mu: what was known at the first Synced
	changed chan struct{} // guarded by mu: closed and replaced by each call
	last    map[string]job.Definition
}

// Known is what a Recorder was told and has not been told to forget.
type Known struct {
	Definitions map[string]job.Definition
	// Objects are by UID.
	Objects map[string]job.Object
	// Workloads are those whose ready replicas are of the newest generation.
	Workloads map[string]int
}

var _ jobrunner.Observer = (*Recorder)(nil)

// NewRecorder returns a Recorder that has seen nothing. earlier are definitions that an earlier leader has shared.
func NewRecorder(earlier ...job.Definition) *Recorder {
	r := &Recorder{
		known:   Known{Definitions: map[string]job.Definition{}, Objects: map[string]job.Object{}, Workloads: map[string]int{}},
		changed: make(chan struct{}), last: map[string]job.Definition{},
	}
	for _, d := range earlier {
		r.last[d.Name] = d
	}
	return r
}

// Define implements jobrunner.Observer.
func (r *Recorder) Define(d job.Definition) { r.record(func() { r.known.Definitions[d.Name] = d }) }

// Undefine implements jobrunner.Observer.
func (r *Recorder) Undefine(name string) { r.record(func() { delete(r.known.Definitions, name) }) }

// LastDefinition implements jobrunner.Observer.
func (r *Recorder) LastDefinition(name string) (job.Definition, bool) {
	d, known := r.last[name]
	return d, known
}

// Observe implements jobrunner.Observer.
func (r *Recorder) Observe(o job.Object) {
	r.record(func() {
		r.known.Objects[o.UID] = o
		r.history = append(r.history, o)
	})
}

// Forget implements jobrunner.Observer.
func (r *Recorder) Forget(name, uid string) {
	r.record(func() {
		if r.known.Objects[uid].Name == name {
			delete(r.known.Objects, uid)
		}
	})
}

// Workload implements jobrunner.Observer.
func (r *Recorder) Workload(name string, ready int, current bool) {
	r.record(func() {
		if r.known.Workloads[name] = ready; !current {
			r.known.Workloads[name] = 0
		}
	})
}

// WorkloadGone implements jobrunner.Observer.
func (r *Recorder) WorkloadGone(name string) { r.record(func() { delete(r.known.Workloads, name) }) }

// Synced implements jobrunner.Observer.
func (r *Recorder) Synced() {
	r.record(func() {
		if r.synced++; r.synced == 1 {
			r.first = Known{maps.Clone(r.known.Definitions), maps.Clone(r.known.Objects), maps.Clone(r.known.Workloads)}
		}
	})
}

// atSync is what was known when everything had been told.
func (r *Recorder) atSync() Known {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.first
}

func (r *Recorder) record(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
	close(r.changed)
	r.changed = make(chan struct{})
}

// History is everything that was observed of a Job, the oldest first.
func (r *Recorder) History(uid string) (history []job.Object) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range r.history {
		if o.UID == uid {
			history = append(history, o)
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

// Await returns when the condition holds for what is known, and fails the test at the timeout. The condition keeps nothing of it.
func (r *Recorder) Await(t testing.TB, what string, timeout time.Duration, condition func(Known) bool) {
	t.Helper()
	deadline := time.After(timeout)
	for {
		r.mu.Lock()
		holds, changed := condition(r.known), r.changed
		r.mu.Unlock()
		if holds {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			r.mu.Lock()
			defer r.mu.Unlock()
			t.Fatalf("it was not observed within %s that %s: %+v", timeout, what, r.known)
		}
	}
}

// AwaitObject returns the Job as soon as the condition holds for it, and fails the test at the timeout.
func (r *Recorder) AwaitObject(t testing.TB, uid string, timeout time.Duration, condition func(job.Object) bool) (o job.Object) {
	t.Helper()
	r.Await(t, "the Job with UID "+uid+" is as expected", timeout, func(k Known) bool {
		o = k.Objects[uid]
		return o.UID != "" && condition(o)
	})
	return o
}

// AwaitGone returns when the Job is forgotten, and fails the test at the timeout.
func (r *Recorder) AwaitGone(t testing.TB, uid string, timeout time.Duration) {
	t.Helper()
	r.Await(t, "the Job with UID "+uid+" is gone", timeout, func(k Known) bool { return k.Objects[uid].UID == "" })
}

// AwaitSynced returns when Synced was called, once.
func (r *Recorder) AwaitSynced(t testing.TB, timeout time.Duration) {
	t.Helper()
	r.Await(t, "everything is synced", timeout, func(Known) bool { return r.synced > 0 })
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.synced > 1 {
		t.Errorf("Synced was called %d times", r.synced)
	}
}

// Watch runs a cluster's Watch until stop is called, which returns when Watch has. The test's end calls it too.
func Watch(t testing.TB, cluster jobrunner.Cluster) (recorder *Recorder, stop func()) {
	t.Helper()
	recorder = NewRecorder()
	return recorder, WatchWith(t, cluster, recorder)
}

// WatchWith is Watch with an observer of the test's own.
func WatchWith(t testing.TB, cluster jobrunner.Cluster, observer jobrunner.Observer) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- cluster.Watch(ctx, observer) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Watch returned %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}
