package chart

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// A workload takes its own pods, and nobody else's, also when two releases share a namespace; a Service or budget has the pods of exactly
// one workload; no two objects have one name.
func TestSelectorsDoNotOverlap(t *testing.T) {
	forEachExample(t, func(t *testing.T, name string, first []object) {
		second := renderRelease(t, "second", "--values", examples(t)[name], "--set", "fullnameOverride=second", "--set-json", "gateway.service.aliases=[]") // which are names that the user chooses
		both := append(slices.Clone(first), second...)
		named := map[string]bool{}
		for _, o := range both {
			if named[o.String()] {
				t.Errorf("two objects are %s", o)
			}
			named[o.String()] = true
			if selector := selectorOf(o); selector != nil {
				requireOnePodSource(t, o, selector, workloads(t, both))
			}
		}
	})
}

func renderRelease(t *testing.T, name string, args ...string) []object {
	t.Helper()
	text, err := helm(t, append([]string{"template", name, chartFolder(), "--namespace", namespace, "--kube-version", kubeVersion}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := decode([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

func selectorOf(o object) labels.Selector {
	switch typed := o.typed.(type) {
	case *corev1.Service:
		return labels.SelectorFromSet(typed.Spec.Selector)
	case *policyv1.PodDisruptionBudget:
		return asSelector(typed.Spec.Selector)
	}
	if w := o.asWorkload(); w != nil && w.selector != nil {
		return asSelector(w.selector)
	}
	return nil
}

// asSelector returns one that selects nothing if it cannot be read.
func asSelector(selector *metav1.LabelSelector) labels.Selector {
	read, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return labels.Nothing()
	}
	return read
}

// requireOnePodSource requires that the selector takes the pods of one workload: o itself, or the one of the same component.
func requireOnePodSource(t *testing.T, o object, selector labels.Selector, all []workload) {
	t.Helper()
	var taken []string
	for _, w := range all {
		if selector.Matches(labels.Set(w.template.Labels)) {
			taken = append(taken, w.String())
			if w.component() != o.component() || w.GetLabels()["app.kubernetes.io/instance"] != o.GetLabels()["app.kubernetes.io/instance"] {
				t.Errorf("%s selects the pods of %s", o, w)
			}
		}
	}
	if len(taken) != 1 {
		t.Errorf("%s selects the pods of %v", o, taken)
	}
}

// Ports that Services and probes name are there; a Service shows no port that it should not.
func TestPortsAreThere(t *testing.T) {
	shown := map[string][]string{}
	objects := render(t)
	for _, o := range objects {
		service, is := o.typed.(*corev1.Service)
		if !is {
			continue
		}
		pod := podOf(t, objects, o.component())
		for _, port := range service.Spec.Ports {
			number := portNumber(pod.Containers[0], port.TargetPort)
			shown[o.GetName()] = append(shown[o.GetName()], fmt.Sprintf("%d:%d", port.Port, number))
		}
	}
	want := map[string][]string{
		"sluice-gateway": {"80:5000"}, "sluice-nats": {"4222:4222"}, "sluice-nats-headless": {"4222:4222", "6222:6222", "8222:8222"},
	}
	if fmt.Sprint(shown) != fmt.Sprint(want) {
		t.Errorf("have %v, want %v", shown, want)
	}
	for _, w := range workloads(t, objects) {
		for _, container := range w.template.Spec.Containers {
			for _, probe := range []*corev1.Probe{container.StartupProbe, container.ReadinessProbe, container.LivenessProbe} {
				if probe != nil && portNumber(container, probe.HTTPGet.Port) == 0 {
					t.Errorf("%s: %s is asked for on port %v, which it has not", w, probe.HTTPGet.Path, probe.HTTPGet.Port)
				}
			}
			if w.kind != "Job" && (container.ReadinessProbe == nil || container.LivenessProbe == nil) {
				t.Errorf("%s: container %s is not probed", w, container.Name)
			}
		}
	}
}

// portNumber is 0 for a port that the container does not have.
func portNumber(container corev1.Container, port intstr.IntOrString) int32 {
	for _, have := range container.Ports {
		if have.Name == port.StrVal || have.ContainerPort == port.IntVal {
			return have.ContainerPort
		}
	}
	return 0
}

// A pod is not killed before it has had the time to end by itself that it was promised.
func TestGraceIsLongerThanTheDrain(t *testing.T) {
	const toEnd = 6 * time.Second // ops.InterruptGrace and the close of the bus
	forEachExample(t, func(t *testing.T, _ string, objects []object) {
		for _, w := range workloads(t, objects) {
			service, pod := w.component(), w.template.Spec
			if !slices.Contains(services, service) {
				continue
			}
			drain := toEnd
			for _, flag := range []string{"--drain-delay", "--drain-timeout"} {
				text, _ := argument(pod.Containers[0], flag)
				part, err := time.ParseDuration(text)
				if err != nil {
					t.Fatalf("%s: %s: %v", service, flag, err)
				}
				drain += part
			}
			if grace := time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second; grace <= drain {
				t.Errorf("%s: %v of grace for a drain of %v", service, grace, drain)
			}
		}
	})
}

// Two dispatchers at once would break the limits of every function.
func TestOneDispatcher(t *testing.T) {
	dispatcher := find(t, render(t), "Deployment/sluice-dispatcher").typed.(*appsv1.Deployment)
	if *dispatcher.Spec.Replicas != 1 || dispatcher.Spec.Strategy.Type != "Recreate" {
		t.Errorf("%d dispatchers, %s", *dispatcher.Spec.Replicas, dispatcher.Spec.Strategy.Type)
	}
}

// Names stay within what Kubernetes allows, however long the release's is.
func TestLongNames(t *testing.T) {
	long := strings.Repeat("long-", 10) + "end" // 53 letters, the most that Helm takes
	for _, o := range renderRelease(t, long) {
		longest := len(o.GetName())
		if o.kind == "StatefulSet" {
			longest += len("-0")
			longest += len("-5b8f9c7d6f") // the label controller-revision-hash
		}
		if longest > 63 {
			t.Errorf("%s has %d letters", o, longest)
		}
	}
}
