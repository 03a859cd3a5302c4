package kube

import (
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluicefaas/sluice/pkg/job"
	"github.com/sluicefaas/sluice/pkg/kube"
)

// ours selects the Jobs and pods that job.Manifest has made.
const ours = job.LabelManagedBy + "=" + job.ManagedBy

// sources are all kinds. CronJobs are read as they are, so that fields which are newer than we are reach the Jobs.
func (c *Client) sources() map[int]kube.Source {
	namespace := c.Namespace()
	cronJobs := c.untyped.Resource(batchv1.SchemeGroupVersion.WithResource("cronjobs")).Namespace(namespace)
	return map[int]kube.Source{
		ofCronJobs:     kube.NewSource("CronJobs", &unstructured.Unstructured{}, cronJobs),
		ofJobs:         kube.NewSource("Jobs", &batchv1.Job{}, c.batch.Jobs(namespace)).Selecting(ours, ""),
		ofPods:         kube.NewSource("Pods", &corev1.Pod{}, c.core.Pods(namespace)).Selecting(ours, ""),
		ofDeployments:  kube.NewSource("Deployments", &appsv1.Deployment{}, c.apps.Deployments(namespace)),
		ofStatefulSets: kube.NewSource("StatefulSets", &appsv1.StatefulSet{}, c.apps.StatefulSets(namespace)),
		ofEvents:       kube.NewSource("Events", &corev1.Event{}, c.core.Events(namespace)).Selecting("", "type="+corev1.EventTypeWarning),
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

// Put implements kube.Keeper.
func (k keeper) Put(object any) {
	switch object := object.(type) {
	case *unstructured.Unstructured:
		k.view.putCronJob(object)
	case *batchv1.Job:
		k.view.putJob(object)
	case *corev1.Pod:
		k.view.putPod(object)
	case *corev1.Event:
		k.view.putEvent(object)
	case *appsv1.Deployment:
		k.view.putWorkload(readDeployment(object))
	case *appsv1.StatefulSet:
		k.view.putWorkload(readStatefulSet(object))
	}
}

// Drop implements kube.Keeper.
func (k keeper) Drop(uid types.UID) {
	switch k.kind {
	case ofCronJobs:
		k.view.dropCronJob(uid)
	case ofJobs:
		k.view.dropJob(uid)
	case ofPods:
		k.view.dropPod(uid)
	case ofEvents:
		k.view.dropEvent(uid)
	case ofDeployments, ofStatefulSets:
		k.view.dropWorkload(uid)
	}
}
