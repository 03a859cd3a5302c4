package kube

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/sluicefaas/sluice/pkg/job"
	"github.com/sluicefaas/sluice/pkg/kube/kubetest"
	"github.com/sluicefaas/sluice/services/jobrunner"
	"github.com/sluicefaas/sluice/services/jobrunner/jobrunnertest"
)

// aRun is one of a definition with a plain template, without an API server.
func (n *namespace) aRun(id string) job.Run {
	n.t.Helper()
	text, err := json.Marshal(n.cronJob("fibonacci", nil).Spec.JobTemplate)
	if err != nil {
		n.t.Fatal(err)
	}
	d, isJob := job.FromCronJob(job.CronJob{Name: "fibonacci", Annotations: map[string]string{"sluice/Job": "true"}, Suspended: true, Template: text}, nil)
	if !isJob {
		n.t.Fatalf("it is no definition: %q", d.Problems)
	}
	return n.run(d, id, "7")
}

// both are the answers to Create and to Check.
func (n *namespace) both(cluster *Cluster, manifest json.RawMessage) [2]error {
	n.t.Helper()
	_, err := cluster.Create(n.t.Context(), manifest)
	return [2]error{err, cluster.Check(n.t.Context(), manifest)}
}

func wantBoth(t *testing.T, got [2]error, want error, words string) {
	t.Helper()
	for i, what := range []string{"Create", "Check"} {
		if !errors.Is(got[i], want) || !strings.Contains(got[i].Error(), words) {
			t.Errorf("%s: %v, want %q with %q", what, got[i], want, words)
		}
	}
}

// wantNeither fails unless both are errors that say nothing for good.
func wantNeither(t *testing.T, got [2]error, words string) {
	t.Helper()
	for i, what := range []string{"Create", "Check"} {
		err := got[i]
		if err == nil || errors.Is(err, jobrunner.ErrInvalid) || errors.Is(err, jobrunner.ErrQuota) || errors.Is(err, jobrunner.ErrExists) || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v, want a plain error with %q", what, err, words)
		}
	}
}

// A quota on Jobs is no refusal for good: the next one has room when the first one is gone.
func TestQuotaOnJobs(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.Limit("count/jobs.batch", "1")
	cluster := n.cluster()
	first, err := cluster.Create(t.Context(), n.manifest(n.aRun("a")))
	if err != nil {
		t.Fatal(err)
	}
	wantBoth(t, n.both(cluster, n.manifest(n.aRun("b"))), jobrunner.ErrQuota, "exceeded quota: few")
	if err := cluster.Delete(t.Context(), first.Name, first.UID, ""); err != nil {
		t.Fatal(err)
	}
	n.Eventually("there is room again", func() bool {
		_, err := cluster.Create(t.Context(), n.manifest(n.aRun("b")))
		return err == nil
	})
}

// What the API server refuses for good is said in its own words.
func TestRefusalsForGood(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	cluster := n.cluster()
	good := string(n.manifest(n.aRun("a")))
	for what, c := range map[string]struct{ old, new, words string }{
		"an unknown field":  {`"suspend":`, `"suspended":`, `unknown field "spec.suspended"`},
		"a field twice":     {`"suspend":true`, `"suspend":true,"suspend":true`, `duplicate field "spec.suspend"`},
		"a wrong value":     {`"restartPolicy":"Never"`, `"restartPolicy":"Always"`, "restartPolicy"},
		"a wrong type":      {`"backoffLimit":0`, `"backoffLimit":"none"`, "backoffLimit"},
		"another namespace": {`"namespace":"` + n.Name, `"namespace":"default`, "namespace"},
		"another version":   {`"apiVersion":"batch/v1"`, `"apiVersion":"batch/v2"`, "batch/v2"},
		"another kind":      {`"kind":"Job"`, `"kind":"CronJob"`, ""},
	} {
		manifest := strings.Replace(good, c.old, c.new, 1)
		if manifest == good {
			t.Fatalf("%s: there is no %s in %s", what, c.old, good)
		}
		t.Run(what, func(t *testing.T) {
			wantBoth(t, n.both(cluster, json.RawMessage(manifest)), jobrunner.ErrInvalid, c.words)
		})
	}
	jobs, err := n.Admin.BatchV1().Jobs(n.Name).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(jobs.Items) > 0 {
		t.Errorf("there are %d Jobs, %v", len(jobs.Items), err)
	}
}

