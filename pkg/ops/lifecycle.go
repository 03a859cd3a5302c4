package ops

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/rs/zerolog"
)

// InterruptGrace is how long a stage may take to return after it was interrupted, before it is given up.
const InterruptGrace = 5 * time.Second

// Stage is one part of a process that runs until it is told to end.
type Stage struct {
	// Name stands in the log and in errors.
	Name string
	// Run blocks. When take ends, it takes nothing new, finishes what it has begun and returns nil. When work ends, it
	// interrupts what still runs and returns at once; take has ended by then. A return before take ended is a failure of the
	// whole process, also with nil.
	Run func(take, work context.Context) error
}

// Prompt makes a stage's Run of a service that has nothing to finish and returns at once when its context ends.
func Prompt(run func(ctx context.Context) error) func(take, work context.Context) error {
	return func(take, _ context.Context) error { return run(take) }
}

// Lifecycle runs the stages of a process and ends them in the one shutdown order of the house:
//
//  1. readiness off (Health);
//  2. drain delay: load balancers need a moment to see it, and requests still arrive meanwhile;
//  3. stop taking, stage by stage in the order of Stages, each finishing what runs before the next is told, so
//     that what the first hands to the second is still taken;
//  4. what is not finished after DrainTimeout, counted over all stages, is interrupted;
//  5. Close: the bus, which everything above needed to settle its work.
//
// A process begins to shut down when it is told to, or when a stage fails; then without the drain delay.
type Lifecycle struct {
	// Stages are started together in this order. List what receives from outside first, what it depends on after it,
	// and the ops server last.
	Stages []Stage
	// Health loses its readiness first; may be nil.
	Health *Health
	// DrainDelay is the time between readiness off and stop taking.
	DrainDelay time.Duration
	// DrainTimeout bounds finishing what runs; 0 interrupts at once.
	DrainTimeout time.Duration
	// Close runs last, after every stage has returned or was given up; may be nil. It bounds itself.
	Close func()
	// Logger gets each step of the shutdown.
	Logger zerolog.Logger
}

// running is one started stage.
type running struct {
	name string
	// stop ends the stage's take context.
	stop context.CancelFunc
	// err is what Run returned; it is set before done is closed and read after.
	err  error
	done chan struct{}
}

// Run starts the stages and blocks until take ends or a stage fails, and then until the shutdown has ended; when
// work ends, everything is interrupted at once. SignalContexts makes both. The error has the name of each stage that failed. Run
// has the form of Stage.Run.
func (l Lifecycle) Run(take, work context.Context) error {
	if l.Close != nil {
		defer l.Close()
	}
	work, interrupt := context.WithCancel(work)
	defer interrupt()
	abandoned, stopWatch := graceAfter(work)
	defer stopWatch()

	stages, ended := l.start(work)
	culprit := l.serve(take, work, ended)
	if l.Health != nil {
		l.Health.SetDraining()
	}
	if culprit == nil {
		pause(work, l.DrainDelay)
	}
	timer := time.AfterFunc(l.DrainTimeout, interrupt)
	defer timer.Stop()
	failures := []error{culprit.failure()}
	for _, stage := range stages {
		if err := l.stop(work, abandoned, stage); stage != culprit {
			failures = append(failures, err)
		}
	}
	return errors.Join(failures...)
}

// start runs each stage in a goroutine; ended receives every stage that has returned. The take contexts hang on
// work, not on the caller's take, because the stages are told one after the other.
func (l Lifecycle) start(work context.Context) (stages []*running, ended <-chan *running) {
	returned := make(chan *running, len(l.Stages))
	for _, stage := range l.Stages {
		ctx, stop := context.WithCancel(work)
		r := &running{name: stage.Name, stop: stop, done: make(chan struct{})}
		stages = append(stages, r)
		go func() {
			r.err = stage.Run(ctx, work)
			close(r.done)
			returned <- r
		}()
	}
	return stages, returned
}

// serve waits for the end of the process's service and returns the stage that failed, if that was the reason.
func (l Lifecycle) serve(take, work context.Context, ended <-chan *running) *running {
	select {
	case <-work.Done():
		l.Logger.Warn().Str("reason", context.Cause(work).Error()).Msg("shutting down at once")
	case <-take.Done():
		l.Logger.Info().Str("reason", context.Cause(take).Error()).Stringer("drain_delay", l.DrainDelay).Msg("shutting down")
	case stage := <-ended:
		if work.Err() != nil { // interrupted, and its end was seen here first
			return nil
		}
		l.Logger.Error().Err(stage.failure()).Msg("a stage failed: shutting down")
		return stage
	}
	return nil
}

// stop tells a stage to take no more and waits for it.
func (l Lifecycle) stop(work, abandoned context.Context, stage *running) error {
	stage.stop()
	if !stage.wait(work) {
		l.Logger.Warn().Str("stage", stage.name).Msg("interrupting what still runs")
		if !stage.wait(abandoned) {
			l.Logger.Error().Str("stage", stage.name).Str("goroutines", stacks()).Msg("a stage is given up: it does not end")
			return fmt.Errorf("%s: did not end within %s of being interrupted", stage.name, InterruptGrace)
		}
	}
	if stage.err == nil || errors.Is(stage.err, context.Canceled) {
		return nil
	}
	return fmt.Errorf("%s: %w", stage.name, stage.err)
}

// maxStacks bounds what is logged of the goroutines, in bytes.
const maxStacks = 256 << 10

// stacks are what all goroutines of the process are doing, for whoever finds out why a stage does not end.
func stacks() string {
	text := make([]byte, maxStacks)
	return string(text[:runtime.Stack(text, true)])
}

// wait says whether the stage has ended, and waits for it as long as ctx lasts.
func (r *running) wait(ctx context.Context) bool {
	select {
	case <-r.done:
	case <-ctx.Done():
	}
	select { // both may have been there
	case <-r.done:
		return true
	default:
		return false
	}
}

// failure is the error of a stage that ended before it was told to; nil for no stage.
func (r *running) failure() error {
	switch {
	case r == nil:
		return nil
	case r.err == nil:
		return fmt.Errorf("%s: ended before it was told to", r.name)
	default:
		return fmt.Errorf("%s: %w", r.name, r.err)
	}
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// graceAfter returns a context that ends InterruptGrace after work has; release frees it.
func graceAfter(work context.Context) (abandoned context.Context, release func()) {
	abandoned, abandon := context.WithCancel(context.WithoutCancel(work))
	stop := context.AfterFunc(work, func() {
		pause(abandoned, InterruptGrace)
		abandon()
	})
	return abandoned, func() {
		stop()
		abandon()
	}
}
