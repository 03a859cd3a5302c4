// Package scaler is the service that discovers functions, chooses every replica count through autoscale.Decide, and shares
// each function's state in the functions bucket. Where the functions run is behind the interface Cluster.
package scaler

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/function"
)

const (
	// tick is how often depths are read, the bucket's revision is announced and timers are looked at.
	tick = time.Second
	// senderTimeout is after how long without a report a gateway or dispatcher counts as gone.
	senderTimeout = 5 * time.Second
	// settleTime is how long after a (re)connection counts of calls are not trusted: by then each sender has reported.
	settleTime = 3 * time.Second
)

// Config is what a person may set.
type Config struct {
	// DrainTimeout bounds how long a scale-down waits for calls in flight on the replicas that it ends.
	DrainTimeout time.Duration `name:"scale-down-timeout" default:"120s" help:"How long a replica that is to end may finish its calls."`
}

// Deps are what a Scaler works with.
type Deps struct {
	Bus      *bus.Bus
	Cluster  Cluster
	Logger   zerolog.Logger
	Registry prometheus.Registerer
}

// Scaler is the service. One goroutine, that of Run, owns everything but the channels.
type Scaler struct {
	config  Config
	deps    Deps
	metrics *metrics
	// events are handled one at a time by Run's goroutine.
	events chan func(now time.Time)
	// done is closed when Run handles no more events.
	done chan struct{}
	// synced is closed once every workload that existed at the start is shared.
	synced chan struct{}
	// setters are the goroutines that wait for Cluster.SetReplicas.
	setters sync.WaitGroup

	functions     map[string]*tracked
	dirty         map[string]*tracked // those that may have changed since they were shared
	draining      map[string]*tracked // those that had draining replicas when last looked at
	shareAfter    time.Time           // no sharing before it, after a failure
	store         *bus.Functions
	senders       map[string]*sender
	revision      uint64    // newest of the functions bucket
	trustedFrom   time.Time // counts of calls are complete from here on
	depths        map[string]uint64
	depthsKnown   bool
	clusterSynced bool
}

// New wires a Scaler; it does nothing before Run.
func New(config Config, deps Deps) *Scaler {
	const backlog = 1024
	return &Scaler{
		config:    config,
		deps:      deps,
		metrics:   newMetrics(deps.Registry),
		events:    make(chan func(time.Time), backlog),
		done:      make(chan struct{}),
		synced:    make(chan struct{}),
		functions: map[string]*tracked{},
		dirty:     map[string]*tracked{},
		draining:  map[string]*tracked{},
		senders:   map[string]*sender{},
	}
}

// Synced is closed once the state of every workload that existed at the start is in the bucket.
func (s *Scaler) Synced() <-chan struct{} { return s.synced }

// Run scales until ctx ends. It returns after its own work and the cluster's have ended.
func (s *Scaler) Run(ctx context.Context) error {
	store, err := s.deps.Bus.OpenFunctions(ctx)
	if err != nil {
		return err
	}
	s.store, s.trustedFrom = store, time.Now().Add(settleTime)
	if err := s.adopt(ctx); err != nil {
		return err
	}
	stop, err := s.listen()
	if err != nil {
		return err
	}
	defer stop()

	var watching sync.WaitGroup
	watched := make(chan error, 1)
	watching.Go(func() { watched <- s.deps.Cluster.Watch(ctx, observer{s}) })
	watching.Go(func() { s.pollDepths(ctx) })
	err = s.loop(ctx, watched)
	close(s.done)
	watching.Wait()
	s.setters.Wait()
	return err
}

// loop handles events until ctx ends or the cluster cannot be watched any more.
func (s *Scaler) loop(ctx context.Context, watched <-chan error) error {
	reconnects, stop := s.deps.Bus.Reconnects()
	defer stop()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case event := <-s.events:
			event(time.Now())
		case now := <-ticker.C:
			s.onTick(now)
		case <-reconnects:
			s.trustedFrom = time.Now().Add(settleTime)
			s.depthsKnown = false
		case err := <-watched:
			if ctx.Err() == nil {
				return fmt.Errorf("watch the cluster: %w", err)
			}
			return nil
		case <-ctx.Done():
			return nil
		}
		s.shareAll(ctx)
	}
}

// do hands work to Run's goroutine; it is dropped when that has ended.
func (s *Scaler) do(event func(now time.Time)) {
	select {
	case s.events <- event:
	case <-s.done:
	}
}

func (s *Scaler) onTick(now time.Time) {
	s.dropSilentSenders(now)
	for _, f := range s.functions {
		if f.due(now) {
			s.evaluate(f, now)
		}
	}
	if err := s.deps.Bus.AnnounceRevision(s.revision); err != nil {
		s.deps.Logger.Debug().Err(err).Msg("the bucket's revision could not be announced")
	}
}

// adopt takes over what an earlier leader has shared: generations and decisions go on.
func (s *Scaler) adopt(ctx context.Context) error {
	states, err := s.store.Load(ctx)
	if err != nil {
		return err
	}
	for name, state := range states {
		s.functions[name] = &tracked{name: name, shared: state, state: state}
	}
	return nil
}

// listen subscribes to wakes and activity.
func (s *Scaler) listen() (stop func(), err error) {
	stopWakes, err := s.deps.Bus.OnWake(func(name string) {
		s.do(func(now time.Time) { s.touch(name, now) })
	})
	if err != nil {
		return nil, err
	}
	stopActivity, err := s.deps.Bus.OnActivity(func(activity bus.Activity) {
		s.do(func(now time.Time) { s.onActivity(activity, now) })
	})
	if err != nil {
		stopWakes()
		return nil, err
	}
	return func() { stopWakes(); stopActivity() }, nil
}

// touch notes activity of a function and decides at once.
func (s *Scaler) touch(name string, now time.Time) {
	if f := s.functions[name]; f != nil && f.present {
		f.lastActivity = now
		s.evaluate(f, now)
	}
}

// observer passes on to Run's goroutine what the cluster reports.
type observer struct{ scaler *Scaler }

func (o observer) Observe(w function.Workload) {
	o.scaler.do(func(now time.Time) { o.scaler.observe(w, now) })
}

func (o observer) Forget(name string) { o.scaler.do(func(time.Time) { o.scaler.forget(name) }) }

func (o observer) Synced() {
	o.scaler.do(func(time.Time) {
		o.scaler.clusterSynced = true
		for name, f := range o.scaler.functions {
			if !f.present {
				o.scaler.forget(name)
			}
		}
	})
}
