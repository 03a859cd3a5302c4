// Package jobrunner is the service that turns job requests into Jobs, each exactly once: it shares the definitions, takes requests when a slot is free and what they depend on is
// ready, and follows each run to its end. Where the Jobs run is behind the interface Cluster; the order of steps is job.Decide's.
package jobrunner

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/job"
)

// Config is what a person may set.
type Config struct {
	// JobsConfiguration is SlimFaas's SLIMFAAS_JOBS_CONFIGURATION.
	JobsConfiguration SlimFaasJobs `name:"jobs-configuration" placeholder:"JSON" help:"Jobs in the form of SlimFaas: {\"Configurations\":{\"fibonacci\":{\"Image\":\"…\",\"NumberParallelJob\":2}}}."`
	// MaxRunning bounds the unfinished Jobs of all definitions together.
	MaxRunning int `name:"max-running-jobs" default:"1000" help:"Jobs of all definitions that may be unfinished at a time."`
	// CreateRate is in Jobs per second.
	CreateRate float64 `name:"job-create-rate" default:"100" help:"Jobs that are created in a second at most."`
	// History and HistoryLimit bound the final records that are kept.
	History      time.Duration `name:"job-history" default:"168h" help:"How long the record and the output of a run are kept after its end."`
	HistoryLimit int           `name:"job-history-limit" default:"1000" help:"Runs of one job whose record and output are kept after their end; the oldest go first, but none within an hour."`
}

// SlimFaasJobs is the value of a flag: the definitions in SlimFaas's own form.
type SlimFaasJobs struct {
	Definitions []job.Definition
	Warnings    []string
}

// UnmarshalText reads it.
func (s *SlimFaasJobs) UnmarshalText(text []byte) (err error) {
	s.Definitions, s.Warnings, err = job.FromSlimFaas(string(text))
	return err
}

// Deps are what a Runner works with.
type Deps struct {
	Bus      *bus.Bus
	Cluster  Cluster
	Logger   zerolog.Logger
	Registry prometheus.Registerer
	// Name is unique to the process; reports of activity carry it.
	Name string
	// Passed is told of each step that has been done, so that a test can end the process there; nil outside tests.
	Passed func(step job.Step, run job.Run)
}

// Runner is the service. One goroutine, that of Run, owns everything but the channels, and it never waits for NATS or the cluster: helpers do, one for a run at a
// time.
type Runner struct {
	config  Config
	deps    Deps
	metrics *metrics
	timing  timing
	// events are handled one at a time by Run's goroutine.
	events chan func(now time.Time)
	// known is closed when all runs and Jobs are known, as ready says.
	known chan struct{}
	// done is closed when Run handles no more events.
	done chan struct{}
	// synced is closed once every definition that existed at the start is shared.
	synced chan struct{}
	// helpers are the goroutines that wait for the cluster or for NATS.
	helpers sync.WaitGroup
	// turned is when Run's goroutine last got round, in Unix nanoseconds; 0 while it does not run.
	turned atomic.Int64

	runs        *bus.Runs
	definitions *bus.Definitions

	// tracked are the runs for which something has to be done, byName those of them that have a Job's name, and shelf has what is kept of all other records. shelvedAt has the
	// revisions of those of which the watch of the bucket has not told yet.
	tracked   map[key]*tracked
	byName    map[string]*tracked
	shelf     shelf
	shelvedAt map[key]uint64
	// doubtful are records on the shelf that are to be read: the watch says that they are gone, say.
	doubtful map[key]struct{}
	// strays are Jobs of ours that belong to no tracked run.
	strays map[string]stray
	// dirty are the runs to decide about when the event is over, stale the definitions whose slots or requests have changed.
	dirty map[*tracked]struct{}
	stale map[string]struct{}
	// waiting are definitions to review later, by when.
	waiting map[string]time.Time

	turns    turns
	kinds    map[string]*kind
	catalog  catalog
	queues   queues
	slots    slots
	needs    needs
	troubles troubles
	backlog  backlog
	keeping  keeping
	// observed says that the cluster has told all that existed at the start, and read that the runs bucket has.
	observed, read bool
	alarm          alarm
	metricsAt      time.Time // when the gauges are due
	// follows are outputs to follow, following counts those that are.
	follows   []follow
	following int
}

// New wires a Runner for one Run; it does nothing before that. Its metrics are registered until Run returns, so that a process that leads again makes another one.
func New(config Config, deps Deps) *Runner {
	const backlogOfEvents = 1024
	r := &Runner{
		config: config, deps: deps, metrics: newMetrics(deps.Registry), timing: standardTiming,
		events: make(chan func(time.Time), backlogOfEvents), known: make(chan struct{}), done: make(chan struct{}), synced: make(chan struct{}),
		tracked: map[key]*tracked{}, byName: map[string]*tracked{}, shelf: shelf{}, shelvedAt: map[key]uint64{}, doubtful: map[key]struct{}{}, strays: map[string]stray{},
		dirty: map[*tracked]struct{}{}, stale: map[string]struct{}{}, waiting: map[string]time.Time{},
		kinds: map[string]*kind{}, catalog: newCatalog(), queues: newQueues(),
		slots: newSlots(config), needs: newNeeds(), backlog: newBacklog(),
	}
	return r
}

// Synced is closed once every definition that existed at the start is in the bucket.
func (r *Runner) Synced() <-chan struct{} { return r.synced }

