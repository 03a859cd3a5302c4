package kube

import (
	"fmt"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/sluicefaas/sluice/pkg/job"
)

// birth is when the objects of the unit tests were made; second shifts it.
var birth = time.Date(2026, 3, 29, 0, 59, 30, 0, time.UTC)

func second(n int) metav1.Time { return metav1.NewTime(birth.Add(time.Duration(n) * time.Second)) }

// aJob is one of ours, which runs since a second after its birth.
func aJob(uid string, edit func(*batchv1.Job)) *batchv1.Job {
	j := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Name: "fibonacci-x-1", UID: types.UID(uid), ResourceVersion: "7", CreationTimestamp: second(0),
			Labels:      map[string]string{"app.kubernetes.io/managed-by": "sluice", "sluice/definition": "fibonacci", "sluice/run-id": "a", "sluice/attempt": "2"},
			Annotations: map[string]string{"sluice/spec-hash": "hash", "sluice/run": `{"runId":"a","definition":"fibonacci","phase":"Queued"}`},
		},
		Spec:   batchv1.JobSpec{Suspend: ptr.To(false)},
		Status: batchv1.JobStatus{StartTime: ptr.To(second(1))},
	}
	if edit != nil {
		edit(j)
	}
	return j
}

func condition(kind batchv1.JobConditionType, reason, message string) func(*batchv1.Job) {
	return func(j *batchv1.Job) {
		j.Status.Conditions = append(j.Status.Conditions, batchv1.JobCondition{
			Type: kind, Status: corev1.ConditionTrue, Reason: reason, Message: message, LastTransitionTime: second(60),
		})
	}
}

func TestJobIsReadAsItIs(t *testing.T) {
	o := readJob(aJob("u", func(j *batchv1.Job) {
		j.Spec.Suspend, j.Spec.TTLSecondsAfterFinished = nil, ptr.To[int32](5)
		j.Status.Active, j.Status.Ready, j.Status.Succeeded, j.Status.Failed, j.Status.Terminating = 5, ptr.To[int32](4), 3, 2, ptr.To[int32](1)
		j.Status.CompletedIndexes, j.Status.FailedIndexes = "0-2,7", ptr.To("5")
	})).object
	counts := job.Counts{Active: 5, Ready: 4, Succeeded: 3, Failed: 2, Terminating: 1, CompletedIndexes: "0-2,7", FailedIndexes: "5"}
	if o.Name != "fibonacci-x-1" || o.UID != "u" || o.Version != "7" || o.RunID != "a" || o.Definition != "fibonacci" || o.Attempt != 2 || o.SpecHash != "hash" ||
		o.Seed == nil || o.Seed.ID != "a" || o.Suspended || o.Held || o.Deleting || *o.TTL != 5 || o.Counts != counts || o.End != "" || !o.FinishedAt.IsZero() {
		t.Errorf("it is %+v", o)
	}
	if o := readJob(&batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "j", Labels: map[string]string{"sluice/run-id": "a"}}}).object; o.RunID != "" || o.Seed != nil {
		t.Errorf("somebody else's is %+v", o)
	}
}

// H5: the end is in the conditions alone. What counts say, and the conditions that come before the pods have ended, is none.
func TestH5EndsAreConditions(t *testing.T) {
	for _, c := range []struct {
		name   string
		edits  []func(*batchv1.Job)
		end    job.Phase
		reason string
	}{
		{"one has failed, and may be tried again", []func(*batchv1.Job){func(j *batchv1.Job) { j.Status.Failed = 1 }}, "", ""},
		{"all have succeeded", []func(*batchv1.Job){func(j *batchv1.Job) { j.Status.Succeeded = 1 }}, "", ""},
		{"it is about to fail", []func(*batchv1.Job){condition(batchv1.JobFailureTarget, "BackoffLimitExceeded", "")}, "", ""},
		{"it is about to succeed", []func(*batchv1.Job){condition(batchv1.JobSuccessCriteriaMet, "SuccessPolicy", "")}, "", ""},
		{"it is suspended", []func(*batchv1.Job){condition(batchv1.JobSuspended, "JobSuspended", "")}, "", ""},
		{"a condition that does not hold", []func(*batchv1.Job){condition(batchv1.JobFailed, "x", ""), func(j *batchv1.Job) { j.Status.Conditions[0].Status = corev1.ConditionFalse }}, "", ""},
		{"complete, of an old Kubernetes", []func(*batchv1.Job){condition(batchv1.JobComplete, "", "")}, job.Succeeded, "CompletionsReached"},
		{"complete", []func(*batchv1.Job){condition(batchv1.JobSuccessCriteriaMet, "CompletionsReached", ""), condition(batchv1.JobComplete, "CompletionsReached", "")}, job.Succeeded, "CompletionsReached"},
		{"by its success policy", []func(*batchv1.Job){condition(batchv1.JobSuccessCriteriaMet, "SuccessPolicy", ""), condition(batchv1.JobComplete, "SuccessPolicy", "")}, job.Succeeded, "SuccessPolicy"},
		{"failed", []func(*batchv1.Job){condition(batchv1.JobFailureTarget, "x", ""), condition(batchv1.JobFailed, "BackoffLimitExceeded", "it was tried\nonce")}, job.Failed, "BackoffLimitExceeded"},
		{"too late, although one has succeeded", []func(*batchv1.Job){func(j *batchv1.Job) { j.Status.Succeeded = 1 }, condition(batchv1.JobFailed, "DeadlineExceeded", "")}, job.Failed, "DeadlineExceeded"},
	} {
		o := readJob(aJob("u", func(j *batchv1.Job) {
			for _, edit := range c.edits {
				edit(j)
			}
		})).object
		if o.End != c.end || o.EndReason != c.reason || o.FinishedAt.IsZero() == (c.end != "") {
			t.Errorf("%s: it has ended as %q for %q at %v", c.name, o.End, o.EndReason, o.FinishedAt)
		}
		if c.end != "" && !o.FinishedAt.Equal(second(60).Time) {
			t.Errorf("%s: it has ended at %v", c.name, o.FinishedAt)
		}
		if c.name == "failed" && o.EndMessage != "it was tried once" {
			t.Errorf("it says %q", o.EndMessage)
		}
	}
}

