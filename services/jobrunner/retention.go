package jobrunner

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/job"
)

// removeBatch bounds the records that one helper removes.
const removeBatch = 500

// keeping is the removal of what is old. The goroutine of Run owns it.
type keeping struct {
	// removing are the records that a helper is about to remove and of which the watch has told nothing since; nil while no helper is at work.
	removing map[key]struct{}
	next     time.Time
}

// retain begins to remove the records and the output of runs that are over for long, or of which there are too many.
func (r *Runner) retain(now time.Time) {
	if r.keeping.removing != nil || !r.ready() || now.Before(r.keeping.next) {
		return
	}
	r.keeping.next = now.Add(r.timing.retain)
	old := r.old(now)
	if len(old) == 0 {
		return
	}
	if len(old) > removeBatch {
		old, r.keeping.next = old[:removeBatch], now
	}
	r.keeping.removing = map[key]struct{}{}
	for _, k := range old {
		r.keeping.removing[k] = struct{}{}
	}
	r.turns.addWork(onOutput, func(ctx context.Context) func(time.Time) {
		removed := r.removeAll(ctx, old)
		return func(time.Time) { r.onRemovedRecords(removed) }
	})
}

// onRemovedRecords takes off the shelf what is removed, unless the watch was faster: then there may be another one under its id. What is left may have changed.
func (r *Runner) onRemovedRecords(removed []key) {
	left := r.keeping.removing
	r.keeping.removing = nil
	for _, k := range removed {
		if _, untold := left[k]; untold {
			r.shelf.take(k)
			delete(left, k)
		}
	}
	for k := range left {
		r.doubt(k)
	}
}

// old are the runs whose record goes. None goes soon: a Job that is over and has no record would be taken for one whose record was lost (see job.Decide).
func (r *Runner) old(now time.Time) (old []key) {
	for name, b := range r.shelf {
		ended := b.ended(name)
		extra := 0
		if r.config.HistoryLimit > 0 {
			extra = max(0, len(ended)-r.config.HistoryLimit)
		}
		for i, run := range ended {
			age := now.Sub(run.since())
			if age > r.timing.spared && (i < extra || age > r.config.History) {
				old = append(old, run.key)
			}
		}
	}
	return old
}

// shelvedRun is a record on the shelf with its key.
type shelvedRun struct {
	shelved
	key
}

// ended are the records of the definition that are over, the oldest first.
func (b *board) ended(definition string) (all []shelvedRun) {
	for id, kept := range b.runs {
		if kept.over() {
			all = append(all, shelvedRun{kept, key{definition, id}})
		}
	}
	sortByAge(all)
	return all
}

func sortByAge(all []shelvedRun) {
	slices.SortFunc(all, func(a, b shelvedRun) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.sequence, b.sequence), cmp.Compare(a.id, b.id))
	})
}

// removeAll removes records with their output, as far as it gets, and returns those that are gone.
func (r *Runner) removeAll(ctx context.Context, old []key) (removed []key) {
	for _, k := range old {
		gone, err := r.removeRecord(ctx, k)
		if ctx.Err() != nil {
			return removed
		}
		if err != nil {
			r.deps.Logger.Warn().Err(err).Str("job", k.definition).Str("run", k.id).Msg("an old record could not be removed: it will be tried again")
		}
		if gone {
			removed = append(removed, k)
		}
	}
	return removed
}

// removeRecord removes what the run has left in the queue and the output first: as long as there is a record, somebody knows of it. It reports whether there is no record any more.
func (r *Runner) removeRecord(ctx context.Context, k key) (removed bool, err error) {
	run, revision, err := r.runs.Get(ctx, k.definition, k.id)
	if err != nil || revision == 0 || !run.Closed {
		return err == nil && revision == 0, err
	}
	if found, err := r.clearQueue(ctx, run); err != nil || found {
		return false, err // next time: what was found may be on its way to somebody
	}
	for _, part := range run.Log {
		if err := r.deps.Bus.DeleteLog(ctx, part.Object); err != nil {
			return false, err
		}
	}
	err = r.runs.Remove(ctx, k.definition, k.id, revision)
	if errors.Is(err, bus.ErrOvertaken) {
		return false, nil
	}
	return err == nil, err
}

// clearQueue takes the request of a run that is over out of the queue, and reports whether it was there: nobody has taken it, or its ack was lost. Without its record it would run.
func (r *Runner) clearQueue(ctx context.Context, run job.Run) (found bool, err error) {
	request, found, err := r.findRequest(ctx, run)
	if err != nil || !found {
		return false, err
	}
	fate := job.Decide(job.Sight{Known: true, Run: run, Message: &request, Accepted: &job.Run{SpecHash: job.RequestHash(request)}})
	switch {
	case run.Reason == job.ReasonDefinitionDeleted:
		fate.Reason, fate.Detail = reasonUnknownJob, run.Message
	case fate.Step != job.Bury:
		return true, r.deps.Bus.DropJob(ctx, run.Sequence)
	}
	if err := r.deps.Bus.BuryJobAt(ctx, run.Sequence, fate.Reason, fate.Detail); err != nil {
		return true, err
	}
	r.metrics.buried(fate.Reason)
	r.deps.Logger.Warn().Str("job", run.Definition).Str("run", run.ID).Str("reason", fate.Reason).Str("detail", fate.Detail).Msg("the request is kept as a dead letter")
	return true, nil
}
