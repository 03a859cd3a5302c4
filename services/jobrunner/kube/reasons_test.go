package kube

import (
	"slices"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluicefaas/sluice/pkg/job"
	"github.com/sluicefaas/sluice/services/jobrunner/jobrunnertest"
)

// stuckRun is a run of a definition whose pod cannot start.
type stuckRun struct {
	*namespace
	cluster  *Cluster
	recorder *jobrunnertest.Recorder
	made     job.Object
}

// stuck starts one; edit makes that its pod cannot.
func stuck(n *namespace, edit func(*batchv1.CronJob)) *stuckRun {
	n.t.Helper()
	r := &stuckRun{namespace: n, cluster: n.cluster()}
	r.recorder, _ = jobrunnertest.Watch(n.t, r.cluster)
	r.made = n.start(r.cluster, n.run(n.defined(r.recorder, "fibonacci", edit), "a", "7"))
	return r
}

// trouble waits until the Job is in trouble.
func (r *stuckRun) trouble(reason string) job.Object {
	r.t.Helper()
	return r.recorder.AwaitObject(r.t, r.made.UID, timeout, func(o job.Object) bool { return o.Trouble == reason })
}

// says waits until the Job is in trouble, in Kubernetes' own words, then deletes it: it and its pods go, although nothing has ever run.
func (r *stuckRun) says(reason string, words ...string) {
	r.t.Helper()
	o := r.trouble(reason)
	for _, word := range words {
		if !strings.Contains(o.TroubleDetail, word) {
			r.t.Errorf("%q does not say %q", o.TroubleDetail, word)
		}
	}
	if o.Started() || o.End != "" || slices.ContainsFunc(o.Pods, func(p job.Pod) bool { return !p.StartedAt.IsZero() }) {
		r.t.Errorf("it has begun: %+v", o)
	}
	r.remove()
	pods, err := r.Admin.CoreV1().Pods(r.Name).List(r.t.Context(), metav1.ListOptions{})
	if err != nil || len(pods.Items) > 0 {
		r.t.Errorf("after it has gone there are %d pods, %v", len(pods.Items), err)
	}
}

// remove deletes the Job, and waits until it is gone.
func (r *stuckRun) remove() {
	r.t.Helper()
	if err := r.cluster.Delete(r.t.Context(), r.made.Name, r.made.UID, ""); err != nil {
		r.t.Fatal(err)
	}
	r.recorder.AwaitGone(r.t, r.made.UID, timeout)
}

// playManually lets the test write the status of pods.
func playManually(c *batchv1.CronJob) {
	c.Spec.JobTemplate.Spec.Template.Annotations = map[string]string{manual: "true"}
}

// waiting lets the container of the Job's pod wait, as a kubelet writes it.
func (r *stuckRun) waiting(reason, message string) {
	r.t.Helper()
	r.Eventually("the pod waits", func() bool {
		pods, err := r.Admin.CoreV1().Pods(r.Name).List(r.t.Context(), metav1.ListOptions{LabelSelector: "job-name=" + r.made.Name})
		if err != nil || len(pods.Items) != 1 || pods.Items[0].Spec.NodeName == "" {
			return false
		}
		setContainers(&pods.Items[0], waits(reason, message))
		_, err = r.Admin.CoreV1().Pods(r.Name).UpdateStatus(r.t.Context(), &pods.Items[0], metav1.UpdateOptions{})
		return err == nil
	})
}

func TestH6MissingImage(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	r := stuck(n, playManually)
	r.waiting("ErrImagePull", `failed to pull and unpack image "example.test/batch:1": not found`)
	r.trouble("ErrImagePull")
	r.waiting("ImagePullBackOff", `Back-off pulling image "example.test/batch:1"`)
	r.says("ImagePullBackOff", "container fibonacci", "example.test/batch:1")
}

func TestH6MissingSecretKey(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	r := stuck(n, playManually)
	r.waiting("CreateContainerConfigError", "couldn't find key password in Secret "+n.Name+"/db")
	r.says("CreateContainerConfigError", "key password in Secret "+n.Name+"/db")
}

func TestH6PodQuota(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	lift := n.Limit("pods", "0")
	r := stuck(n, nil)
	r.trouble("PodQuotaExceeded")
	lift() // its controller tries again by itself
	o := r.recorder.AwaitObject(t, r.made.UID, timeout, func(o job.Object) bool { return o.End != "" })
	if o.End != job.Succeeded || o.Trouble != "" {
		t.Errorf("it has ended as %+v", o)
	}
	r.remove()
	n.Limit("pods", "0")
	r.made = n.start(r.cluster, n.run(n.defined(r.recorder, "other", nil), "b", "7"))
	r.says("PodQuotaExceeded", "exceeded quota: few")
}

func TestH6PodSecurity(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	label := []byte(`{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"restricted"}}}`)
	if _, err := n.Admin.CoreV1().Namespaces().Patch(t.Context(), n.Name, types.MergePatchType, label, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	r := stuck(n, nil)
	r.says("PodsForbidden", `violates PodSecurity "restricted`)
}

func TestH6MissingServiceAccount(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	r := stuck(n, func(c *batchv1.CronJob) { c.Spec.JobTemplate.Spec.Template.Spec.ServiceAccountName = "robot" })
	r.says("ServiceAccountNotFound", `serviceaccount "robot" not found`)
}

func TestH6Unschedulable(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	r := stuck(n, func(c *batchv1.CronJob) {
		c.Spec.JobTemplate.Spec.Template.Spec.NodeSelector = map[string]string{"gpu": "none"}
	})
	r.says("Unschedulable", "0/1 nodes are available")
}

// A volume that cannot be mounted is in Events alone.
func TestH6MissingVolume(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	r := stuck(n, playManually)
	r.waiting("ContainerCreating", "")
	o := r.trouble("ContainerCreating")
	pod, err := n.Admin.CoreV1().Pods(n.Name).Get(t.Context(), o.Pods[0].Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = n.Admin.CoreV1().Events(n.Name).Create(t.Context(), &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Name: "mount", Namespace: n.Name},
		InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: n.Name, Name: pod.Name, UID: pod.UID},
		Type:           corev1.EventTypeWarning, Reason: "FailedMount", Message: `MountVolume.SetUp failed for volume "c": configmap "settings" not found`,
		LastTimestamp: metav1.Now(), Count: 1,
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r.recorder.AwaitObject(t, r.made.UID, timeout, func(o job.Object) bool { return o.TroubleDetail != "" })
	r.says("ContainerCreating", `configmap "settings" not found`)
}
