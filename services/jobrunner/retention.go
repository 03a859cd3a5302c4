package jobrunner

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
)

// removeBatch bounds the records that one helper removes.
const removeBatch = 500

// keeping is the removal of what is old. The goroutine of Run owns it.
type keeping struct {
	running bool
	next    time.Time
}

// retain begins to remove the records and the output of runs that are over for long, or of which there are too many.
func (r *Runner) retain(now time.Time) {
	if r.keeping.running || !r.ready() || now.Before(r.keeping.next) {
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
	r.keeping.running = true
	r.turns.addWork(onOutput, func(ctx context.Context) func(time.Time) {
		removed := r.removeAll(ctx, old)
		return func(time.Time) {
			r.keeping.running = false
			for _, k := range removed {
				r.shelf.take(k)
			}
		}
	})
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
		err := r.removeRecord(ctx, k)
		if ctx.Err() != nil {
			return removed
		}
		if err != nil {
			r.deps.Logger.Warn().Err(err).Str("job", k.definition).Str("run", k.id).Msg("an old record could not be removed: it will be tried again")
			continue
		}
		removed = append(removed, k)
	}
	return removed
}

// removeRecord removes the output first: as long as there is a record, somebody knows of it.
func (r *Runner) removeRecord(ctx context.Context, k key) error {
	run, revision, err := r.runs.Get(ctx, k.definition, k.id)
	if err != nil || revision == 0 || !run.Closed {
		return err
	}
	for _, part := range run.Log {
		if err := r.deps.Bus.DeleteLog(ctx, part.Object); err != nil {
			return err
		}
	}
	if err := r.runs.Remove(ctx, k.definition, k.id, revision); err != nil && !errors.Is(err, bus.ErrOvertaken) {
		return err
	}
	return nil
}
