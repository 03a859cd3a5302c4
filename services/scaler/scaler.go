// Package scaler is the service that discovers functions, chooses every replica count through autoscale.Decide, and shares
// each function's state in the functions bucket. Where the functions run is behind the interface Cluster.
package scaler

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/function"
)

// Config is what a person may set.
type Config struct {
	// DrainTimeout bounds how long a scale-down waits for calls in flight on the replicas that it ends.
	DrainTimeout time.Duration `name:"scale-down-timeout" default:"120s" help:"How long a replica that is to end may finish its calls."`
	// BaseFunctionURL is where the replicas of a function are called, if not at their own addresses.
	BaseFunctionURL FunctionURL `name:"base-function-url" placeholder:"URL" help:"Where functions are called: http://host:port with {pod_ip}, {pod_port}, {function_name} and {namespace}. Without {pod_ip}, a function is one endpoint there."`
	// StartNeverCalled says that a function is started when nothing is known of it.
	StartNeverCalled bool `name:"start-never-called" help:"Start functions of which nothing is known: no leader has ever decided about them. They sleep after their timeout."`
	// PrometheusURL is the server that answers the queries of Scale annotations. No annotation can name another one.
	PrometheusURL PrometheusURL `name:"prometheus-url" placeholder:"URL" help:"The Prometheus server that answers the queries of Scale annotations, as http://host:port/path."`
	// Namespace is what {namespace} in BaseFunctionURL stands for.
	Namespace string `kong:"-"`
}

// Deps are what a Scaler works with.
type Deps struct {
	Bus      *bus.Bus
	Cluster  Cluster
	Logger   zerolog.Logger
	Registry prometheus.Registerer
}

// timing are the intervals of a Scaler, which tests shorten.
type timing struct {
	// tick is how often depths are read, the bucket's revision is announced and timers are looked at.
	tick time.Duration
	// sender is after how long without a report a gateway or dispatcher counts as gone.
	sender time.Duration
	// fresh is how long an answer about the depths holds. It is shorter than sender: when NATS is away, what the senders
	// said is taken for unknown before it is forgotten.
	fresh time.Duration
	// settle is how long after a (re)connection counts of calls are not trusted: by then each sender has reported.
	settle time.Duration
	// stale is how long after a request for a count an observation may be from before it.
	stale time.Duration
	// sharePause is how long sharing rests after a failure.
	sharePause time.Duration
	// set bounds one request to the cluster, with the wait for its turn when thousands of functions wake at once.
	set time.Duration
	// query bounds one question to the Prometheus server.
	query time.Duration
}

var standardTiming = timing{
	tick: time.Second, sender: 5 * time.Second, fresh: 4 * time.Second, settle: 3 * time.Second,
	stale: 5 * time.Second, sharePause: 200 * time.Millisecond, set: 30 * time.Second, query: 5 * time.Second,
}

// Scaler is the service. One goroutine, that of Run, owns everything but the channels, and it never waits for NATS or
// the cluster: helpers do.
type Scaler struct {
	config  Config
	deps    Deps
	metrics *metrics
	timing  timing
	// events are handled one at a time by Run's goroutine.
	events chan func(now time.Time)
	// done is closed when Run handles no more events.
	done chan struct{}
	// synced is closed once every workload that existed at the start is shared.
	synced chan struct{}
	// helpers are the goroutines that wait for the cluster or for NATS.
	helpers sync.WaitGroup
	// link interrupts them when what they wait for cannot come.
	link link

	// adopted are the specifications that an earlier leader has shared. They do not change once the cluster is watched.
	adopted      map[string]function.Function
	functions    map[string]*tracked
	dependencies dependencies
	any          anyone
	questions    questions
	inside       inside
	draining     map[string]*tracked // those that had draining replicas when last looked at
	requests     []request           // counts that the cluster is to be asked for
	senders      map[string]*sender
	sharing      sharing
	// depths are those of all queues as of depthsAt, which is zero while they cannot be read.
	depths        map[string]uint64
	depthsAt      time.Time
	depthFailures int
	trustedFrom   time.Time // counts of calls are complete from here on
}

