package gateway

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/pkg/upstream"
)

// target is one function as the gateway sees it.
type target struct {
	name      string
	state     atomic.Pointer[function.State]
	endpoints upstream.Endpoints
	// gone is closed when the function is removed, so that held calls end.
	gone chan struct{}
	// inFlight counts its calls here, held ones too.
	inFlight atomic.Int64
	// called says that there was a call since the last report of activity.
	called atomic.Bool

	// series are the metrics of accepted async calls, looked up once.
	series     acceptedSeries
	seriesOnce sync.Once

	mu    sync.Mutex
	woken time.Time // when a wake was last sent; guarded by mu
}

// functions is what the bucket holds. It is a bus.FunctionsReader.
type functions struct {
	revision atomic.Uint64
	known    chan struct{} // closed when the bucket has been read once
	once     sync.Once     // closes known

	mu      sync.RWMutex
	targets map[string]*target // guarded by mu

	// insiders are told of the replicas of each function, removed of each that is gone.
	insiders *insiders
	removed  func(name string)
}

func newFunctions(insiders *insiders, removed func(name string)) *functions {
	return &functions{known: make(chan struct{}), targets: map[string]*target{}, insiders: insiders, removed: removed}
}

// Apply takes the newest state of a function.
func (f *functions) Apply(state function.State) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name := state.Function.Name
	t := f.targets[name]
	if t == nil {
		t = &target{name: name, gone: make(chan struct{})}
		f.targets[name] = t
	}
	t.state.Store(&state)
	f.insiders.setReplicas(name, state.Endpoints) // before one of them can be called
	t.endpoints.Update(state.Endpoints)
}

// Remove forgets a function.
func (f *functions) Remove(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if t := f.targets[name]; t != nil {
		delete(f.targets, name)
		f.insiders.setReplicas(name, nil)
		close(t.gone)
		f.removed(name)
	}
}

// Applied notes how much of the bucket is known.
func (f *functions) Applied(revision uint64) {
	f.revision.Store(revision)
	f.once.Do(func() { close(f.known) })
}

// Known returns an error until the bucket has been read once. It has the form of an ops.Check's Probe.
func (f *functions) Known(context.Context) error {
	select {
	case <-f.known:
		return nil
	default:
		return errors.New("the functions have not been read yet")
	}
}

func (f *functions) get(name string) *target {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.targets[name]
}

// all returns the functions, sorted by name.
func (f *functions) all() []*target {
	f.mu.RLock()
	defer f.mu.RUnlock()
	sorted := make([]*target, 0, len(f.targets))
	for _, name := range slices.Sorted(maps.Keys(f.targets)) {
		sorted = append(sorted, f.targets[name])
	}
	return sorted
}
