package kube

import (
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/utils/ptr"

	"github.com/sluicefaas/sluice/pkg/job"
	"github.com/sluicefaas/sluice/services/jobrunner/jobrunnertest"
)

// H5: a Job one of whose pods has failed and that may be tried again has not ended.
func TestH5RetriesAreNoEnd(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	cluster := n.cluster()
	recorder, _ := jobrunnertest.Watch(t, cluster)
	d := n.defined(recorder, "fibonacci", func(c *batchv1.CronJob) { c.Spec.JobTemplate.Spec.BackoffLimit = ptr.To[int32](1) })
	made := n.start(cluster, n.run(d, "a", "exit=3"))
	first := recorder.AwaitObject(t, made.UID, timeout, func(o job.Object) bool { return o.Counts.Failed == 1 && o.Counts.Active == 0 })
	if first.End != "" || !first.Started() {
		t.Errorf("after the first pod it is %+v", first)
	}
	if got, err := cluster.Get(t.Context(), made.Name); err != nil || got.End != "" || len(got.Pods) == 0 || *got.Pods[0].Containers[0].ExitCode != 3 {
		t.Errorf("it is read as %+v, %v", got, err)
	}
	last := recorder.AwaitObject(t, made.UID, timeout, func(o job.Object) bool { return o.End != "" })
	if last.End != job.Failed || last.EndReason != "BackoffLimitExceeded" || last.Counts.Failed != 2 || len(last.Pods) != 2 || !last.StartedAt.Equal(first.StartedAt) {
		t.Errorf("it has ended as %+v", last)
	}
	for _, p := range last.Pods {
		if c := p.Containers[0]; *c.ExitCode != 3 || c.Message != "the last words of 3" || p.Phase != "Failed" {
			t.Errorf("its pod is %+v", p)
		}
	}
}

// H5: a Job that is too late has failed, although one of its pods has succeeded.
func TestH5DeadlineAfterASuccess(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	cluster := n.cluster()
	recorder, _ := jobrunnertest.Watch(t, cluster)
	d := n.defined(recorder, "fibonacci", func(c *batchv1.CronJob) {
		spec := &c.Spec.JobTemplate.Spec
		spec.Completions, spec.Parallelism, spec.ActiveDeadlineSeconds = ptr.To[int32](2), ptr.To[int32](1), ptr.To[int64](20)
	})
	made := n.start(cluster, n.run(d, "a", "sleep=12s"))
	recorder.AwaitObject(t, made.UID, timeout, func(o job.Object) bool { return o.Counts.Succeeded == 1 && o.End == "" })
	o := recorder.AwaitObject(t, made.UID, timeout, func(o job.Object) bool { return o.End != "" })
	if o.End != job.Failed || o.EndReason != "DeadlineExceeded" || o.Counts.Succeeded != 1 || o.FinishedAt.Before(o.StartedAt) {
		t.Errorf("it has ended as %+v", o)
	}
}
