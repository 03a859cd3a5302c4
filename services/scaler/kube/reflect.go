package kube

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluicefaas/sluice/pkg/kube"
)

// sources are all kinds. Of ReplicaSets only the metadata is read: whom they belong to.
func (c *Client) sources() map[int]kube.Source {
	namespace := c.Namespace()
	return map[int]kube.Source{
		ofDeployments:  kube.NewSource("Deployments", &appsv1.Deployment{}, c.apps.Deployments(namespace)),
		ofStatefulSets: kube.NewSource("StatefulSets", &appsv1.StatefulSet{}, c.apps.StatefulSets(namespace)),
		ofReplicaSets: kube.NewSource("ReplicaSets", &metav1.PartialObjectMetadata{},
			c.metadata.Resource(appsv1.SchemeGroupVersion.WithResource("replicasets")).Namespace(namespace)),
		ofPods:     kube.NewSource("Pods", &corev1.Pod{}, c.core.Pods(namespace)),
		ofServices: kube.NewSource("Services", &corev1.Service{}, c.core.Services(namespace)),
	}
}

// keeper is the view as what is followed of one kind writes it.
type keeper struct {
	view *view
	kind int
}

var _ kube.Keeper = keeper{}

// Lock implements kube.Keeper.
func (k keeper) Lock() { k.view.mu.Lock() }

// Unlock implements kube.Keeper.
func (k keeper) Unlock() { k.view.mu.Unlock() }

// Listed implements kube.Keeper.
func (k keeper) Listed() { k.view.isListed(k.kind) }

// Put implements kube.Keeper. A pod or ReplicaSet that has no controller any more is dropped.
func (k keeper) Put(object any) {
	switch object := object.(type) {
	case *appsv1.Deployment:
		k.view.putWorkload(readDeployment(object, k.view.before(ofDeployments, object)))
	case *appsv1.StatefulSet:
		k.view.putWorkload(readStatefulSet(object, k.view.before(ofStatefulSets, object)))
	case *metav1.PartialObjectMetadata:
		if deployment, controlled := controllerOf(object, "Deployment"); controlled {
			k.view.putSet(object.UID, deployment)
		} else {
			k.view.dropSet(object.UID)
		}
	case *corev1.Pod:
		if p, kept := readPod(object, k.view.own); kept {
			k.view.putPod(p)
		} else {
			k.view.dropPod(object.UID)
		}
	case *corev1.Service:
		k.view.putService(object)
	}
}

// Drop implements kube.Keeper.
func (k keeper) Drop(uid types.UID) {
	switch k.kind {
	case ofDeployments, ofStatefulSets:
		k.view.dropWorkload(uid)
		delete(k.view.silent, uid)
	case ofReplicaSets:
		k.view.dropSet(uid)
	case ofPods:
		k.view.dropPod(uid)
	case ofServices:
		k.view.dropService(uid)
	}
}