// What an administrator's policy forbids is refused for good, as the word forbidden alone says what a lack of rights says too.
func TestPoliciesRefuseForGood(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	cluster, manifest := n.cluster(), n.manifest(n.aRun("a"))
	policies, bindings := n.Admin.AdmissionregistrationV1().ValidatingAdmissionPolicies(), n.Admin.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings()
	policy := &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: n.Name}, Spec: admissionv1.ValidatingAdmissionPolicySpec{
		MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
			Operations: []admissionv1.OperationType{admissionv1.Create}, Rule: admissionv1.Rule{APIGroups: []string{"batch"}, APIVersions: []string{"v1"}, Resources: []string{"jobs"}},
		}}}},
		Validations: []admissionv1.Validation{{Expression: "object.spec.backoffLimit > 0", Message: "every Job is tried twice", Reason: ptr.To(metav1.StatusReasonForbidden)}},
	}}
	if _, err := policies.Create(t.Context(), policy, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = policies.Delete(context.Background(), n.Name, metav1.DeleteOptions{}) })
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: n.Name}, Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
		PolicyName: n.Name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
		MatchResources: &admissionv1.MatchResources{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": n.Name}}},
	}}
	if _, err := bindings.Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bindings.Delete(context.Background(), n.Name, metav1.DeleteOptions{}) })
	n.Eventually("the policy is in force", func() bool { return cluster.Check(t.Context(), manifest) != nil })
	wantBoth(t, n.both(cluster, manifest), jobrunner.ErrInvalid, "every Job is tried twice")
}

