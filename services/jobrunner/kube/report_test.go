package kube

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluicefaas/sluice/pkg/job"
	"github.com/sluicefaas/sluice/services/jobrunner/jobrunnertest"
)

// witness is an observer that keeps the order of what it is told.
type witness struct {
	*jobrunnertest.Recorder
	mu    sync.Mutex
	heard []string // guarded by mu
}

func (w *witness) note(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.heard = append(w.heard, what)
}

func (w *witness) Define(d job.Definition)  { w.note("define " + d.Name); w.Recorder.Define(d) }
func (w *witness) Undefine(name string)     { w.note("undefine " + name); w.Recorder.Undefine(name) }
func (w *witness) Observe(o job.Object)     { w.note("observe " + o.UID); w.Recorder.Observe(o) }
func (w *witness) Forget(name, uid string)  { w.note("forget " + uid); w.Recorder.Forget(name, uid) }
func (w *witness) WorkloadGone(name string) { w.note("gone " + name); w.Recorder.WorkloadGone(name) }
func (w *witness) Synced()                  { w.note("synced"); w.Recorder.Synced() }
func (w *witness) Workload(n string, r int, c bool) {
	w.note("workload " + n)
	w.Recorder.Workload(n, r, c)
}

func (w *witness) all() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.heard)
}

// reporting runs a reporter without an API server: the test writes the view.
func reporting(t *testing.T) (viewed, *witness) {
	t.Helper()
	v, w := newViewed(), &witness{Recorder: jobrunnertest.NewRecorder()}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { newReporter(v.view, w).run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return v, w
}

var allKinds = []int{ofCronJobs, ofJobs, ofPods, ofDeployments, ofStatefulSets}

func TestNothingIsReportedBeforeAllIsListed(t *testing.T) {
	t.Parallel()
	v, w := reporting(t)
	v.put(aCronJob("f", "c-1", plainTemplate, nil), aJob("u", nil), aPod("p", "u", nil), aDeployment("w", "d-1", 1, 3))
	v.list(allKinds[1:]...)
	if <-time.After(100 * time.Millisecond); len(w.all()) != 0 {
		t.Fatalf("it has heard %v", w.all())
	}
	v.list(ofCronJobs) // Events are not waited for
	w.AwaitSynced(t, timeout)
	if heard := w.all(); !slices.Equal(heard, []string{"define f", "workload Deployment/w", "observe u", "synced"}) {
		t.Errorf("it has heard %v", heard)
	}
}

// What comes and goes between two looks is told of only if the observer knows it.
func TestOnlyWhatIsKnownIsForgotten(t *testing.T) {
	t.Parallel()
	v, w := reporting(t)
	v.put(aCronJob("f", "c-1", plainTemplate, nil), aJob("u", nil), aDeployment("w", "d-1", 1, 3))
	v.list(allKinds...)
	w.AwaitSynced(t, timeout)
	v.mu.Lock() // all happens before the next look
	v.putCronJob(aCronJob("g", "c-2", plainTemplate, nil))
	v.dropCronJob("c-2")
	v.putJob(aJob("u-2", nil))
	v.dropJob("u-2")
	v.putWorkload(readDeployment(aDeployment("x", "d-2", 1, 3)))
	v.dropWorkload("d-2")
	v.mu.Unlock()
	v.drop(aCronJob("f", "c-1", plainTemplate, nil), aJob("u", nil), aDeployment("w", "d-1", 1, 3))
	w.Await(t, "all is gone", timeout, func(k jobrunnertest.Known) bool { return len(k.Definitions)+len(k.Objects)+len(k.Workloads) == 0 })
	heard := w.all()[4:]
	slices.Sort(heard)
	if !slices.Equal(heard, []string{"forget u", "gone Deployment/w", "undefine f"}) {
		t.Errorf("it has heard %v", heard)
	}
}

func succeeded(p *corev1.Pod) {
	p.Status.Phase = corev1.PodSucceeded
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", State: ended(0, 5, 6)}}
}

// over is a Job of which that many pods have succeeded.
func over(uid string, pods int32, at time.Time) *batchv1.Job {
	return aJob(uid, func(j *batchv1.Job) {
		j.Status.Succeeded = pods
		condition(batchv1.JobComplete, "", "")(j)
		j.Status.Conditions[0].LastTransitionTime = metav1.NewTime(at)
	})
}

// The end of a Job is told with the ends of its pods, although it may be seen first.
func TestEndsAreToldWithTheirPods(t *testing.T) {
	t.Parallel()
	v, w := reporting(t)
	v.put(aJob("u", nil), aPod("p", "u", func(p *corev1.Pod) { p.Status.Phase = corev1.PodRunning }))
	v.list(allKinds...)
	w.AwaitSynced(t, timeout)
	v.put(over("u", 2, time.Now()))
	<-time.After(patience / 20)
	v.put(aPod("p", "u", succeeded))
	<-time.After(patience / 20)
	v.put(aPod("q", "u", succeeded))
	o := w.AwaitObject(t, "u", timeout, func(o job.Object) bool { return o.End != "" })
	if len(o.Pods) != 2 || o.Pods[0].FinishedAt.IsZero() || o.Pods[1].FinishedAt.IsZero() {
		t.Errorf("it has ended with the pods %+v", o.Pods)
	}
	for _, earlier := range w.History("u")[:len(w.History("u"))-1] {
		if earlier.End != "" {
			t.Errorf("it was told before: %+v", earlier)
		}
	}
}

// A pod that was deleted never comes: the end waits no longer than that.
func TestEndsWaitForPodsNotForLong(t *testing.T) {
	t.Parallel()
	v, w := reporting(t)
	v.list(allKinds...)
	w.AwaitSynced(t, timeout)
	began := time.Now()
	v.put(over("u", 1, time.Now()))
	o := w.AwaitObject(t, "u", timeout, func(o job.Object) bool { return o.End != "" })
	if took := time.Since(began); took < patience || len(o.Pods) > 0 || len(w.History("u")) != 1 {
		t.Errorf("after %v it is told as %+v", took, o)
	}
	v.drop(aJob("u", nil))
	w.AwaitGone(t, "u", timeout)
}

// What existed at the start is told before Synced, with its pods if they come soon. A Job that has ended long ago waits for none.
func TestEndsAtTheStartAreToldBeforeSynced(t *testing.T) {
	t.Parallel()
	v, w := reporting(t)
	v.put(over("old", 1, time.Now().Add(-time.Hour)), over("u", 1, time.Now()))
	began := time.Now()
	v.list(allKinds...)
	<-time.After(patience / 20)
	if heard := w.all(); len(heard) > 0 {
		t.Errorf("before the pod has come it has heard %v", heard)
	}
	v.put(aPod("p", "u", succeeded))
	w.AwaitSynced(t, timeout)
	took := time.Since(began)
	if heard := w.all(); len(heard) != 3 || heard[2] != "synced" {
		t.Errorf("it has heard %v", heard)
	}
	if history := w.History("u"); len(history) != 1 || len(history[0].Pods) != 1 {
		t.Errorf("after %v it is told as %+v", took, history)
	}
	again, other := reporting(t)
	again.put(over("u", 1, time.Now()))
	again.list(allKinds...)
	other.AwaitSynced(t, timeout)
	if heard := other.all(); !slices.Equal(heard, []string{"observe u", "synced"}) {
		t.Errorf("without the pod it has heard %v", heard)
	}
}
