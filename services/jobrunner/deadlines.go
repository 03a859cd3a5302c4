package jobrunner

import (
	"time"

	"github.com/sluicefaas/sluice/pkg/job"
)

// lookAtDeadlines takes records off the shelf whose time to be started is over, and ends runs that wait for a job that is not defined any more.
func (r *Runner) lookAtDeadlines(now time.Time) {
	if !r.read {
		return
	}
	for name, b := range r.shelf {
		if b.counts[0]+b.counts[1] == 0 {
			continue
		}
		for id, kept := range b.runs {
			if !kept.over() && kept.deadline > 0 && !now.Before(kept.since().Add(time.Duration(kept.deadline)*time.Second)) {
				r.track(key{name, id})
			}
		}
	}
	if !r.observed {
		return
	}
	for name, held := range r.slots.held {
		if _, defined := r.catalog.active[name]; defined {
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

// deleted reports whether the run has waited for too long for a definition that is gone.
func (r *Runner) deleted(t *tracked, now time.Time) bool {
	if _, defined := r.catalog.active[t.definition]; defined {
		t.undefined = time.Time{}
	}
	return t.delivery != nil && t.waits() && !t.undefined.IsZero() && now.Sub(t.undefined) > r.timing.unknown
}

// ended notes how a run is to end.
func ended(run job.Run, how job.Ending) job.Run {
	how.Message = how.Message[:min(len(how.Message), job.MaxMessage)]
	run.Ending = &how
	return run
}
