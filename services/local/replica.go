package local

import (
	"context"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/sluicefaas/sluice/pkg/function"
)

// replica is one slot of a workload: a process while it is wanted, started again when it ends by itself.
type replica struct {
	index int
	set   *replicaSet
	// The slot's goroutine owns these two.
	backoff backoff
	tried   int // the version that failed as the back-off has it

	// The cluster's mutex guards all of these.
	name    string
	birth   int  // grows with each replica of the set
	version int  // of the set that its process is of
	wanted  bool // the replica counts; false while it is ending or gone
	drains  bool // its calls in flight end before the process does
	alive   bool // the slot has a goroutine
	stop    context.CancelFunc
	address string
	ready   bool
	readyAt time.Time // of the first time that this process was ready
	problem string
}

func (r *replica) pod() function.Pod {
	return function.Pod{Name: r.name, Address: r.address, Ready: r.ready && r.wanted, Problem: r.problem}
}

// live runs the slot until nobody wants it. Lives follow each other when a replica of a StatefulSet is wanted again
// before the last one has ended.
func (c *Cluster) live(ctx context.Context, r *replica) {
	for {
		life, ok := c.beginLife(ctx, r)
		if !ok {
			return
		}
		for pause(life, r.backoff.wait(time.Now())) {
			c.attempt(ctx, life, r)
		}
	}
}

func (c *Cluster) beginLife(ctx context.Context, r *replica) (context.Context, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.changed(r.set)
	if r.stop != nil {
		r.stop() // gives back what the last life's context holds
	}
	r.stop, r.ready, r.drains, r.address, r.problem, r.readyAt = nil, false, false, "", "", time.Time{}
	if !r.wanted || ctx.Err() != nil {
		r.alive = false
		return nil, false
	}
	var life context.Context
	life, r.stop = context.WithCancel(ctx)
	if r.version = r.set.version; r.tried != r.version {
		r.backoff, r.tried = backoff{}, r.version // what has changed may be what failed
	}
	return life, true
}

// begin returns what the next process is to be.
func (c *Cluster) begin(r *replica) Workload {
	c.mu.Lock()
	defer c.mu.Unlock()
	r.version = r.set.version
	return r.set.workload
}

// attempt is one process from its start to its end.
func (c *Cluster) attempt(ctx, life context.Context, r *replica) {
	workload := c.begin(r)
	port, err := c.tools.ports.take(life)
	if err != nil {
		c.fail(life, r, err.Error())
		return
	}
	defer c.tools.ports.giveBack(port)
	log := c.outputOf(r)
	child, err := c.tools.processes.start(c.command(r, workload, port, log))
	if err != nil {
		c.fail(life, r, workload.startProblem(err))
		return
	}
	c.update(life, r, func() { r.address = loopback(port) })
	end := c.untilEnd(life, r, attempt{workload: workload, child: child})
	switch end {
	case timedOut:
		problem := workload.timeoutProblem(c.tools.startTimeout, log)
		c.update(life, r, func() { r.problem = problem }) // at once: the process may take its time to end
	case unwanted:
		c.drain(ctx, r, child)
	case exited:
	}
	child.end(c.graceOf(r), nil)
	switch end {
	case exited:
		c.fail(life, r, workload.exitProblem(child, log))
	case timedOut:
		c.fail(life, r, workload.timeoutProblem(c.tools.startTimeout, log))
	case unwanted:
	}
}

// attempt is one process and what it was started from.
type attempt struct {
	workload Workload
	child    *process
}

// untilEnd follows a process while it may be called. When it returns, the replica is no endpoint any more.
func (c *Cluster) untilEnd(life context.Context, r *replica, a attempt) processEnd {
	running, cancel := context.WithCancel(life)
	var probing sync.WaitGroup
	prober := newProber(a.workload.Probe, r.address, c.tools.client)
	probing.Go(func() { prober.run(running, func(ready bool) { c.found(running, r, a.workload, ready) }) })
	end := c.await(life, r, a.child)
	// Under the mutex, so that a probe which is just succeeding cannot undo it.
	c.update(running, r, func() { r.ready, r.address = false, ""; cancel() })
	cancel()
	probing.Wait()
	return end
}

// processEnd is why a process is not to be called any more.
type processEnd int

const (
	exited   processEnd = iota // it ended without being asked to
	timedOut                   // it was not ready in time
	unwanted                   // scaled down, or the cluster ends
)

func (c *Cluster) await(life context.Context, r *replica, child *process) processEnd {
	timeout := time.NewTimer(c.tools.startTimeout)
	defer timeout.Stop()
	for {
		select {
		case <-child.exited:
			return exited
		case <-life.Done():
			return unwanted
		case <-timeout.C:
			if !c.wasReady(r) {
				return timedOut
			}
		}
	}
}

func (c *Cluster) wasReady(r *replica) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !r.readyAt.IsZero()
}

// found takes a finding of the prober.
func (c *Cluster) found(ctx context.Context, r *replica, workload Workload, ready bool) {
	c.update(ctx, r, func() {
		r.ready, r.problem = ready, ""
		if !ready {
			r.problem = workload.unreadyProblem()
		} else if r.readyAt.IsZero() {
			r.readyAt = time.Now()
		}
	})
	if ready {
		c.event(zerolog.InfoLevel, r).Msg("Replica is ready")
	} else {
		c.event(zerolog.WarnLevel, r).Msg(workload.unreadyProblem())
	}
}

// fail shows why the replica does not run and counts the failure, unless nobody wants the replica any more.
func (c *Cluster) fail(life context.Context, r *replica, problem string) {
	c.update(life, r, func() {
		var ready time.Duration
		if !r.readyAt.IsZero() {
			ready = time.Since(r.readyAt)
		}
		r.backoff.fail(time.Now(), ready)
		r.problem, r.readyAt = problem, time.Time{}
	})
	if life.Err() == nil {
		c.event(zerolog.WarnLevel, r).Dur("restart_in_ms", r.backoff.wait(time.Now())).Msg(problem)
	}
}

// event is a line of the log about a replica. It is written without the mutex, because a terminal may be stopped.
func (c *Cluster) event(level zerolog.Level, r *replica) *zerolog.Event {
	return c.logger.WithLevel(level).Str("function", r.set.name).Str("replica", c.nameOf(r))
}

// update changes a replica, unless the part of its life that ctx stands for is over.
func (c *Cluster) update(ctx context.Context, r *replica, change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	change()
	c.changed(r.set)
	c.reconcile(r.set, nil) //nolint:contextcheck // replicas live with Watch, not with this one
}
