package kube

import (
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/pkg/kube"
)

// workload is what we keep of a Deployment or StatefulSet. It is never changed, only replaced.
type workload struct {
	source  int // ofDeployments or ofStatefulSets
	uid     types.UID
	kind    string
	name    string
	created time.Time
	// version is the resource version, replicas the count that the object asks for.
	version  string
	replicas int
	// leaving says that it is being deleted.
	leaving bool

	isFunction bool
	// function is what its annotations say; their last valid values where they are wrong.
	function function.Function
	problems []string // of its annotations
	port     function.PortChoice
	// speaks is what Services can say about its pods; nil where the annotation Protocol decides.
	speaks *target
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

// read keeps what is common. One that is being deleted is no function any more. last is the same object as it was before, nil if it is new:
// a value that is wrong leaves the valid one of then in force.
func (d described) read(last *workload) *workload {
	w := &workload{
		source: d.source, uid: d.meta.UID, kind: d.kind, name: d.meta.Name, created: d.meta.CreationTimestamp.Time,
		version: d.meta.ResourceVersion, replicas: int(ptr.Deref(d.replicas, 1)), leaving: !d.meta.DeletionTimestamp.IsZero(),
	}
	annotations := function.Annotations{Workload: d.meta.Annotations, Template: d.template.Annotations}
	f, isFunction, problems := function.FromAnnotations(w.name, d.kind, annotations, last.lastValid())
	w.function, w.isFunction = f, isFunction && !w.leaving
	for _, problem := range problems {
		w.problems = append(w.problems, kube.Cut(problem.String(), kube.MaxSentence))
	}
	if w.isFunction {
		w.port = function.PortFromAnnotations(annotations.Workload, annotations.Template)
		w.problems = append(w.problems, w.portProblems(d.template, last)...)
		w.speaks = d.target(w.port)
	}
	return w
}

// lastValid is nil for what was no function.
func (w *workload) lastValid() *function.Function {
	if w == nil || !w.isFunction {
		return nil
	}
	return &w.function
}

// lastPort is the first one of a replica for what was no function.
func (w *workload) lastPort() function.PortChoice {
	if w == nil {
		return function.PortChoice{}
	}
	return w.port
}

// portProblems says what is wrong with the port that takes calls, as the template has it: also while there is no pod. The last choice
// stays where it is right for the template, too.
func (w *workload) portProblems(template *corev1.PodTemplateSpec, last *workload) (sentences []string) {
	declared := declaredPorts(&template.Spec)
	number, problem := w.port.Among(declared)
	if problem != nil {
		if before, wrong := last.lastPort().Among(declared); before != 0 && wrong == nil {
			w.port, number = last.lastPort(), before
			reason, _, _ := strings.Cut(problem.Want, ";")
			problem.Want = fmt.Sprintf("%s; port %d still holds", reason, before)
		}
		sentences = append(sentences, kube.Cut(problem.String(), kube.MaxSentence))
	}
	if number == 0 {
		sentences = append(sentences, withoutPort)
	}
	return sentences
}

// withoutPort is the problem of a pod that cannot be called.
const withoutPort = "no container has a containerPort, and there is no annotation sluice/Port: it cannot be called"

func readDeployment(d *appsv1.Deployment, last *workload) *workload {
	w := described{source: ofDeployments, kind: function.KindDeployment, meta: &d.ObjectMeta, template: &d.Spec.Template, replicas: d.Spec.Replicas}.read(last)
	for _, condition := range d.Status.Conditions {
		// The Deployment controller copies it from the ReplicaSet that cannot make pods, and removes it when that can again.
		if condition.Type == appsv1.DeploymentReplicaFailure && condition.Status == corev1.ConditionTrue {
			w.refused = condition.Message
		}
	}
	return w
}

func readStatefulSet(s *appsv1.StatefulSet, last *workload) *workload {
	w := described{source: ofStatefulSets, kind: function.KindStatefulSet, meta: &s.ObjectMeta, template: &s.Spec.Template, replicas: s.Spec.Replicas}.read(last)
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
