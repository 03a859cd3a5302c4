package jobrunner

import (
	"math/rand/v2"
	"time"

	"github.com/sluicefaas/sluice/pkg/job"
)

// Outcomes of a creation, as the metric has them.
const (
	outcomeCreated = "created"
	outcomeExists  = "exists"
	outcomeQuota   = "quota"
	outcomeInvalid = "invalid"
	outcomeError   = "error"
)

// creation is what came of one: the Job that is there now, or why there is none.
type creation struct {
	object  *job.Object
	outcome string
	denied  *job.Denial
	err     error
}

// troubles are what does not work at the moment.
type troubles struct {
	failing [places]bool
	// full says that the namespace has no room for another Job, and probe when the next one is tried all the same.
	full  bool
	probe time.Time
}

func (h *troubles) over(p place) { h.failing[p] = false }

// failed puts the run's next step off. The first failure of many is logged.
func (r *Runner) failed(t *tracked, p place, err error, now time.Time) {
	r.putOff(t, p, now)
	if !r.troubles.failing[p] {
		r.deps.Logger.Warn().Err(err).Str("job", t.definition).Str("run", t.id).Msg(p.String() + " does not do what runs need: it will be tried again")
	}
	r.troubles.failing[p] = true
}

// putOff lets the run's next step wait, the longer the more in a row have failed.
func (r *Runner) putOff(t *tracked, p place, now time.Time) {
	if t.failedOn != p {
		t.failures = 0
	}
	t.failures, t.failedOn = t.failures+1, p
	t.notBefore = now.Add(r.pause(t.failures))
	r.review(t.definition) // others need not wait for it
}

// unreadable puts a run off whose record somebody has to mend or remove: its request waits in our hands.
func (r *Runner) unreadable(t *tracked, err error, now time.Time) {
	if r.putOff(t, onBus, now); t.failures == 1 {
		r.deps.Logger.Error().Err(err).Str("job", t.definition).Str("run", t.id).Msg("the record of a run cannot be read: the run waits until somebody has removed it")
	}
}

// pause is how long a step waits that has failed so many times in a row.
func (r *Runner) pause(failures int) time.Duration {
	longest := r.timing.most
	if shift := failures - 1; shift < 16 {
		longest = min(longest, r.timing.least<<shift)
	}
	return longest/2 + rand.N(longest/2+1) //nolint:gosec // steps that are repeated at different times need no secrecy
}

// worked notes a step that has succeeded. Where others have failed, they need not wait any longer.
func (r *Runner) worked(t *tracked, p place, now time.Time) {
	if t.failedOn == p {
		t.failures = 0
	}
	if !r.troubles.failing[p] {
		return
	}
	r.troubles.over(p)
	r.deps.Logger.Info().Msg(p.String() + " works again")
	for _, other := range r.tracked {
		if other.failures > 0 && other.failedOn == p {
			other.notBefore = now
			r.touch(other)
		}
	}
	r.retryChecks(now)
}

// onCluster takes the result of a request to the cluster, and reports whether it has succeeded.
func (r *Runner) onCluster(t *tracked, err error, now time.Time) bool {
	if err != nil {
		r.failed(t, onCluster, err, now)
		return false
	}
	r.worked(t, onCluster, now)
	return true
}

func (r *Runner) onCreated(t *tracked, c creation, now time.Time) {
	r.metrics.creates.WithLabelValues(c.outcome).Inc()
	if c.err != nil {
		t.looked = false
		t.said = &said{job.ReasonAPIServerUnavailable, c.err.Error()}
		r.failed(t, onCluster, c.err, now)
		return
	}
	r.worked(t, onCluster, now)
	t.hasLooked(c.object, now)
	t.denied, t.said = c.denied, nil
	switch {
	case c.denied == nil && r.troubles.full:
		r.onRoom()
	case c.denied == nil:
	case c.denied.ForGood:
		r.deps.Logger.Error().Str("job", t.definition).Str("run", t.id).Str("reason", c.denied.Message).Msg("the Job is refused: the run has failed")
	default:
		r.onFull(t, now)
	}
}

// onFull lets no further request have a slot until there is room in the namespace, which one of them finds out.
func (r *Runner) onFull(t *tracked, now time.Time) {
	if !r.troubles.full {
		r.deps.Logger.Warn().Str("job", t.definition).Str("run", t.id).Str("reason", t.denied.Message).
			Msg("the namespace has no room for another Job: none is created until one is gone")
	}
	r.troubles.full, r.troubles.probe = true, now.Add(r.timing.quota)
	r.alarm.set(r.troubles.probe)
}

// onRoom lets all requests have slots again.
func (r *Runner) onRoom() {
	r.deps.Logger.Info().Msg("the namespace has room for Jobs again")
	r.troubles.full = false
	for _, t := range r.tracked {
		if t.denied != nil && !t.denied.ForGood {
			t.denied = nil
		}
	}
	r.reviewAll()
}

// probeFull lets one request try whether there is room again.
func (r *Runner) probeFull(now time.Time) {
	if r.troubles.full {
		r.troubles.probe = now
		r.reviewAll()
	}
}
