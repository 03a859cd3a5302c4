package kube

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/sluicefaas/sluice/services/jobrunner/jobrunnertest"
)

// deploy makes a Deployment, which a job may depend on.
func (n *namespace) deploy(name string, replicas int32) {
	n.t.Helper()
	labels := map[string]string{"app": name}
	_, err := n.Admin.AppsV1().Deployments(n.Name).Create(n.t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr.To(replicas), Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
				Containers: []corev1.Container{{Name: name, Image: n.program[0], Args: append(n.program[1:], "sleep=1h"), ImagePullPolicy: corev1.PullIfNotPresent}},
			}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		n.t.Fatal(err)
	}
}

// fixture is a cluster of its own in the namespace.
func (n *namespace) fixture() jobrunnertest.Fixture {
	n.t.Helper()
	n.deploy("other", 1)
	return jobrunnertest.Fixture{
		Cluster: n.cluster(), Prefix: n.program[1:], Ready: "Deployment/other", Timeout: timeout,
		Apply: func(t *testing.T, name string) { t.Helper(); n.define(name, nil) },
		Remove: func(t *testing.T, name string) {
			t.Helper()
			if err := n.Admin.BatchV1().CronJobs(n.Name).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		},
	}
}

func TestClusterConforms(t *testing.T) {
	t.Parallel()
	jobrunnertest.RunCluster(t, func(t *testing.T) jobrunnertest.Fixture { return newNamespace(t).fixture() })
}
