// Package dispatcher is the service that pulls queued calls, with the concurrency limits of each function, calls the
// function's replicas, and ends each call: acknowledged, tried again after a delay, or given up as a dead letter.
//
// A function with ready replicas or queued calls is awake: a worker goroutine owns its consumer and counts its calls. All
// others cost a core subscription each, which tells when a call is published.
package dispatcher

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/pkg/upstream"
)

// Config is what a person may set.
type Config struct {
	// UnknownGrace is how long calls for a function that is not known wait for its manifest.
	UnknownGrace time.Duration `default:"1m" help:"How long calls for a function that is not known stay queued before they are given up."`
	// StuckAfter is how long work may wait beside a free slot before the dispatcher calls itself unhealthy.
	StuckAfter time.Duration `default:"30s" help:"How long calls may wait although a replica is ready and a slot free before /health fails."`
}

// Deps are what a Dispatcher works with.
type Deps struct {
	Bus *bus.Bus
	// Name is unique to the process; reports of activity carry it.
	Name string
	// Sole says that no other dispatcher can be running, as in the local mode.
	Sole      bool
	Transport http.RoundTripper
	Logger    zerolog.Logger
	Registry  prometheus.Registerer
}

// Dispatcher is the service.
type Dispatcher struct {
	config  Config
	deps    Deps
	caller  *upstream.Caller
	metrics *metrics

	functions *bus.Functions
	attempts  *bus.Attempts
	idle      *bus.IdleCalls
	revision  atomic.Uint64 // of the functions bucket, applied
	// look asks for the depths of all queues to be read soon.
	look     chan struct{}
	progress progress
	// awake counts the workers' goroutines.
	awake sync.WaitGroup

	mu        sync.Mutex
	workers   map[string]*worker // of all functions; guarded by mu
	take      context.Context    // ends when nothing new is to be taken; guarded by mu
	work      context.Context    // ends when what runs is to be interrupted; guarded by mu
	listening func()             // guarded by mu
}

// New wires a Dispatcher; it does nothing before Run.
func New(config Config, deps Deps) *Dispatcher {
	return &Dispatcher{
		config:  config,
		deps:    deps,
		caller:  upstream.NewCaller(deps.Transport),
		metrics: newMetrics(deps.Registry),
		idle:    deps.Bus.NewIdleCalls(),
		look:    make(chan struct{}, 1),
		workers: map[string]*worker{},
	}
}

// Run dispatches until take ends, then waits for the calls that run; it interrupts them when work ends. It has the form of
// an ops.Stage.
func (d *Dispatcher) Run(take, work context.Context) error {
	if err := d.open(take); err != nil {
		if take.Err() != nil {
			return nil
		}
		return err
	}
	d.mu.Lock()
	d.take, d.work = take, work
	d.mu.Unlock()

	// What reports and what workers need ends after the last worker.
	background, stop := context.WithCancel(context.WithoutCancel(work))
	var helpers sync.WaitGroup
	helpers.Go(func() { d.watchIdle(take) })
	helpers.Go(func() { d.sweep(take) })
	helpers.Go(func() { d.watchProgress(take) })
	helpers.Go(func() { d.reportActivity(background) })
	watched := make(chan error, 1)
	helpers.Go(func() { watched <- d.functions.Watch(background, d) })

	<-take.Done()
	d.stopListening()
	d.awake.Wait()
	stop()
	helpers.Wait()
	return <-watched
}

func (d *Dispatcher) open(ctx context.Context) (err error) {
	if err := d.deps.Bus.EnsureCalls(ctx); err != nil {
		return err
	}
	if err := d.deps.Bus.EnsureDead(ctx); err != nil {
		return err
	}
	if d.attempts, err = d.deps.Bus.OpenAttempts(ctx); err != nil {
		return err
	}
	d.functions, err = d.deps.Bus.OpenFunctions(ctx)
	return err
}

// Apply takes the newest state of a function; it is called by the watch of the bucket.
func (d *Dispatcher) Apply(state function.State) {
	d.mu.Lock()
	defer d.mu.Unlock()
	name := state.Function.Name
	w := d.workers[name]
	if w == nil {
		w = newWorker(d, name)
		d.workers[name] = w
		defer d.lookSoon()
	}
	w.spec.Store(&state.Function)
	w.endpoints.Update(state.Endpoints)
	if len(state.Endpoints) > 0 {
		d.startLocked(w)
	} else if !w.running {
		w.listenLocked()
	}
}

// Remove forgets a function. Its queued calls wait for the grace time.
func (d *Dispatcher) Remove(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if w := d.workers[name]; w != nil {
		delete(d.workers, name)
		w.endpoints.Update(nil)
		w.unlistenLocked()
		close(w.removed)
		d.metrics.forget(name)
	}
}

// Applied notes how much of the bucket is known.
func (d *Dispatcher) Applied(revision uint64) { d.revision.Store(revision) }

// start makes the function awake, because there may be work for it. It reports whether the function is known.
func (d *Dispatcher) start(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := d.workers[name]
	if w != nil {
		d.startLocked(w)
	}
	return w != nil
}

func (d *Dispatcher) startLocked(w *worker) {
	if w.running || d.take.Err() != nil {
		return
	}
	w.running = true
	w.unlistenLocked()
	take, work := d.take, d.work
	d.awake.Go(func() { w.run(take, work) })
}

// sleep makes a worker idle again, unless something has happened that needs it. It listens first and looks at the depth
// then, so that no call is overlooked.
func (d *Dispatcher) sleep(ctx context.Context, w *worker) bool {
	d.mu.Lock()
	w.listenLocked()
	d.mu.Unlock()
	depth, err := d.deps.Bus.Depth(ctx, w.name)

	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil || depth > 0 || w.endpoints.Ready() > 0 {
		w.unlistenLocked()
		return false
	}
	w.running = false
	return true
}

// stopListening ends the subscriptions of idle functions.
func (d *Dispatcher) stopListening() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range d.workers {
		w.unlistenLocked()
	}
}

// watchIdle wakes idle functions for which a call is published.
func (d *Dispatcher) watchIdle(ctx context.Context) {
	for {
		select {
		case msg := <-d.idle.Messages():
			d.start(d.idle.Function(msg))
		case <-ctx.Done():
			return
		}
	}
}

func (d *Dispatcher) lookSoon() {
	select {
	case d.look <- struct{}{}:
	default:
	}
}

// workersNow is a snapshot of all workers, and of those whose goroutine runs.
func (d *Dispatcher) workersNow() (running []*worker) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range d.workers {
		if w.running {
			running = append(running, w)
		}
	}
	return running
}
