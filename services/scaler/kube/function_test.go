package kube

import (
	"encoding/json"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/services/scaler/scalertest"
)

// podTemplate is that of a function whose replicas are named by the label; edit may change it.
func podTemplate(name string, edit func(*corev1.PodTemplateSpec)) (corev1.PodTemplateSpec, *metav1.LabelSelector) {
	pods := template(8080)
	pods.Labels = map[string]string{"app": name}
	if edit != nil {
		edit(&pods)
	}
	return pods, &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}
}

// deploy makes a Deployment that is a function.
func (n *namespace) deploy(name string, replicas int32, edit func(*corev1.PodTemplateSpec)) *appsv1.Deployment {
	n.T.Helper()
	return n.deployWith(isFunction("sluice/ReplicasMin", "0"), name, replicas, edit)
}

// deployWith makes a Deployment with the annotations.
func (n *namespace) deployWith(annotations map[string]string, name string, replicas int32, edit func(*corev1.PodTemplateSpec)) *appsv1.Deployment {
	n.T.Helper()
	pods, selector := podTemplate(name, edit)
	made, err := n.Admin.AppsV1().Deployments(n.Name).Create(n.T.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: annotations, Labels: map[string]string{"kept": "yes"}},
		Spec:       appsv1.DeploymentSpec{Replicas: &replicas, Selector: selector, Template: pods},
	}, metav1.CreateOptions{FieldManager: "somebody"})
	if err != nil {
		n.T.Fatal(err)
	}
	return made
}

// deploySet makes a StatefulSet that is a function.
func (n *namespace) deploySet(name string, replicas int32, edit func(*corev1.PodTemplateSpec)) *appsv1.StatefulSet {
	n.T.Helper()
	pods, selector := podTemplate(name, edit)
	made, err := n.Admin.AppsV1().StatefulSets(n.Name).Create(n.T.Context(), &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: isFunction()},
		Spec:       appsv1.StatefulSetSpec{Replicas: &replicas, Selector: selector, Template: pods, ServiceName: name},
	}, metav1.CreateOptions{FieldManager: "somebody"})
	if err != nil {
		n.T.Fatal(err)
	}
	return made
}

// somebodySets changes the count of a Deployment as kubectl scale does.
func (n *namespace) somebodySets(name string, replicas int32) {
	n.T.Helper()
	scale, err := n.Admin.AppsV1().Deployments(n.Name).GetScale(n.T.Context(), name, metav1.GetOptions{})
	if err != nil {
		n.T.Fatal(err)
	}
	update := &autoscalingv1.Scale{ObjectMeta: metav1.ObjectMeta{Name: scale.Name, Namespace: scale.Namespace}, Spec: autoscalingv1.ScaleSpec{Replicas: replicas}}
	if _, err := n.Admin.AppsV1().Deployments(n.Name).UpdateScale(n.T.Context(), name, update, metav1.UpdateOptions{FieldManager: "somebody"}); err != nil {
		n.T.Fatal(err)
	}
}

// replicas is what the Deployment asks for.
func (n *namespace) replicas(name string) int {
	n.T.Helper()
	d, err := n.Admin.AppsV1().Deployments(n.Name).Get(n.T.Context(), name, metav1.GetOptions{})
	if err != nil {
		n.T.Fatal(err)
	}
	return int(ptr.Deref(d.Spec.Replicas, 1))
}

// annotate sets annotations of a Deployment; a nil value removes one.
func (n *namespace) annotate(name string, annotations map[string]any) {
	n.T.Helper()
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": annotations}})
	if err != nil {
		n.T.Fatal(err)
	}
	if _, err := n.Admin.AppsV1().Deployments(n.Name).Patch(n.T.Context(), name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		n.T.Fatal(err)
	}
}

// status changes the status of a pod, as the kubelet would.
func (n *namespace) status(name string, edit func(*corev1.Pod)) {
	n.T.Helper()
	n.Eventually("the status is written", func() bool {
		pod, err := n.Admin.CoreV1().Pods(n.Name).Get(n.T.Context(), name, metav1.GetOptions{})
		if err != nil {
			n.T.Fatal(err)
		}
		edit(pod)
		_, err = n.Admin.CoreV1().Pods(n.Name).UpdateStatus(n.T.Context(), pod, metav1.UpdateOptions{})
		return err == nil
	})
}

func podNames(w function.Workload) (names []string) {
	for _, p := range w.Pods {
		names = append(names, p.Name)
	}
	return names
}

func TestClusterConforms(t *testing.T) {
	t.Parallel()
	scalertest.RunCluster(t, func(t *testing.T) scalertest.Fixture {
		n := newNamespace(t)
		n.deployWith(isFunction("sluice/DependsOn", "other"), "first", 1, nil)
		n.deploySet("second", 1, nil)
		n.deployWith(nil, "other", 1, nil)
		n.deployWith(nil, "nobodys", 1, nil)
		return scalertest.Fixture{Cluster: n.cluster(), Names: []string{"first", "second"}, Watched: []string{"other"}, Timeout: patience}
	})
}

// The same with the kinds the other way round: a StatefulSet's victim is always its highest number.
func TestStatefulSetConforms(t *testing.T) {
	t.Parallel()
	scalertest.RunCluster(t, func(t *testing.T) scalertest.Fixture {
		n := newNamespace(t)
		n.deploySet("first", 1, nil)
		n.deploy("second", 1, nil)
		return scalertest.Fixture{Cluster: n.cluster(), Names: []string{"first", "second"}, Timeout: patience}
	})
}