// A namespace that is being deleted, or that is not there, never takes a Job again.
func TestNamespaceThatEnds(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	cluster, manifest := n.cluster(), n.manifest(n.aRun("a"))
	held := []byte(`{"metadata":{"finalizers":["test.example/held"]}}`)
	if _, err := n.Admin.CoreV1().ConfigMaps(n.Name).Patch(t.Context(), "kube-root-ca.crt", types.MergePatchType, held, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // else the namespace stays
		_, err := n.Admin.CoreV1().ConfigMaps(n.Name).Patch(context.Background(), "kube-root-ca.crt", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
		if err != nil {
			t.Error(err)
		}
	})
	if err := n.Admin.CoreV1().Namespaces().Delete(t.Context(), n.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	n.Eventually("it is being deleted", func() bool {
		space, err := n.Admin.CoreV1().Namespaces().Get(t.Context(), n.Name, metav1.GetOptions{})
		return err == nil && space.Status.Phase == corev1.NamespaceTerminating
	})
	n.Eventually("the API server's admission knows it, and our rights are still there", func() bool {
		_, err := cluster.Create(t.Context(), manifest)
		return errors.Is(err, jobrunner.ErrInvalid) && strings.Contains(err.Error(), "is being terminated") || err != nil && strings.Contains(err.Error(), "cannot create")
	})
}

// Rights that we lack, or lose, are not the run's fault: an administrator can give them back.
func TestMissingRightsAreNoRefusal(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	cluster, manifest := n.cluster(), n.manifest(n.aRun("a"))
	if err := n.Admin.RbacV1().RoleBindings(n.Name).Delete(t.Context(), "jobrunner", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	n.Eventually("the rights are gone", func() bool { return cluster.Check(t.Context(), manifest) != nil })
	wantNeither(t, n.both(cluster, manifest), `cannot create resource "jobs"`)
	if _, err := cluster.Get(t.Context(), "x"); err == nil {
		t.Error("a Job was read without the right to")
	}
}

// No answer says nothing about what has happened: the Job may be there.
func TestUnknownOutcomesArePlainErrors(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	var network *kubetest.Proxy
	config := n.config()
	config.Kubeconfig, network = n.Through()
	client, err := Connect(config, zerolog.New(n.Logs))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(plane.DropLater(client.DropConnections))
	cluster := client.NewCluster(prometheus.NewRegistry())
	run := n.aRun("a")
	if o, err := cluster.Get(t.Context(), job.NameOf(run)); o != nil || err != nil {
		t.Fatalf("%+v, %v", o, err)
	}
	network.Stall()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err = cluster.Create(ctx, n.manifest(run))
	wantNeither(t, [2]error{err, cluster.Check(ctx, n.manifest(run))}, "")
	if _, err := cluster.Get(ctx, job.NameOf(run)); err == nil {
		t.Error("a Job was read without a network")
	}
	if _, err := cluster.Resume(ctx, "x", "u", "7"); err == nil || errors.Is(err, jobrunner.ErrChanged) {
		t.Errorf("resume without a network: %v", err)
	}
	if cluster.Arm(ctx, "x", "u", 0) == nil || cluster.Delete(ctx, "x", "u", "") == nil {
		t.Error("a Job was armed, or deleted, without a network")
	}
	if _, err := cluster.Logs(ctx, "p", "c", 0, false); err == nil || errors.Is(err, jobrunner.ErrNoOutput) {
		t.Errorf("output without a network: %v", err)
	}
	network.Cut()
	network.Resume()
	var made *job.Object
	n.Eventually("the Job is there", func() bool { // what was sent may have come through when the network was back
		made, err = cluster.Create(t.Context(), n.manifest(run))
		return err == nil || errors.Is(err, jobrunner.ErrExists)
	})
	now, err := cluster.Get(t.Context(), job.NameOf(run))
	if err != nil || now == nil || made != nil && made.UID != now.UID {
		t.Errorf("it is read as %+v, %v", now, err)
	}
}

// Row 5 of the bugs of others: templates come from objects of the cluster and reach the Job whole; what the API server does not know is refused, at each Job and not only at the first.
func TestRow5TemplatesPassThroughWhole(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	cluster := n.cluster()
	recorder, _ := jobrunnertest.Watch(t, cluster)
	d := n.defined(recorder, "fibonacci", rich)
	made, err := cluster.Create(t.Context(), n.manifest(n.run(d, "a", "7")))
	if err != nil {
		t.Fatal(err)
	}
	created, err := n.Admin.BatchV1().Jobs(n.Name).Get(t.Context(), made.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cron, err := n.Admin.BatchV1().CronJobs(n.Name).Get(t.Context(), "fibonacci", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want, got := cron.Spec.JobTemplate.Spec, created.Spec
	for name, value := range want.Template.Labels {
		if got.Template.Labels[name] != value {
			t.Errorf("the label %s is %q", name, got.Template.Labels[name])
		}
	}
	// What is ours, and what Kubernetes adds to a Job.
	got.Suspend, got.Selector, got.ManualSelector = want.Suspend, want.Selector, want.ManualSelector
	got.Template.Labels = want.Template.Labels
	for _, containers := range [][2][]corev1.Container{{got.Template.Spec.Containers, want.Template.Spec.Containers}, {got.Template.Spec.InitContainers, want.Template.Spec.InitContainers}} {
		for i := range containers[0] {
			containers[0][i].Env, containers[0][i].Args = containers[1][i].Env, containers[1][i].Args
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the Job has\n%+v\nthe definition\n%+v", got, want)
	}
}

// rich fills in fields of all sorts.
func rich(c *batchv1.CronJob) {
	j := &c.Spec.JobTemplate.Spec
	j.Completions, j.Parallelism, j.CompletionMode = ptr.To[int32](3), ptr.To[int32](2), ptr.To(batchv1.IndexedCompletion)
	j.BackoffLimitPerIndex, j.MaxFailedIndexes, j.BackoffLimit, j.ActiveDeadlineSeconds = ptr.To[int32](1), ptr.To[int32](2), ptr.To[int32](7), ptr.To[int64](99)
	j.PodReplacementPolicy = ptr.To(batchv1.Failed)
	j.PodFailurePolicy = &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{{
		Action: batchv1.PodFailurePolicyActionFailIndex, OnExitCodes: &batchv1.PodFailurePolicyOnExitCodesRequirement{Operator: batchv1.PodFailurePolicyOnExitCodesOpIn, Values: []int32{42}},
	}}}
	p := &j.Template
	p.Labels = map[string]string{"team": "x"}
	p.Spec.AutomountServiceAccountToken = ptr.To(false)
	p.Spec.NodeSelector, p.Spec.Tolerations = map[string]string{"disk": "ssd"}, []corev1.Toleration{{Key: "gpu", Operator: corev1.TolerationOpExists}}
	p.Spec.InitContainers = []corev1.Container{{Name: "side", Image: "s", RestartPolicy: ptr.To(corev1.ContainerRestartPolicyAlways)}}
	p.Spec.Volumes = []corev1.Volume{{Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "scratch", MountPath: "/scratch"}}
	p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{ReadOnlyRootFilesystem: ptr.To(true)}
}

// Row 6 of the bugs of others: no token is mounted into a pod whose definition does not ask for it.
func TestRow6PodsHaveNoToken(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	cluster := n.cluster()
	recorder, _ := jobrunnertest.Watch(t, cluster)
	asks := func(c *batchv1.CronJob) {
		c.Spec.JobTemplate.Spec.Template.Spec.AutomountServiceAccountToken = ptr.To(true)
	}
	for name, edit := range map[string]func(*batchv1.CronJob){"plain": nil, "asks": asks} {
		made := n.start(cluster, n.run(n.defined(recorder, name, edit), "a", "7"))
		o := recorder.AwaitObject(t, made.UID, timeout, func(o job.Object) bool { return len(o.Pods) > 0 })
		pod, err := n.Admin.CoreV1().Pods(n.Name).Get(t.Context(), o.Pods[0].Name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if has := len(pod.Spec.Volumes) > 0; has != (edit != nil) {
			t.Errorf("%s: the pod has the volumes %+v", name, pod.Spec.Volumes)
		}
	}
}

// Cancelling leaves no pod behind, although Kubernetes would by itself: here is what it does without our word.
func TestKubernetesOrphansPodsByItself(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	cluster := n.cluster()
	recorder, _ := jobrunnertest.Watch(t, cluster)
	made := n.start(cluster, n.run(n.defined(recorder, "fibonacci", nil), "a", "sleep=1h"))
	o := recorder.AwaitObject(t, made.UID, timeout, func(o job.Object) bool { return o.Started() })
	err := n.Admin.BatchV1().RESTClient().Delete().Namespace(n.Name).Resource("jobs").Name(made.Name).Do(t.Context()).Error()
	if err != nil {
		t.Fatal(err)
	}
	recorder.AwaitGone(t, made.UID, timeout)
	pod, err := n.Admin.CoreV1().Pods(n.Name).Get(t.Context(), o.Pods[0].Name, metav1.GetOptions{})
	if err != nil || pod.DeletionTimestamp != nil {
		t.Errorf("the pod is %v, %v: this Kubernetes does not orphan pods any more", pod.DeletionTimestamp, err)
	}
}

// What is wrong with the annotations of a CronJob becomes an Event on it, once, whoever leads.
func TestWrongAnnotationIsAnEvent(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.define("fibonacci", func(c *batchv1.CronJob) { c.Annotations["sluice/NumberParallelJob"] = "many" })
	for range 2 {
		recorder, stop := jobrunnertest.Watch(t, n.cluster())
		recorder.AwaitSynced(t, timeout)
		n.Eventually("there is an Event", func() bool { return len(n.events()) > 0 })
		stop()
	}
	if events := n.events(); len(events) != 1 || !strings.HasPrefix(events[0], "batch/v1 CronJob fibonacci annotation sluice/NumberParallelJob: ") {
		t.Errorf("the Events are %q", events)
	}
}

// A container that has not started has no output yet.
func TestOutputBeforeTheStart(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	r := stuck(n, playManually)
	r.waiting("ContainerCreating", "")
	o := r.recorder.AwaitObject(t, r.made.UID, timeout, func(o job.Object) bool { return len(o.Pods) == 1 })
	for _, follow := range []bool{false, true} {
		if _, err := r.cluster.Logs(t.Context(), o.Pods[0].Name, "fibonacci", 0, follow); !errors.Is(err, jobrunner.ErrNoOutput) {
			t.Errorf("follow %v: %v", follow, err)
		}
	}
}