// Whether a further pod will come after one that has failed.
func TestJobsThatAreSpent(t *testing.T) {
	failed := func(pods, limit int32) func(*batchv1.Job) {
		return func(j *batchv1.Job) {
			j.Status.Failed, j.Spec.BackoffLimit, j.Spec.Completions = pods, ptr.To(limit), ptr.To[int32](2)
		}
	}
	for name, c := range map[string]struct {
		edit func(*batchv1.Job)
		want bool
	}{
		"none has failed":                   {failed(0, 0), false},
		"it may be tried again":             {failed(1, 1), false},
		"it may not":                        {failed(1, 0), true},
		"it may be, but its policy forbids": {func(j *batchv1.Job) { failed(1, 6)(j); condition(batchv1.JobFailureTarget, "PodFailurePolicy", "")(j) }, true},
		"it would have failed": {func(j *batchv1.Job) {
			failed(1, 6)(j)
			condition(batchv1.JobFailureTarget, "", "")(j)
			j.Status.Conditions[0].Status = corev1.ConditionFalse
		}, false},
		"its policy takes that for a success": {condition(batchv1.JobSuccessCriteriaMet, "SuccessPolicy", ""), true},
		"one of two has succeeded":            {func(j *batchv1.Job) { failed(1, 6)(j); j.Status.Succeeded = 1 }, false},
		"both have succeeded":                 {func(j *batchv1.Job) { failed(1, 6)(j); j.Status.Succeeded = 2 }, true},
		"it says nothing":                     {func(j *batchv1.Job) { j.Status.Failed = 1 }, false},
	} {
		if got := readJob(aJob("u", c.edit)).object.Spent; got != c.want {
			t.Errorf("%s: spent is %v", name, got)
		}
	}
}

// Who else lets a Job run.
func TestHeldJobs(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*batchv1.Job)
		want bool
	}{
		"nobody else":                       {nil, false},
		"Kubernetes' own controller":        {func(j *batchv1.Job) { j.Spec.ManagedBy = ptr.To("kubernetes.io/job-controller") }, false},
		"another controller":                {func(j *batchv1.Job) { j.Spec.ManagedBy = ptr.To("kueue.x-k8s.io/multikueue") }, true},
		"a queue of Kueue":                  {func(j *batchv1.Job) { j.Labels["kueue.x-k8s.io/queue-name"] = "user-queue" }, true},
		"the definition's own is suspended": {func(j *batchv1.Job) { j.Annotations["sluice/held"] = "true" }, true},
	} {
		if got := readJob(aJob("u", c.edit)).object.Held; got != c.want {
			t.Errorf("%s: held is %v", name, got)
		}
	}
}

// The oldest pod comes first, of many only the newest come, and the Job has begun with the first of all.
func TestPodsOfAJob(t *testing.T) {
	var pods []*pod
	for i := range 60 {
		p, _ := readPod(aPod(fmt.Sprint("p-", i), "u", func(p *corev1.Pod) {
			p.CreationTimestamp = second(100 - i)
			if i == 59 { // the oldest
				p.Status.Phase = corev1.PodFailed
				p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", State: ended(1, 42, 43)}}
			}
		}))
		pods = append(pods, p)
	}
	o := readJob(aJob("u", nil)).with(pods, nil)
	if len(o.Pods) != job.MaxPods || o.Pods[job.MaxPods-1].Name != "p-0" || o.Pods[0].Name != "p-49" || !o.StartedAt.Equal(second(42).Time) {
		t.Errorf("%d pods, from %s to %s, since %v", len(o.Pods), o.Pods[0].Name, o.Pods[len(o.Pods)-1].Name, o.StartedAt)
	}
}
