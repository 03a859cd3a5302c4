package jobrunner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sluicefaas/sluice/pkg/job"
)

// step is what is to be done next for a run.
type step struct {
	place place
	work  work
}

// consider decides about the run, unless a helper is at work for it.
func (r *Runner) consider(t *tracked, now time.Time) {
	r.recount(t)
	r.followOutputs(t)
	t.due = time.Time{}
	if t.busy || r.tracked[t.key] != t {
		return
	}
	if next, ok := r.next(t, now); ok {
		r.turns.add(next.place, t)
		return
	}
	r.rest(t, now)
}

// next is the step that is due for the run: that of job.Decide, or one that brings what Decide wants to know.
func (r *Runner) next(t *tracked, now time.Time) (step, bool) {
	if s := t.said; s != nil && t.creating() && t.run.Reason != s.reason {
		return r.say(t, s, now), true
	}
	switch {
	case now.Before(t.notBefore):
		r.wakeAt(t, t.notBefore)
		return step{}, false
	case t.doubts > 0:
		return r.readRecord(t), true
	case r.deleted(t, now):
		return r.store(t, ended(t.run, job.Ending{Phase: job.Cancelled, Reason: job.ReasonDefinitionDeleted, Message: r.whyUnknown(t.definition), At: now})), true
	}
	return r.decided(t, job.Decide(r.sight(t, now)), now)
}

// decided makes a step of what was decided.
func (r *Runner) decided(t *tracked, a job.Action, now time.Time) (step, bool) {
	switch a.Step {
	case job.Store:
		return r.store(t, a.Record), true
	case job.Look, job.Create, job.Resume, job.Delete, job.Arm:
		return r.ask(t, a), true
	case job.Capture:
		return r.capture(t), true
	case job.Announce:
		if !t.dropped && droppable(t.run) {
			return r.drop(t), true
		}
		return r.announce(t), true
	case job.Ack:
		if t.run.Phase.Final() && t.run.Reason == job.ReasonDefinitionDeleted {
			return r.bury(t, reasonUnknownJob, t.run.Message), true
		}
		return r.acknowledge(t), true
	case job.Bury:
		return r.bury(t, a.Reason, a.Detail), true
	}
	if !a.Until.IsZero() {
		r.wakeAt(t, a.Until)
	}
	return r.lookAgain(t, now)
}

// ask is a step that asks the cluster.
func (r *Runner) ask(t *tracked, a job.Action) step {
	switch a.Step {
	case job.Create:
		return r.create(t)
	case job.Resume:
		return r.resume(t, a.UID)
	case job.Delete:
		return r.remove(t, a.UID)
	case job.Arm:
		return r.arm(t, a.UID)
	}
	return r.look(t)
}

// droppable reports whether the request of a run that has ended in the queue is of no use any more. Others are kept as dead letters when they are taken.
func droppable(run job.Run) bool {
	cancelled := run.Phase == job.Cancelled && run.Reason != job.ReasonDefinitionDeleted
	return run.JobUID == "" && run.Sequence != 0 && (cancelled || run.Reason == job.ReasonQueueDeadlineExceeded)
}

// lookAgain asks about a Job that is on its way out, now and then.
func (r *Runner) lookAgain(t *tracked, now time.Time) (step, bool) {
	leaving := t.object != nil && t.looked && (t.object.Deleting || t.run.Ending != nil)
	if !t.known || t.run.Closed || !leaving {
		return step{}, false
	}
	if due := t.lookedAt.Add(r.timing.relook); now.Before(due) {
		r.wakeAt(t, due)
		return step{}, false
	}
	return r.look(t), true
}

// passed tells a test of a step that has been done.
func (r *Runner) passed(s job.Step, run job.Run) {
	if r.deps.Passed != nil {
		r.deps.Passed(s, run)
	}
}

func (r *Runner) look(t *tracked) step {
	name, run := t.name, t.run
	return step{onCluster, func(ctx context.Context) func(time.Time) {
		object, err := r.deps.Cluster.Get(ctx, name)
		if err == nil {
			r.passed(job.Look, run)
		}
		return func(now time.Time) {
			if r.onCluster(t, err, now) {
				t.hasLooked(object, now)
			}
		}
	}}
}

