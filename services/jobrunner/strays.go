package jobrunner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sluicefaas/sluice/pkg/job"
)

// stray is a Job of ours that belongs to no tracked run: one of a run that is over and kept by its TTL, one that was created too late, or one whose record was lost.
type stray struct {
	object job.Object
	// since is when it was first seen; sorted says that its record was looked for since then.
	since  time.Time
	sorted bool
}

// sortStrays looks for the runs of all Jobs that were seen before all records were known.
func (r *Runner) sortStrays() {
	for name := range r.strays {
		r.sort(name)
	}
}

// sort finds out what a Job is that belongs to no tracked run.
func (r *Runner) sort(name string) {
	s := r.strays[name]
	k := key{s.object.Definition, s.object.RunID}
	if r.tracked[k] != nil {
		return // under another name, or about to take this one
	}
	kept, recorded := r.shelf.get(k)
	switch {
	case recorded && kept.over() && s.object.End != "", !recorded && !s.object.Suspended && !restorable(s.object, time.Now()):
		delete(r.strays, name) // over and kept by its TTL, or about to go
	case s.sorted, !recorded && !restorable(s.object, time.Now()):
		// Nothing is to be done, or not yet: see lookAtStrays.
	default:
		s.sorted = true
		r.strays[name] = s
		t := r.track(k)
		t.doubts++
		r.name(t, name)
	}
}

// restorable reports whether a Job without a record may be one whose record was lost; job.Decide knows it exactly.
func restorable(o job.Object, now time.Time) bool {
	const kept = time.Hour // no record is removed before
	return o.Seed != nil && !o.Deleting && (o.Held || !o.Untouched()) && (o.End == "" || o.TTL == nil && now.Sub(o.FinishedAt) < kept)
}

// lookAtStrays deletes suspended Jobs that nobody has taken for long: whoever made them came too late, and they have run nothing.
func (r *Runner) lookAtStrays(now time.Time) {
	if !r.ready() {
		return
	}
	for name, s := range r.strays {
		if s.object.Untouched() && !s.object.Deleting && !s.object.Held && now.Sub(s.since) > r.timing.stray {
			s.since = now
			r.strays[name] = s
			r.turns.addWork(onCluster, r.reap(s.object))
			continue
		}
		r.sort(name)
	}
}

// reap deletes a Job unless it is the one that its record names.
func (r *Runner) reap(o job.Object) func(context.Context) func(time.Time) {
	return func(ctx context.Context) func(time.Time) {
		err := r.reapUnlessRecorded(ctx, o)
		return func(time.Time) {
			if err != nil {
				r.deps.Logger.Warn().Err(err).Str("job", o.Definition).Str("run", o.RunID).Msg("a Job that belongs to no run could not be deleted: it will be tried again")
			}
		}
	}
}

func (r *Runner) reapUnlessRecorded(ctx context.Context, o job.Object) error {
	run, revision, err := r.runs.Get(ctx, o.Definition, o.RunID)
	if err != nil {
		return err
	}
	if revision != 0 && (run.JobUID == o.UID || run.Phase == job.Creating && run.JobName == o.Name) {
		return nil
	}
	err = r.deps.Cluster.Delete(ctx, o.Name, o.UID, o.Version)
	if errors.Is(err, ErrChanged) {
		return nil // its run may have taken it since
	}
	if err != nil {
		return fmt.Errorf("delete the Job %s: %w", o.Name, err)
	}
	r.deps.Logger.Info().Str("job", o.Definition).Str("run", o.RunID).Str("name", o.Name).Msg("a suspended Job that belongs to no run is deleted")
	return nil
}