// New wires a Scaler for one Run; it does nothing before that. Its metrics are registered until Run returns, so that a process
// that leads again makes another one.
func New(config Config, deps Deps) *Scaler {
	const backlog = 1024
	return &Scaler{
		config:       config,
		deps:         deps,
		metrics:      newMetrics(deps.Registry),
		timing:       standardTiming,
		events:       make(chan func(time.Time), backlog),
		done:         make(chan struct{}),
		synced:       make(chan struct{}),
		adopted:      map[string]function.Function{},
		functions:    map[string]*tracked{},
		dependencies: newDependencies(),
		any:          anyone{woken: map[string]struct{}{}},
		questions:    newQuestions(config.PrometheusURL),
		inside:       newInside(),
		draining:     map[string]*tracked{},
		senders:      map[string]*sender{},
		link:         link{waiting: map[*context.CancelFunc]struct{}{}},
		sharing:      sharing{dirty: map[string]*tracked{}},
	}
}

// Synced is closed once the state of every workload that existed at the start is in the bucket.
func (s *Scaler) Synced() <-chan struct{} { return s.synced }

// Run scales until ctx ends. It returns after its own work and the cluster's have ended.
func (s *Scaler) Run(ctx context.Context) error {
	defer s.metrics.unregister()
	defer s.questions.close()
	reconnects, stopReconnects := s.deps.Bus.Reconnects()
	defer stopReconnects()
	if err := s.adopt(ctx); err != nil {
		return unlessEnded(ctx.Err() != nil, err)
	}
	stop, err := s.listen()
	if err != nil {
		return err
	}
	defer stop()
	return s.work(ctx, reconnects)
}

// work watches, reads depths and handles events until ctx ends or the cluster cannot be watched any more.
func (s *Scaler) work(ctx context.Context, reconnects <-chan struct{}) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.trustedFrom = time.Now().Add(s.timing.settle)
	watched := make(chan error, 1)
	s.helpers.Go(func() { watched <- s.deps.Cluster.Watch(ctx, observer{s}) })
	s.helpers.Go(func() { s.pollDepths(ctx) })
	err := s.loop(ctx, reconnects, watched)
	cancel()
	close(s.done)
	s.helpers.Wait()
	return err
}

func (s *Scaler) loop(ctx context.Context, reconnects <-chan struct{}, watched <-chan error) error {
	ticker := time.NewTicker(s.timing.tick)
	defer ticker.Stop()
	for {
		select {
		case event := <-s.events:
			event(time.Now())
			s.settle(time.Now())
		case <-ticker.C:
			s.onTick(time.Now())
			s.announce()
		case <-reconnects:
			s.link.renew()
			s.onReconnect(time.Now())
		case err := <-watched:
			return watchEnded(ctx, err)
		case <-ctx.Done():
			return nil
		}
		s.startRequests(ctx)
		s.startShares(ctx)
		s.startQuestions(ctx)
		s.startInside(ctx)
	}
}

func watchEnded(ctx context.Context, err error) error {
	if err == nil {
		err = errors.New("the watch ended by itself")
	}
	return unlessEnded(ctx.Err() != nil, fmt.Errorf("watch the cluster: %w", err))
}

// unlessEnded drops the error of what was interrupted by the end of its context.
func unlessEnded(ended bool, err error) error {
	if ended {
		return nil
	}
	return err
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
	if len(s.dependencies.stale) > 0 {
		s.regraph()
	}
	if s.any.owed {
		s.wakeAny(now)
	}
	s.decideNext(now)
	for _, f := range s.functions {
		if f.due(now) {
			s.evaluate(f, now)
		}
	}
}

// onReconnect forgets what cannot be known before everybody has reported again.
func (s *Scaler) onReconnect(now time.Time) {
	s.trustedFrom = now.Add(s.timing.settle)
	s.depthsAt = time.Time{}
	s.sharing.notBefore, s.inside.notBefore = time.Time{}, time.Time{}
}

func (s *Scaler) announce() {
	if err := s.deps.Bus.AnnounceRevision(s.sharing.revision); err != nil {
		s.deps.Logger.Debug().Err(err).Msg("the bucket's revision could not be announced")
	}
	if s.inside.revision == 0 {
		return
	}
	if err := s.deps.Bus.AnnounceInside(s.inside.revision); err != nil {
		s.deps.Logger.Debug().Err(err).Msg("the revision of what is inside could not be announced")
	}
}

// trusted reports whether what is known of queues and of calls in flight is complete. Where it is not, nothing is ended.
func (s *Scaler) trusted(now time.Time) bool {
	return s.depthsFresh(now) && !now.Before(s.trustedFrom)
}
