package kube

import (
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/sluicefaas/sluice/pkg/job"
	"github.com/sluicefaas/sluice/pkg/kube"
)

// queueName is the label by which Kueue takes a Job into one of its queues: it suspends the Job, and lets it run when there is room.
const queueName = "kueue.x-k8s.io/queue-name"

// madeJob is what we keep of a Job of ours. It is never changed, only replaced.
type madeJob struct {
	uid types.UID
	// object has no pods yet.
	object job.Object
	// begun is when its controller began to make pods, zero while it is suspended.
	begun time.Time
}

// readJob keeps what matters of a Job.
func readJob(j *batchv1.Job) *madeJob {
	made := &madeJob{uid: j.UID, object: job.Object{
		Name: j.Name, UID: string(j.UID), Version: j.ResourceVersion, TTL: j.Spec.TTLSecondsAfterFinished,
		Suspended: ptr.Deref(j.Spec.Suspend, false), Held: isHeld(j), Deleting: j.DeletionTimestamp != nil,
		Counts: countsOf(&j.Status), Spent: isSpent(j),
	}}
	if j.Status.StartTime != nil {
		made.begun = j.Status.StartTime.Time
	}
	made.object.Recognise(j.Labels, j.Annotations)
	for i := range j.Status.Conditions {
		made.readEnd(&j.Status.Conditions[i])
	}
	return made
}

// isHeld reports whether somebody else lets the Job run: another controller than Kubernetes' own, or a queue.
func isHeld(j *batchv1.Job) bool {
	by := ptr.Deref(j.Spec.ManagedBy, batchv1.JobControllerName)
	return by != batchv1.JobControllerName || j.Labels[queueName] != ""
}

// isSpent reports whether its controller starts no further pod. The conditions that say so come before the end (Kubernetes 1.31), and before the counts of what has led to it.
func isSpent(j *batchv1.Job) bool {
	for _, c := range j.Status.Conditions {
		if c.Status == corev1.ConditionTrue && (c.Type == batchv1.JobFailureTarget || c.Type == batchv1.JobSuccessCriteriaMet) {
			return true
		}
	}
	limit, wanted := j.Spec.BackoffLimit, j.Spec.Completions
	return limit != nil && j.Status.Failed > *limit || wanted != nil && j.Status.Succeeded >= *wanted
}

func countsOf(s *batchv1.JobStatus) job.Counts {
	return job.Counts{
		Active: int(s.Active), Ready: int(ptr.Deref(s.Ready, 0)), Succeeded: int(s.Succeeded), Failed: int(s.Failed), Terminating: int(ptr.Deref(s.Terminating, 0)),
		CompletedIndexes: kube.Cut(s.CompletedIndexes, job.MaxMessage), FailedIndexes: kube.Cut(ptr.Deref(s.FailedIndexes, ""), job.MaxMessage),
	}
}

// readEnd takes the end of a Job from the conditions Complete and Failed alone: SuccessCriteriaMet and FailureTarget come while pods still run, and counts say nothing.
func (m *madeJob) readEnd(c *batchv1.JobCondition) {
	if c.Status != corev1.ConditionTrue {
		return
	}
	switch c.Type {
	case batchv1.JobComplete:
		m.object.End, m.object.EndReason = job.Succeeded, batchv1.JobReasonCompletionsReached
	case batchv1.JobFailed:
		m.object.End = job.Failed
	default:
		return
	}
	if c.Reason != "" {
		m.object.EndReason = c.Reason
	}
	m.object.FinishedAt = c.LastTransitionTime.UTC()
	m.object.EndMessage = kube.Cut(c.Message, job.MaxMessage)
}

// with is the Job with its pods, the oldest first, and with what keeps further ones from running.
func (m *madeJob) with(pods []*pod, failures map[types.UID]failure) job.Object {
	o := m.object
	slices.SortFunc(pods, byBirth)
	for _, p := range pods {
		if at := p.shown.StartedAt; !at.IsZero() && (o.StartedAt.IsZero() || at.Before(o.StartedAt)) {
			o.StartedAt = at
		}
	}
	if o.End == "" && !o.Suspended && !o.Deleting {
		t := m.trouble(pods, failures)
		o.Trouble, o.TroubleDetail = t.reason, t.detail
	}
	for _, p := range pods[max(0, len(pods)-job.MaxPods):] {
		o.Pods = append(o.Pods, p.shown)
	}
	return o
}

// putJob takes a Job as it is now. One that has our label and is not of a run is somebody else's.
func (v *view) putJob(j *batchv1.Job) {
	made := readJob(j)
	if made.object.RunID == "" {
		v.dropJob(j.UID)
		return
	}
	v.jobs[j.UID] = made
	v.touchJob(j.UID)
}

func (v *view) dropJob(uid types.UID) {
	v.touchJob(uid)
	delete(v.jobs, uid)
}
