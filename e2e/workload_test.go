package e2e

import (
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

const (
	kindDeployment  = "Deployment"
	kindStatefulSet = "StatefulSet"
	functionPort    = 8080
)

// function is a workload that runs e2e/function. Its name is also its pods' label app.
type function struct {
	name string
	// kind is a Deployment's if empty.
	kind string
	// namespace is Sluice's if empty.
	namespace   string
	replicas    int32
	annotations map[string]string
	env         map[string]string
	mode        string // serve if empty
	image       string
	// together puts all pods on one node, so that they share a clock.
	together bool
}

func (f function) in(k *kube) string {
	if f.namespace != "" {
		return f.namespace
	}
	return k.namespace
}

func (f function) meta() metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: f.name, Labels: f.labels(), Annotations: f.annotations}
}

func (f function) labels() map[string]string {
	return map[string]string{labelApp: f.name, labelTest: madeByE2E}
}

func (f function) deployment() *appsv1.Deployment {
	return &appsv1.Deployment{ObjectMeta: f.meta(), Spec: appsv1.DeploymentSpec{
		Replicas: &f.replicas, Selector: f.selector(), Template: f.template(),
	}}
}

func (f function) statefulSet() *appsv1.StatefulSet {
	return &appsv1.StatefulSet{ObjectMeta: f.meta(), Spec: appsv1.StatefulSetSpec{
		Replicas: &f.replicas, Selector: f.selector(), Template: f.template(), ServiceName: f.name,
	}}
}

func (f function) selector() *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{labelApp: f.name}}
}

func (f function) template() corev1.PodTemplateSpec {
	mode := f.mode
	if mode == "" {
		mode = "serve"
	}
	off, grace := false, int64(30)
	container := corev1.Container{
		Name: "function", Image: f.image, ImagePullPolicy: corev1.PullIfNotPresent, Args: []string{mode},
		Ports:          []corev1.ContainerPort{{ContainerPort: functionPort}},
		ReadinessProbe: httpProbe("/health"),
	}
	for _, name := range slices.Sorted(maps.Keys(f.env)) {
		container.Env = append(container.Env, corev1.EnvVar{Name: name, Value: f.env[name]})
	}
	spec := corev1.PodSpec{
		Containers: []corev1.Container{container}, AutomountServiceAccountToken: &off, EnableServiceLinks: &off,
		TerminationGracePeriodSeconds: &grace,
	}
	if f.together {
		spec.Affinity = f.oneNode()
	}
	return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: f.labels()}, Spec: spec}
}

func (f function) oneNode() *corev1.Affinity {
	term := corev1.PodAffinityTerm{LabelSelector: f.selector(), TopologyKey: corev1.LabelHostname}
	return &corev1.Affinity{PodAffinity: &corev1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{term}}}
}

func httpProbe(path string) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(functionPort)}},
		PeriodSeconds: 1, TimeoutSeconds: 2,
	}
}

// Annotations of a function.
const (
	annotationFunction   = "sluice/Function"
	annotationMin        = "sluice/ReplicasMin"
	annotationStart      = "sluice/ReplicasAtStart"
	annotationTimeout    = "sluice/TimeoutSecondBeforeSetReplicasMin"
	annotationParallel   = "sluice/NumberParallelRequest"
	annotationPerPod     = "sluice/NumberParallelRequestPerPod"
	annotationPort       = "sluice/Port"
	annotationConfigured = "sluice/Configuration"
)

// annotated are the annotations of a function: names and values in turn.
func annotated(pairs ...string) map[string]string {
	annotations := map[string]string{annotationFunction: "true"}
	for pair := range slices.Chunk(pairs, 2) {
		annotations[pair[0]] = pair[1]
	}
	return annotations
}