// create makes the Job, or looks at the one that is there. Nothing is known after any other error than a refusal: the Job is created again, under the same name.
func (r *Runner) create(t *tracked) step {
	run := t.run
	return step{onCluster, func(ctx context.Context) func(time.Time) {
		c := r.createOrGet(ctx, run)
		if c.err == nil {
			r.passed(job.Create, run)
		}
		return func(now time.Time) { r.onCreated(t, c, now) }
	}}
}

// createOrGet asks for the Job. Whatever it is refused for, it may be there already, and even be the very one that fills the quota.
func (r *Runner) createOrGet(ctx context.Context, run job.Run) creation {
	object, err := r.post(ctx, run)
	c := creation{object: object, outcome: outcomeCreated, err: err}
	switch {
	case err == nil:
		return c
	case errors.Is(err, ErrExists):
		c.outcome = outcomeExists
	case errors.Is(err, ErrQuota):
		c.outcome, c.denied = outcomeQuota, &job.Denial{Reason: job.ReasonJobQuotaExceeded, Message: err.Error()}
	case errors.Is(err, ErrInvalid):
		c.outcome, c.denied = outcomeInvalid, &job.Denial{ForGood: true, Reason: job.ReasonInvalidSpec, Message: err.Error()}
	default:
		c.outcome = outcomeError
		return c
	}
	if c.object, c.err = r.deps.Cluster.Get(ctx, run.JobName); c.err != nil || c.object != nil {
		c.denied = nil
	}
	return c
}

// post asks for the Job. A record that makes none is refused as the API server would.
func (r *Runner) post(ctx context.Context, run job.Run) (*job.Object, error) {
	manifest, err := job.Manifest(run, r.deps.Cluster.Namespace())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return r.deps.Cluster.Create(ctx, manifest)
}

// resume lets the Job run that was looked at. A Job that has changed, or may have been resumed, is looked at again.
func (r *Runner) resume(t *tracked, uid string) step {
	run, name, version := t.run, t.object.Name, t.object.Version
	return step{onCluster, func(ctx context.Context) func(time.Time) {
		object, err := r.deps.Cluster.Resume(ctx, name, uid, version)
		if err == nil {
			r.passed(job.Resume, run)
		}
		return func(now time.Time) { r.onResumed(t, object, err, now) }
	}}
}

func (r *Runner) onResumed(t *tracked, object *job.Object, err error, now time.Time) {
	if errors.Is(err, ErrChanged) || !r.onCluster(t, err, now) || object == nil {
		t.looked = false
		return
	}
	t.hasLooked(object, now)
}

// remove begins to delete the Job.
func (r *Runner) remove(t *tracked, uid string) step {
	run, name := t.run, t.object.Name
	return step{onCluster, func(ctx context.Context) func(time.Time) {
		err := r.deps.Cluster.Delete(ctx, name, uid, "")
		if err == nil {
			r.passed(job.Delete, run)
		}
		return func(now time.Time) { r.onRemoved(t, err, now) }
	}}
}

// onRemoved takes what became of a deletion. After a failure the Job stays in sight as a hint, as if the watch told of it once more: nobody else may remind us of it.
func (r *Runner) onRemoved(t *tracked, err error, now time.Time) {
	t.looked = false
	if r.onCluster(t, err, now) {
		t.object = nil
	} else {
		t.kept = false // it may still end by itself
	}
}

// arm gives the Job its TTL.
func (r *Runner) arm(t *tracked, uid string) step {
	run, name, ttl := t.run, t.object.Name, *t.run.TTL
	return step{onCluster, func(ctx context.Context) func(time.Time) {
		err := r.deps.Cluster.Arm(ctx, name, uid, ttl)
		if err == nil {
			r.passed(job.Arm, run)
		}
		return func(now time.Time) {
			if !r.onCluster(t, err, now) {
				t.looked = false
				return
			}
			if t.object != nil && t.object.UID == uid {
				armed := *t.object
				armed.TTL = &ttl
				t.object = &armed
			}
		}
	}}
}
