package kube

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/services/scaler/scalertest"
)

// saying waits for a workload that is blocked by a cause, or by none, and has a problem with the words.
func saying(blocked string, words ...string) func(function.Workload) bool {
	return func(w function.Workload) bool {
		all := slices.Clone(w.Problems)
		for _, p := range w.Pods {
			all = append(all, p.Problem)
		}
		text := strings.Join(all, "\n")
		return w.Blocked == blocked && !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, word) })
	}
}

func TestQuotaBlocks(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.deploy("f", 1, nil)
	cluster, recorder, _ := n.watch()
	recorder.Wait(t, "f", patience, scalertest.Ready(1))
	lift := n.Limit("pods", "2")
	if err := cluster.SetReplicas(t.Context(), "f", 3, nil); err != nil {
		t.Fatal(err)
	}
	w := recorder.Wait(t, "f", patience, saying(blockedByQuota, "exceeded quota: few"))
	if w.Replicas != 3 {
		t.Errorf("observed %+v", w)
	}
	lift()
	recorder.Wait(t, "f", patience, func(w function.Workload) bool {
		return w.Blocked == "" && len(w.Problems) == 0 && scalertest.Ready(3)(w)
	})
}

func TestStatefulSetOverQuotaBlocks(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.deploySet("s", 1, nil)
	cluster, recorder, _ := n.watch()
	recorder.Wait(t, "s", patience, scalertest.Ready(1))
	lift := n.Limit("pods", "1")
	if err := cluster.SetReplicas(t.Context(), "s", 2, nil); err != nil {
		t.Fatal(err)
	}
	recorder.Wait(t, "s", patience, saying(blockedBySilence, "it has 1 of 2 pods"))
	lift()
	recorder.Wait(t, "s", patience, func(w function.Workload) bool {
		return w.Blocked == "" && len(w.Problems) == 0 && scalertest.Ready(2)(w)
	})
}

func TestUnschedulablePodsBlock(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.deploy("f", 1, func(pods *corev1.PodTemplateSpec) { pods.Spec.NodeSelector = map[string]string{"gpu": n.Name} })
	_, recorder, _ := n.watch()
	w := recorder.Wait(t, "f", patience, saying(blockedByScheduling, "it is not scheduled: 0/"))
	if len(w.Pods) != 1 || w.Pods[0].Ready {
		t.Errorf("observed %+v", w)
	}
}

func TestImageFailuresBlockUntilTheyAreOver(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.deploy("f", 1, func(pods *corev1.PodTemplateSpec) { pods.Annotations = map[string]string{manual: "yes"} })
	_, recorder, _ := n.watch()
	pod := recorder.Wait(t, "f", patience, func(w function.Workload) bool { return len(w.Pods) == 1 }).Pods[0].Name
	n.status(pod, func(p *corev1.Pod) {
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "c", Image: "example.test/f:1", State: waiting("ImagePullBackOff", "Back-off pulling image")}}
	})
	recorder.Wait(t, "f", patience, saying(blockedByImage, "image example.test/f:1 cannot be pulled (ImagePullBackOff): Back-off"))
	n.status(pod, func(p *corev1.Pod) {
		p.Status.ContainerStatuses[0].State = waiting("CreateContainerConfigError", `secret "db" not found`)
	})
	recorder.Wait(t, "f", patience, saying("", `container c cannot be made: secret "db" not found`))
	n.status(pod, func(p *corev1.Pod) {
		p.Status.ContainerStatuses[0].State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
		p.Status.Phase, p.Status.PodIP = corev1.PodRunning, "127.0.0.9"
		setReady(p, corev1.ConditionTrue)
	})
	w := recorder.Wait(t, "f", patience, scalertest.Ready(1))
	if w.Pods[0].Problem != "" || w.Pods[0].Address != "127.0.0.9:8080" {
		t.Errorf("observed %+v", w)
	}
}

// A pod that somebody deletes takes no more calls from that moment, long before it is gone.
func TestDeletedPodLeavesAtOnce(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.deploy("f", 2, func(pods *corev1.PodTemplateSpec) { pods.Annotations = map[string]string{slowEnd: "yes"} })
	_, recorder, _ := n.watch()
	before := recorder.Wait(t, "f", patience, scalertest.Ready(2))
	leaving := before.Pods[0]
	if err := n.Admin.CoreV1().Pods(n.Name).Delete(t.Context(), leaving.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	after := recorder.Wait(t, "f", patience, func(w function.Workload) bool { return len(w.Pods) == 3 && len(w.ReadyEndpoints()) == 2 })
	if !slices.Contains(after.Pods, function.Pod{Name: leaving.Name, Address: leaving.Address}) || after.Replicas != 2 {
		t.Errorf("observed %+v", after)
	}
	for _, w := range recorder.History("f") {
		if len(w.Pods) == 3 && slices.ContainsFunc(w.ReadyEndpoints(), func(e function.Endpoint) bool { return e.Replica == leaving.Name }) {
			t.Errorf("its successor was there, and it took calls: %+v", w)
		}
	}
}

// A workload is a function as long as its annotations say so.
func TestAnnotationsMakeFunctions(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.deploy("f", 1, nil)
	w := newWitness()
	watchWith(t, n.cluster(), w)
	w.Wait(t, "f", patience, scalertest.Ready(1))
	n.annotate("f", map[string]any{"sluice/Function": "false"})
	n.Eventually("it is forgotten", func() bool { return slices.Contains(w.all(), "forget f") })
	n.annotate("f", map[string]any{"sluice/Function": nil, "SlimFaas/Function": "true", "SlimFaas/ReplicasMin": "1", "SlimFaas/NumberParallelRequest": "none"})
	again := w.Wait(t, "f", patience, scalertest.Ready(1))
	if again.Function.ReplicasMin != 0 || len(again.Problems) != 1 || !strings.Contains(again.Problems[0], `SlimFaas/NumberParallelRequest: "none"`) {
		t.Errorf("observed %+v: sluice/ReplicasMin wins", again)
	}
}