// Run works until ctx ends. It returns after its own work and the cluster's have ended.
func (r *Runner) Run(ctx context.Context) error {
	defer r.metrics.unregister()
	defer r.turned.Store(0)
	reconnects, stopReconnects := r.deps.Bus.Reconnects()
	defer stopReconnects()
	if err := r.open(ctx); err != nil {
		return unlessEnded(ctx.Err() != nil, err)
	}
	stopHints, err := r.deps.Bus.OnJobs(func(name string) {
		signal(r.backlog.published)
		r.do(func(now time.Time) { r.onPublished(name, now) })
	})
	if err != nil {
		return err
	}
	defer stopHints()
	return r.work(ctx, reconnects)
}

// open makes what is kept in NATS, and takes over what an earlier leader has shared.
func (r *Runner) open(ctx context.Context) (err error) {
	if err := r.deps.Bus.EnsureJobs(ctx); err != nil {
		return err
	}
	if r.runs, err = r.deps.Bus.OpenRuns(ctx); err != nil {
		return err
	}
	if r.definitions, err = r.deps.Bus.OpenDefinitions(ctx); err != nil {
		return err
	}
	shared, err := r.definitions.Load(ctx)
	if err != nil {
		return err
	}
	r.adopt(shared)
	return nil
}

// work watches and handles events until ctx ends, or something that it needs ends by itself.
func (r *Runner) work(ctx context.Context, reconnects <-chan struct{}) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 3) // one for each of those that must not end
	follow := func(what string, run func(context.Context) error) {
		r.helpers.Go(func() { ended <- byItself(ctx, what, run(ctx)) })
	}
	follow("watch the cluster", func(ctx context.Context) error { return r.deps.Cluster.Watch(ctx, observer{r}) })
	follow("watch the records", func(ctx context.Context) error { return r.runs.Watch(ctx, recordReader{r}) })
	follow("serve output", r.serveOutput)
	r.helpers.Go(func() { r.followBacklog(ctx) })
	r.helpers.Go(func() { r.pollDepths(ctx) })
	err := r.loop(ctx, reconnects, ended)
	cancel()
	close(r.done)
	r.helpers.Wait()
	r.leave()
	return err
}

func (r *Runner) loop(ctx context.Context, reconnects <-chan struct{}, ended <-chan error) error {
	ticker := time.NewTicker(r.timing.tick)
	defer ticker.Stop()
	defer r.alarm.stop()
	for {
		r.turned.Store(time.Now().UnixNano())
		select {
		case event := <-r.events:
			event(time.Now())
		case <-ticker.C:
			r.onTick(time.Now())
		case <-r.alarm.rings():
			r.onAlarm(time.Now())
		case <-reconnects:
			r.onReconnect(time.Now())
		case err := <-ended:
			return err
		case <-ctx.Done():
			return nil
		}
		r.settle(ctx, time.Now())
	}
}

// settle draws the conclusions of an event: slots go to requests, each run that something has happened to is decided about, and what there is to do is begun.
func (r *Runner) settle(ctx context.Context, now time.Time) {
	for len(r.stale)+len(r.dirty) > 0 {
		for name := range r.stale {
			delete(r.stale, name)
			r.admit(name, now)
		}
		for t := range r.dirty {
			delete(r.dirty, t)
			r.consider(t, now)
		}
	}
	r.startPullers(ctx)
	r.startTurns(ctx)
	r.startFollows(ctx)
	r.startChecks(now)
	r.startShares(ctx, now)
}

func (r *Runner) onTick(now time.Time) {
	for _, t := range r.tracked {
		r.keepDelivery(t, now)
		r.touch(t)
	}
	r.lookAtDoubtful()
	r.lookAtStrays(now)
	r.lookAtDeadlines(now)
	r.keepAwake(now)
	r.announceDefinitions()
	r.retain(now)
	r.observeMetrics(now)
}

// onReconnect repeats at once what has failed while NATS was away.
func (r *Runner) onReconnect(now time.Time) {
	r.troubles.over(onBus)
	for _, t := range r.tracked {
		t.notBefore = time.Time{}
		r.touch(t)
	}
	r.catalog.notBefore = time.Time{}
	r.doubtUntold()
	r.backlog.again(now, r.timing.lost)
}

// do hands work to Run's goroutine. It reports false if that has ended: then the work is dropped.
func (r *Runner) do(event func(now time.Time)) bool {
	select {
	case r.events <- event:
		return true
	case <-r.done:
		return false
	}
}

// touch has the run decided about when the present event is over.
func (r *Runner) touch(t *tracked) { r.dirty[t] = struct{}{} }

// review has the slots and requests of a definition looked at when the present event is over.
func (r *Runner) review(name string) { r.stale[name] = struct{}{} }

// Live reports that the runner's own goroutine stands still. It has the form of an ops.Check's Probe.
func (r *Runner) Live(context.Context) error {
	turned := r.turned.Load()
	if turned == 0 {
		return nil
	}
	if still := time.Since(time.Unix(0, turned)); still > r.timing.stuck {
		return fmt.Errorf("nothing has moved for %s", still.Round(time.Second))
	}
	return nil
}

// byItself is the error of something that has ended although nobody asked it to.
func byItself(ctx context.Context, what string, err error) error {
	if err == nil {
		err = errors.New("it ended by itself")
	}
	return unlessEnded(ctx.Err() != nil, fmt.Errorf("%s: %w", what, err))
}

// unlessEnded drops the error of what was interrupted by the end of its context.
func unlessEnded(ended bool, err error) error {
	if ended {
		return nil
	}
	return err
}

// signal leaves a value in a channel of one place, unless there is one.
func signal(ch chan<- struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
