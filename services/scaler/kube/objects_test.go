package kube

import (
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

// birth is when the objects of the unit tests were made; minute shifts it.
var birth = time.Date(2026, 3, 29, 1, 59, 0, 0, time.UTC)

func minute(n int) metav1.Time { return metav1.NewTime(birth.Add(time.Duration(n) * time.Minute)) }

// isFunction is the annotations of a function.
func isFunction(more ...string) map[string]string {
	annotations := map[string]string{"sluice/Function": "true"}
	for i := 0; i < len(more); i += 2 {
		annotations[more[i]] = more[i+1]
	}
	return annotations
}

func meta(name, uid string, born int, annotations map[string]string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, UID: types.UID(uid), CreationTimestamp: minute(born), ResourceVersion: "7", Generation: 2, Annotations: annotations}
}

func controlledBy(kind, uid string) []metav1.OwnerReference {
	return []metav1.OwnerReference{
		{APIVersion: "v1", Kind: "Node", UID: "somebody-else"},
		{APIVersion: "apps/v1", Kind: kind, UID: types.UID(uid), Controller: ptr.To(true)},
	}
}

// template has one container with the ports.
func template(ports ...int32) corev1.PodTemplateSpec {
	container := corev1.Container{Name: "c", Image: "example.test/f:1"}
	for i, port := range ports {
		container.Ports = append(container.Ports, corev1.ContainerPort{Name: fmt.Sprint("port-", i), ContainerPort: port, Protocol: corev1.ProtocolTCP})
	}
	return corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{container}}}
}

func deployment(name, uid string, replicas int32, annotations map[string]string) *appsv1.Deployment {
	return &appsv1.Deployment{ObjectMeta: meta(name, uid, 0, annotations), Spec: appsv1.DeploymentSpec{Replicas: &replicas, Template: template(8080)}}
}

func statefulSet(name, uid string, replicas int32, annotations map[string]string) *appsv1.StatefulSet {
	return &appsv1.StatefulSet{
		ObjectMeta: meta(name, uid, 1, annotations), Spec: appsv1.StatefulSetSpec{Replicas: &replicas, Template: template(8080)},
		Status: appsv1.StatefulSetStatus{ObservedGeneration: 2},
	}
}

func replicaSet(name, uid, deployment string) *metav1.PartialObjectMetadata {
	set := &metav1.PartialObjectMetadata{ObjectMeta: meta(name, uid, 1, nil)}
	set.OwnerReferences = controlledBy("Deployment", deployment)
	return set
}

// onePod is ready at the address and has port 8080.
func onePod(name, kind, by, ip string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: meta(name, "uid-"+name, 2, nil), Spec: template(8080).Spec}
	p.OwnerReferences = controlledBy(kind, by)
	p.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: ip, Conditions: []corev1.PodCondition{
		{Type: corev1.PodScheduled, Status: corev1.ConditionTrue},
		{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: minute(3)},
	}}
	return p
}

func notReady(p *corev1.Pod) *corev1.Pod {
	p.Status.Conditions[1].Status = corev1.ConditionFalse
	return p
}
