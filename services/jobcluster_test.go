package services_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/bus/bustest"
	"github.com/sluicefaas/sluice/pkg/job"
	"github.com/sluicefaas/sluice/pkg/kube/kubetest"
)

// jobCluster is what jobrunners work with: NATS, a namespace of a real API server with its Job controller, and pods that the test plays.
type jobCluster struct {
	t         testing.TB
	admin     *kubernetes.Clientset
	namespace string
	natsURL   string
	bus       *bus.Bus
	audit     *audit
}

// audit is everything that has happened: whatever runs, the test itself has let run.
type audit struct {
	t     testing.TB
	admin *kubernetes.Clientset
	work  time.Duration
	pods  sync.WaitGroup // those that work
	ctx   context.Context

	mu   sync.Mutex
	seen map[types.UID]bool // pods; guarded by mu, with all below
	// jobs are the UIDs of the Jobs whose pods have run, by run, and ran how many pods that were.
	jobs map[string]map[types.UID]bool
	ran  map[string]int
	// ends are the message ids of the final moves that were published, by run.
	ends map[string]map[string]bool
}

// newJobCluster starts everything but a jobrunner. Pods work for so long.
func newJobCluster(t testing.TB, work time.Duration) *jobCluster {
	t.Helper()
	return newJobClusterAt(t, bustest.Start(t).URL(), work)
}

// newJobClusterAt is the same with a NATS server that runs already.
func newJobClusterAt(t testing.TB, natsURL string, work time.Duration) *jobCluster {
	t.Helper()
	plane.Start(t)
	c := &jobCluster{t: t, admin: plane.Admin(t), natsURL: natsURL}
	made, err := c.admin.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "jobs-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c.namespace = made.Name
	t.Cleanup(c.remove)
	ctx, cancel := context.WithCancel(context.Background())
	c.audit = &audit{
		t: t, admin: c.admin, work: work, ctx: ctx, seen: map[types.UID]bool{},
		jobs: map[string]map[types.UID]bool{}, ran: map[string]int{}, ends: map[string]map[string]bool{},
	}
	t.Cleanup(func() { cancel(); c.audit.pods.Wait() })
	kubetest.FollowPods(t, c.admin.CoreV1().Pods(c.namespace), c.audit.see)
	c.connect()
	return c
}

// connect opens the test's own connections to NATS: one that publishes requests, one that hears how runs move.
func (c *jobCluster) connect() {
	c.t.Helper()
	opened, err := bus.Connect(bus.Config{URL: c.natsURL, Replicas: 1, Settings: bus.Settings{Prefix: "sluice", QueueLimit: 1000, PublishPatience: patience}})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(opened.Close)
	c.bus = opened
	conn, err := nats.Connect(c.natsURL, nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(conn.Close)
	if _, err := conn.Subscribe("sluice.jobstate.>", c.audit.hear); err != nil {
		c.t.Fatal(err)
	}
	if err := conn.FlushTimeout(patience); err != nil {
		c.t.Fatal(err)
	}
}

func (c *jobCluster) remove() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.admin.CoreV1().Namespaces().Delete(ctx, c.namespace, metav1.DeleteOptions{}); err != nil {
		c.t.Error(err)
	}
}

// define makes a definition.
func (c *jobCluster) define(name string, parallel int, ttl *int32) {
	c.t.Helper()
	cron := &batchv1.CronJob{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{
			"sluice/Job": "true", "sluice/DefaultVisibility": "Public", "sluice/NumberParallelJob": fmt.Sprint(parallel),
		}},
		Spec: batchv1.CronJobSpec{Schedule: "0 0 1 1 *", Suspend: ptr.To(true), JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{
			BackoffLimit: ptr.To[int32](0), TTLSecondsAfterFinished: ttl, Template: playedPod(),
		}}},
	}
	if _, err := c.admin.BatchV1().CronJobs(c.namespace).Create(c.t.Context(), cron, metav1.CreateOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

// playedPod names a scheduler that does not exist, so that nobody but the test runs it.
func playedPod() corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{Spec: corev1.PodSpec{
		SchedulerName: "none", RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "c", Image: "i"}},
	}}
}

// ask publishes a request straight to NATS.
func (c *jobCluster) ask(definition, id string) {
	c.t.Helper()
	if err := c.publish(definition, id); err != nil {
		c.t.Fatal(err)
	}
}

