package local

import (
	"time"

	"github.com/sluicefaas/sluice/pkg/job"
)

const (
	// firstJobBackoff and maxJobBackoff are Kubernetes' delays before a pod that has failed is replaced: 10 s, 20 s, 40 s … 6 min
	// (https://kubernetes.io/docs/concepts/workloads/controllers/job/#pod-backoff-failure-policy).
	firstJobBackoff = 10 * time.Second
	maxJobBackoff   = 6 * time.Minute
	// keptWithoutTTL is how long a Job without ttlSecondsAfterFinished stays after its end, because nobody removes it by hand here. Its run and output are kept by
	// the jobrunner, which has had that time to take them.
	keptWithoutTTL = time.Hour
)

// jobLimits are what a Job's spec says about its processes.
type jobLimits struct {
	backoffLimit int
	// restarts says that a process that has failed is started again in the same pod (restartPolicy OnFailure).
	restarts bool
	// deadline is activeDeadlineSeconds, 0 for none.
	deadline                 time.Duration
	completions, parallelism int
	// backoff is the delay after the first failure.
	backoff time.Duration
	// read is when a Job of an earlier run was read, so that the jobrunner has time for it.
	read time.Time
}

// jobStep is what to do next for a Job.
type jobStep struct {
	kind jobStepKind
	// at is when to ask again if nothing has changed before; zero for never.
	at time.Time
	// end, reason and message are those of finishJob.
	end             job.Phase
	reason, message string
}

type jobStepKind int

const (
	restJob   jobStepKind = iota
	startPod              // one process
	endPods               // all processes, then ask again
	finishJob             // no process is there
	removeJob             // the same
)

// plan is the next step of a Job: the Job controller of the local mode. It depends on nothing but its arguments.
func (r *jobRecord) plan(now time.Time, limits jobLimits) jobStep {
	running := r.count(podRunning)
	switch {
	case r.Deleting && running > 0:
		return jobStep{kind: endPods}
	case r.Deleting:
		return jobStep{kind: removeJob}
	case r.End != "":
		return r.planRemoval(now, limits)
	case r.Suspended:
		return jobStep{}
	}
	verdict := r.verdict(now, limits)
	switch {
	case verdict.kind == finishJob && running > 0:
		return jobStep{kind: endPods}
	case verdict.kind == finishJob:
		return verdict
	}
	retry := r.retryAt(limits.backoff)
	missing := min(limits.parallelism, limits.completions-r.Succeeded) - running
	switch {
	case missing > 0 && !now.Before(retry):
		return jobStep{kind: startPod}
	case missing > 0:
		return jobStep{at: earliest(retry, r.deadline(limits))}
	}
	return jobStep{at: r.deadline(limits)}
}

// planRemoval waits for the TTL, which counts from the end.
func (r *jobRecord) planRemoval(now time.Time, limits jobLimits) jobStep {
	due := later(r.FinishedAt, limits.read).Add(keptWithoutTTL)
	if r.TTL != nil {
		due = r.FinishedAt.Add(time.Duration(*r.TTL) * time.Second)
	}
	if now.Before(due) {
		return jobStep{at: due}
	}
	return jobStep{kind: removeJob}
}

// verdict says whether the Job is over, in Kubernetes' words. A success counts although the deadline has passed meanwhile; what is ended
// because of the deadline is a failure, which does not hide it.
func (r *jobRecord) verdict(now time.Time, limits jobLimits) jobStep {
	deadline := r.deadline(limits)
	switch {
	case r.Succeeded >= limits.completions:
		return jobStep{kind: finishJob, end: job.Succeeded, reason: job.ReasonCompletionsReached}
	case !deadline.IsZero() && !now.Before(deadline):
		return jobStep{kind: finishJob, end: job.Failed, reason: reasonDeadlineExceeded, message: "Job was active longer than specified deadline"}
	case r.Failures > limits.backoffLimit:
		return jobStep{kind: finishJob, end: job.Failed, reason: reasonBackoffLimitExceeded, message: "Job has reached the specified backoff limit"}
	}
	return jobStep{}
}

// Kubernetes' reasons of a Job's failure.
const (
	reasonDeadlineExceeded     = "DeadlineExceeded"
	reasonBackoffLimitExceeded = "BackoffLimitExceeded"
)

// deadline is when the Job may be active no more; zero for never.
func (r *jobRecord) deadline(limits jobLimits) time.Time {
	if limits.deadline == 0 {
		return time.Time{}
	}
	return r.ResumedAt.Add(limits.deadline)
}

// retryAt is when the next process may be started.
func (r *jobRecord) retryAt(first time.Duration) time.Time {
	if r.Failures == 0 {
		return time.Time{}
	}
	const enough = 20 // doublings, so that nothing overflows
	return r.FailedAt.Add(min(first<<min(r.Failures-1, enough), maxJobBackoff))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// earliest is the earlier one of two times, where zero is never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// retryIn is how long a Job waits for its next process after a failure; 0 if there is none to wait for.
func (r *jobRecord) retryIn(now time.Time, limits jobLimits) time.Duration {
	if r.Failures == 0 || r.Failures > limits.backoffLimit || r.Succeeded >= limits.completions || r.Deleting {
		return 0
	}
	return max(r.retryAt(limits.backoff).Sub(now), 0)
}
