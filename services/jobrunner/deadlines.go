package jobrunner

import (
	"time"

	"github.com/sluicefaas/sluice/pkg/job"
)

// maxEndings bounds the runs that a tick begins to end in the queue: their records are in memory until they are over.
const maxEndings = 500

// lookAtDeadlines takes records off the shelf whose runs are to end in the queue: their time to be started is over, or their job has not been defined for the grace.
func (r *Runner) lookAtDeadlines(now time.Time) {
	if !r.read {
		return
	}
	endings := 0
	for name, b := range r.shelf {
		r.noteUndefined(name, b, now)
		if b.waiting() == 0 {
			continue
		}
		for id, kept := range b.runs {
			if kept.over() || !kept.late(now) && !r.graceOver(b.undefined, now) {
				continue
			}
			if endings++; endings > maxEndings {
				return // the others have the next ticks
			}
			r.track(key{name, id}).undefined = b.undefined
		}
	}
	for name, held := range r.slots.held {
		if !r.isGone(name) {
			continue
		}
		for t := range held {
			if t.undefined.IsZero() {
				t.undefined = now
			}
			r.touch(t)
		}
	}
}

// late reports whether a record that waits should have been started by now.
func (s shelved) late(now time.Time) bool {
	return s.deadline > 0 && !now.Before(s.since().Add(time.Duration(s.deadline)*time.Second))
}

// noteUndefined notes since when there has been no definition for the runs of a board that wait.
func (r *Runner) noteUndefined(name string, b *board, now time.Time) {
	switch {
	case b.waiting() == 0 || !r.isGone(name):
		b.undefined = time.Time{}
	case b.undefined.IsZero():
		b.undefined = now
	}
}

// isGone reports whether nobody defines the job. Before the cluster has told its definitions nobody knows that, nor while it has not said whether it takes the one that there is.
func (r *Runner) isGone(name string) bool {
	if _, defined := r.catalog.active[name]; defined || !r.observed {
		return false
	}
	k := r.kinds[name]
	return k == nil || k.wanted() == nil || k.checked == k.wanted().Generation
}

// graceOver reports whether there has been no definition for so long that nobody waits for it any more. Zero is for one that there is.
func (r *Runner) graceOver(undefined, now time.Time) bool {
	return !undefined.IsZero() && now.Sub(undefined) > r.timing.unknown
}

// deleted reports whether the run has waited for too long for a definition that is gone.
func (r *Runner) deleted(t *tracked, now time.Time) bool {
	if !r.isGone(t.definition) {
		t.undefined = time.Time{}
	}
	return t.waits() && r.graceOver(t.undefined, now)
}

// ended notes how a run is to end.
func ended(run job.Run, how job.Ending) job.Run {
	how.Message = how.Message[:min(len(how.Message), job.MaxMessage)]
	run.Ending = &how
	return run
}
