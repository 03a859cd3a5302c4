package kube

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/sluicefaas/sluice/pkg/job"
	"github.com/sluicefaas/sluice/pkg/kube"
	"github.com/sluicefaas/sluice/pkg/kube/kubetest"
	"github.com/sluicefaas/sluice/services/jobrunner/jobrunnertest"
)

const timeout = kubetest.Patience

// verbs are all that the jobrunner does. Tests act as an account that may do this and no more.
var verbs = []rbacv1.PolicyRule{
	{APIGroups: []string{"batch"}, Resources: []string{"cronjobs"}, Verbs: []string{"list", "watch"}},
	{APIGroups: []string{"batch"}, Resources: []string{"jobs"}, Verbs: []string{"get", "list", "watch", "create", "patch", "delete"}},
	{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list", "watch"}},
	{APIGroups: []string{""}, Resources: []string{"pods/log"}, Verbs: []string{"get"}},
	{APIGroups: []string{""}, Resources: []string{"events"}, Verbs: []string{"list", "watch", "create"}},
	{APIGroups: []string{"apps"}, Resources: []string{"deployments", "statefulsets"}, Verbs: []string{"list", "watch"}},
	{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: []string{"create"}},
	{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, ResourceNames: []string{"sluice-jobrunner"}, Verbs: []string{"get", "update"}},
}

// namespace is one of the control plane, for one test.
type namespace struct {
	*kubetest.Namespace
	t *testing.T
	// program is the image of the containers, with the first of their arguments.
	program []string
}

// newNamespace is one of the control plane, whose kubelet is played.
func newNamespace(t *testing.T) *namespace {
	t.Helper()
	n := newNamespaceOf(t, &plane, "example.test/batch:1")
	runKubelet(n)
	return n
}

func newNamespaceOf(t *testing.T, plane *kubetest.Plane, program ...string) *namespace {
	t.Helper()
	return &namespace{Namespace: plane.NewNamespace(t, "jobrunner", verbs), t: t, program: program}
}

// config is the standard one.
func (n *namespace) config() Config {
	return Config{Config: kube.Config{
		Kubeconfig: n.Kubeconfig, Identity: "test", LeaseName: "sluice-jobrunner",
		LeaseDuration: 6 * time.Second, RenewDeadline: 4 * time.Second, RetryPeriod: time.Second,
	}}
}

// cluster is the one of a new Client, which acts as the account.
func (n *namespace) cluster() *Cluster {
	n.t.Helper()
	client, err := Connect(n.config(), zerolog.New(n.Logs).With().Timestamp().Logger())
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(plane.DropLater(client.DropConnections))
	return client.NewCluster(prometheus.NewRegistry())
}

// cronJob is a definition whose container does what the played kubelet, or the image, makes of its arguments; edit may change it.
func (n *namespace) cronJob(name string, edit func(*batchv1.CronJob)) *batchv1.CronJob {
	c := &batchv1.CronJob{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{"sluice/Job": "true"}},
		Spec: batchv1.CronJobSpec{Schedule: "0 0 1 1 *", Suspend: ptr.To(true), JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{
			BackoffLimit: ptr.To[int32](0),
			Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
				RestartPolicy: corev1.RestartPolicyNever, TerminationGracePeriodSeconds: ptr.To[int64](1),
				Containers: []corev1.Container{{Name: name, Image: n.program[0], Args: append(n.program[1:], "7"), ImagePullPolicy: corev1.PullIfNotPresent}},
			}},
		}}},
	}
	if edit != nil {
		edit(c)
	}
	return c
}

// define makes a definition as a person does.
func (n *namespace) define(name string, edit func(*batchv1.CronJob)) {
	n.t.Helper()
	if _, err := n.Admin.BatchV1().CronJobs(n.Name).Create(n.t.Context(), n.cronJob(name, edit), metav1.CreateOptions{}); err != nil {
		n.t.Fatal(err)
	}
}

// defined makes a definition and returns it as the observer knows it.
func (n *namespace) defined(recorder *jobrunnertest.Recorder, name string, edit func(*batchv1.CronJob)) (d job.Definition) {
	n.t.Helper()
	n.define(name, edit)
	recorder.Await(n.t, "there is a definition "+name, timeout, func(k jobrunnertest.Known) bool { d = k.Definitions[name]; return d.Name == name })
	return d
}

// run accepts a request with the arguments.
func (n *namespace) run(d job.Definition, id string, args ...string) job.Run {
	n.t.Helper()
	body, err := json.Marshal(map[string]any{"args": append(n.program[1:], args...)})
	if err != nil {
		n.t.Fatal(err)
	}
	r := job.Accept(d, job.Message{Definition: d.Name, RunID: id, Body: body, Accepted: time.Now()}, time.Now())
	if r.Phase != job.Queued {
		n.t.Fatalf("the run is %s: %s", r.Phase, r.Message)
	}
	return r
}

func (n *namespace) manifest(r job.Run) json.RawMessage {
	n.t.Helper()
	manifest, err := job.Manifest(r, n.Name)
	if err != nil {
		n.t.Fatal(err)
	}
	return manifest
}

// start makes the Job of a run, and lets it run.
func (n *namespace) start(cluster *Cluster, r job.Run) job.Object {
	n.t.Helper()
	made, err := cluster.Create(n.t.Context(), n.manifest(r))
	if err != nil {
		n.t.Fatal(err)
	}
	return jobrunnertest.Resume(n.t, cluster, *made)
}

// events are the sentences of ours in the namespace.
func (n *namespace) events() (all []string) {
	n.t.Helper()
	list, err := n.Admin.CoreV1().Events(n.Name).List(n.t.Context(), metav1.ListOptions{FieldSelector: "reason=InvalidAnnotation"})
	if err != nil {
		n.t.Fatal(err)
	}
	for _, e := range list.Items {
		all = append(all, strings.Join([]string{e.InvolvedObject.APIVersion, e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Message}, " "))
	}
	return all
}