func (c *jobCluster) publish(definition, id string) error {
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	if err := c.bus.AwaitJobs(ctx); err != nil {
		return err
	}
	_, err := c.bus.PublishJob(ctx, job.Message{Definition: definition, RunID: id})
	return err
}

// runs opens the bucket of records.
func (c *jobCluster) runs() *bus.Runs {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	runs, err := c.bus.AwaitRuns(ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	return runs
}

// closed waits until nothing is left to do for the run, and returns its record.
func (c *jobCluster) closed(definition, id string) job.Run {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	run, found, err := c.runs().Await(ctx, definition, id, func(r job.Run) bool { return r.Closed })
	if err != nil || !found || !run.Closed {
		c.t.Fatalf("run %s is not over: %+v (found: %v, %v)", id, run, found, err)
	}
	return run
}

// see plays the node for one pod: it starts, works, and ends well.
func (a *audit) see(_ context.Context, change watch.EventType, pod *corev1.Pod) {
	if change == watch.Deleted || pod.DeletionTimestamp != nil || pod.Status.Phase != corev1.PodPending {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.seen[pod.UID] {
		return
	}
	a.seen[pod.UID] = true
	id, owner := pod.Labels["sluice/run-id"], metav1.GetControllerOf(pod)
	if owner == nil {
		return
	}
	if a.jobs[id] == nil {
		a.jobs[id] = map[types.UID]bool{}
	}
	a.jobs[id][owner.UID] = true
	a.ran[id]++
	a.pods.Go(func() { a.play(pod.Namespace, pod.Name) })
}

// play lets the pod run and end, through outages of the API server.
func (a *audit) play(namespace, name string) {
	a.status(namespace, name, corev1.PodStatus{Phase: corev1.PodRunning})
	select {
	case <-time.After(a.work):
	case <-a.ctx.Done():
		return
	}
	a.status(namespace, name, corev1.PodStatus{Phase: corev1.PodSucceeded, ContainerStatuses: []corev1.ContainerStatus{{
		Name: "c", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 0, Reason: "Completed", FinishedAt: metav1.Now()}},
	}}})
}

func (a *audit) status(namespace, name string, status corev1.PodStatus) {
	patch, _ := json.Marshal(map[string]any{"status": status}) // a status can be written
	for a.ctx.Err() == nil {
		_, err := a.admin.CoreV1().Pods(namespace).Patch(a.ctx, name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
		if err == nil || isGone(err) {
			return
		}
		<-time.After(50 * time.Millisecond)
	}
}

// hear notes the end of a run.
func (a *audit) hear(msg *nats.Msg) {
	var move bus.RunMove
	if json.Unmarshal(msg.Data, &move) != nil || !move.Phase.Final() {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ends[move.RunID] == nil {
		a.ends[move.RunID] = map[string]bool{}
	}
	a.ends[move.RunID][msg.Header.Get("Nats-Msg-Id")] = true
}

// count is how many Jobs of the run have had pods, how many pods that were, and how many different ends were published.
func (a *audit) count(id string) (jobs, pods, ends int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.jobs[id]), a.ran[id], len(a.ends[id])
}

// once checks that the run had one Job, one pod and one end.
func (a *audit) once(id string) {
	a.t.Helper()
	eventually(a.t, "the end of "+id+" is told", func() bool { _, _, ends := a.count(id); return ends > 0 })
	if jobs, pods, ends := a.count(id); jobs != 1 || pods != 1 || ends != 1 {
		a.t.Errorf("run %s: %d Jobs ran, with %d pods, and %d ends were told; want one of each", id, jobs, pods, ends)
	}
}

// left are the Jobs that are there, and what is wrong with them: none may be suspended or unfinished.
func (c *jobCluster) left() (wrong []string) {
	c.t.Helper()
	list, err := c.admin.BatchV1().Jobs(c.namespace).List(c.t.Context(), metav1.ListOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	for _, j := range list.Items {
		if ptr.Deref(j.Spec.Suspend, false) || j.Status.CompletionTime == nil {
			wrong = append(wrong, fmt.Sprintf("%s (suspended: %v, %+v)", j.Name, *j.Spec.Suspend, j.Status))
		}
	}
	return wrong
}

// queued is how many requests are in the stream.
func (c *jobCluster) queued() (sum uint64) {
	c.t.Helper()
	depths, err := c.bus.JobDepths(c.t.Context())
	if err != nil {
		return 1 // not known
	}
	for _, depth := range slices.Collect(maps.Values(depths)) {
		sum += depth
	}
	return sum
}
