// Package dispatcher is the service that pulls queued calls, with the concurrency limits of each function, calls the
// function's replicas, and ends each call: acknowledged, tried again after a delay, or given up as a dead letter. A function may take a
// call over (status 202) and end it later by a callback. Events are queued for each function that subscribes to them, as a call that goes
// to all of its ready replicas.
//
// A function with ready replicas or queued calls is awake: a goroutine, its shift, owns its consumer and counts its calls. All
// others cost a core subscription each, which tells when a call is published.
package dispatcher

import (
	"context"
	"maps"
	"net/http"
	"slices"
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

	// BodySweepInterval is how often bodies are looked for that nobody refers to any more, BodySweepGrace the age from which on they are
	// removed; 0 means 10 minutes.
	BodySweepInterval time.Duration `kong:"-"`
	BodySweepGrace    time.Duration `kong:"-"`
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
	known     chan struct{} // closed when the bucket has been read once
	open      openCalls
	// look asks for the depths of all queues to be read soon; they are every sweepEvery.
	look       chan struct{}
	sweepEvery time.Duration
	// lookEvery is lookInterval.
	lookEvery time.Duration
	// due hands the names of functions that are not known, and whose grace is over, to buryUnknown.
	due      chan []string
	progress progress
	// awake counts the shifts' goroutines.
	awake sync.WaitGroup

	mu      sync.Mutex
	workers map[string]*worker // of all functions; guarded by mu
	phases                     // of Run; guarded by mu
}

// phases are the contexts of one Run, in the order in which they end.
type phases struct {
	take     context.Context // ends when nothing new is to be taken
	work     context.Context // ends when what runs is to be interrupted
	settling context.Context // ends when the ends of calls can be told no more
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
		due:     make(chan []string),
		known:   make(chan struct{}),
		workers: map[string]*worker{},

		sweepEvery: sweepInterval, lookEvery: lookInterval,
	}
}

// Run dispatches until take ends, then waits for the calls that run; it interrupts them when work ends. It has the form of
// an ops.Stage.
func (d *Dispatcher) Run(take, work context.Context) error {
	if err := d.ensure(take); err != nil {
		if take.Err() != nil {
			return nil
		}
		return err
	}
	take, leave := context.WithCancel(take)
	defer leave()
	settling, release := settleContext(work)
	defer release()
	d.mu.Lock()
	d.phases = phases{take, work, settling}
	d.mu.Unlock()

	// What reports and what shifts need ends after the last shift.
	background, stop := context.WithCancel(context.WithoutCancel(work))
	defer stop()
	var helpers sync.WaitGroup
	helpers.Go(func() { d.watchIdle(take) })
	helpers.Go(func() { d.sweep(take) })
	helpers.Go(func() { d.buryUnknown(take) })
	helpers.Go(func() { d.watchProgress(take) })
	helpers.Go(func() { d.followCallbacks(take) })
	helpers.Go(func() { d.followEvents(take) })
	helpers.Go(func() { d.sweepBodies(take) })
	helpers.Go(func() { d.reportActivity(background) })
	var watched error
	helpers.Go(func() {
		watched = d.functions.Watch(background, d)
		leave() // without news of the functions nothing can be dispatched
	})

	<-take.Done()
	d.stopListening()
	d.awake.Wait()
	stop()
	helpers.Wait()
	return watched
}

// ensure makes the streams and buckets that are the dispatcher's to make.
func (d *Dispatcher) ensure(ctx context.Context) (err error) {
	b := d.deps.Bus
	for _, ensure := range []func(context.Context) error{b.EnsureCalls, b.EnsureDead, b.EnsureEvents, b.EnsureBodies, b.EnsureKeys} {
		if err := ensure(ctx); err != nil {
			return err
		}
	}
	if d.attempts, err = b.OpenAttempts(ctx); err != nil {
		return err
	}
	d.functions, err = b.AwaitFunctions(ctx)
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
	}
	if w.spec.Load() == nil || w.gone {
		defer signal(d.look)
	}
	w.gone = false
	w.spec.Store(&state.Function)
	w.endpoints.Update(state.Endpoints)
	signal(w.changed)
	if len(state.Endpoints) == 0 {
		w.listenLocked()
		return
	}
	w.unlistenLocked()
	d.startLocked(w)
}

// Remove forgets a function. Its queued calls wait for the grace time, those that run end.
func (d *Dispatcher) Remove(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := d.workers[name]
	if w == nil {
		return
	}
	w.gone = true
	w.endpoints.Update(nil)
	w.unlistenLocked()
	if !w.running {
		d.forgetLocked(w)
	}
}

func (d *Dispatcher) forgetLocked(w *worker) {
	delete(d.workers, w.name)
	d.metrics.forget(w.name)
}

// Applied notes how much of the bucket is known.
func (d *Dispatcher) Applied(revision uint64) {
	d.revision.Store(revision)
	select {
	case <-d.known:
	default:
		close(d.known)
		signal(d.look)
	}
}

// start makes the function awake, because there may be work for it. It reports whether the function is known, or still has calls that run.
func (d *Dispatcher) start(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := d.workers[name]
	if w == nil {
		return false
	}
	w.unlistenLocked() // one call is enough; it is listened to again before sleep
	signal(w.published)
	d.startLocked(w)
	return true
}

func (d *Dispatcher) startLocked(w *worker) {
	if w.running || d.take.Err() != nil {
		return
	}
	w.running = true
	s := newShift(d.phases, w)
	// What an earlier process has left out is lost; who knows that this process is gone need not wait for the ack wait.
	s.lost = d.deps.Sole && !w.began
	w.began = true
	d.awake.Go(s.run)
}

// listen makes calls known that are published for a function that is awake, but has no replica and so is not pulled from.
func (d *Dispatcher) listen(w *worker) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !w.gone && w.endpoints.Ready() == 0 {
		w.listenLocked()
	}
}

// sleep makes a worker idle unless something has happened that needs it: the end of its shift. From here on a published call starts
// another one.
func (d *Dispatcher) sleep(w *worker) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if w.gone || w.unlisten == nil || len(w.published) > 0 || w.endpoints.Ready() > 0 {
		return false
	}
	w.running = false
	return true
}

// retire ends the shift of a function that was removed, unless it has come back.
func (d *Dispatcher) retire(w *worker) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !w.gone {
		return false
	}
	w.running = false
	d.forgetLocked(w)
	return true
}

func (d *Dispatcher) isGone(w *worker) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return w.gone
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

// workersNow are those of all functions, and of removed ones whose calls run.
func (d *Dispatcher) workersNow() []*worker {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Values(d.workers))
}
