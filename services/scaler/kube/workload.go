package kube

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/sluicefaas/sluice/pkg/function"
)

// workload is what we keep of a Deployment or StatefulSet. It is never changed, only replaced.
type workload struct {
	source  int // ofDeployments or ofStatefulSets
	uid     types.UID
	name    string
	created time.Time
	// version is the resource version, replicas the count that the object asks for.
	version  string
	replicas int

	isFunction bool
	function   function.Function
	problems   []string // of its annotations
	port       function.PortChoice
	// refused is why its controller cannot make pods, in the API server's words.
	refused string
	// settled says that a StatefulSet's controller has seen the newest specification.
	settled bool
	// ordinal is the number of a StatefulSet's first pod.
	ordinal int
}

// described is what Deployments and StatefulSets have in common.
type described struct {
	source   int
	kind     string
	meta     *metav1.ObjectMeta
	template *corev1.PodTemplateSpec
	replicas *int32
}

// read keeps what is common. One that is being deleted is no function any more.
func (d described) read() *workload {
	w := &workload{
		source: d.source, uid: d.meta.UID, name: d.meta.Name, created: d.meta.CreationTimestamp.Time, version: d.meta.ResourceVersion,
		replicas: int(ptr.Deref(d.replicas, 1)),
	}
	f, isFunction, problems := function.FromAnnotations(w.name, d.kind, d.meta.Annotations, d.template.Annotations)
	w.function, w.isFunction = f, isFunction && d.meta.DeletionTimestamp.IsZero()
	w.port = function.PortFromAnnotations(d.meta.Annotations, d.template.Annotations)
	for _, problem := range problems {
		w.problems = append(w.problems, cut(problem.String()))
	}
	if w.isFunction {
		w.problems = append(w.problems, w.portProblems(d.template)...)
	}
	return w
}

// portProblems says what is wrong with the port that takes calls, as the template has it: also while there is no pod.
func (w *workload) portProblems(template *corev1.PodTemplateSpec) (sentences []string) {
	number, problem := w.port.Among(declaredPorts(&template.Spec))
	if problem != nil {
		sentences = append(sentences, cut(problem.String()))
	}
	if number == 0 {
		sentences = append(sentences, withoutPort)
	}
	return sentences
}

// withoutPort is the problem of a pod that cannot be called.
const withoutPort = "no container has a containerPort, and there is no annotation sluice/Port: it cannot be called"

func readDeployment(d *appsv1.Deployment) *workload {
	w := described{source: ofDeployments, kind: function.KindDeployment, meta: &d.ObjectMeta, template: &d.Spec.Template, replicas: d.Spec.Replicas}.read()
	for _, condition := range d.Status.Conditions {
		// The Deployment controller copies it from the ReplicaSet that cannot make pods, and removes it when that can again.
		if condition.Type == appsv1.DeploymentReplicaFailure && condition.Status == corev1.ConditionTrue {
			w.refused = condition.Message
		}
	}
	return w
}

func readStatefulSet(s *appsv1.StatefulSet) *workload {
	w := described{source: ofStatefulSets, kind: function.KindStatefulSet, meta: &s.ObjectMeta, template: &s.Spec.Template, replicas: s.Spec.Replicas}.read()
	w.settled = s.Status.ObservedGeneration == s.Generation
	if s.Spec.Ordinals != nil {
		w.ordinal = int(s.Spec.Ordinals.Start)
	}
	return w
}

// declaredPorts are the TCP ports of the containers, in the order in which they are written.
func declaredPorts(spec *corev1.PodSpec) (ports []function.Port) {
	for _, container := range spec.Containers {
		for _, port := range container.Ports {
			if port.Protocol == corev1.ProtocolTCP || port.Protocol == "" {
				ports = append(ports, function.Port{Name: port.Name, Number: int(port.ContainerPort)})
			}
		}
	}
	return ports
}

// controllerOf returns the object that controls the one with the metadata, if that is of the kind.
func controllerOf(meta metav1.Object, kinds ...string) (uid owner, found bool) {
	reference := metav1.GetControllerOfNoCopy(meta)
	if reference == nil || !isApps(reference.APIVersion) {
		return "", false
	}
	for _, kind := range kinds {
		if reference.Kind == kind {
			return reference.UID, true
		}
	}
	return "", false
}

// isApps reports whether the API version is one of the group apps.
func isApps(version string) bool {
	const group = "apps/"
	return len(version) > len(group) && version[:len(group)] == group
}
