package e2e

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Bounds of what is told after a failure.
const (
	dumpPatience = 30 * time.Second
	dumpEvents   = 40
	dumpLines    = 60
)

// dump tells what the cluster looks like: what a person would ask for who reads of the failure in the output of CI alone.
func (s *system) dump(t *testing.T) {
	t.Helper()
	s.dumps++
	ctx, cancel := context.WithTimeout(context.Background(), dumpPatience)
	defer cancel()
	list, err := s.kube.CoreV1().Pods(s.kube.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Logf("the pods cannot be listed: %v", err)
		return
	}
	var text strings.Builder
	for _, pod := range list.Items {
		fmt.Fprintf(&text, "pod %s: %s\n", pod.Name, state(pod))
	}
	s.dumpEvents(ctx, &text)
	for _, pod := range list.Items {
		if pod.Labels["app.kubernetes.io/instance"] == release {
			s.dumpLogs(ctx, &text, pod)
		}
	}
	t.Log("the cluster at the failure:\n" + text.String())
}

// state of a pod and its containers in a line.
func state(pod corev1.Pod) string {
	text := string(pod.Status.Phase)
	if pod.DeletionTimestamp != nil {
		text += ", terminating"
	}
	for _, c := range pod.Status.ContainerStatuses {
		text += fmt.Sprintf(", ready %v, restarts %d", c.Ready, c.RestartCount)
		if c.State.Waiting != nil {
			text += ", " + c.State.Waiting.Reason + " " + c.State.Waiting.Message
		}
		if ended := c.LastTerminationState.Terminated; ended != nil {
			text += fmt.Sprintf(", last ended with %d (%s) at %s", ended.ExitCode, ended.Reason, ended.FinishedAt.Format(time.TimeOnly))
		}
	}
	return text
}

func (s *system) dumpEvents(ctx context.Context, text *strings.Builder) {
	list, err := s.kube.CoreV1().Events(s.kube.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		fmt.Fprintf(text, "the events cannot be listed: %v\n", err)
		return
	}
	slices.SortFunc(list.Items, func(a, b corev1.Event) int { return cmp.Compare(when(a).UnixNano(), when(b).UnixNano()) })
	for _, e := range list.Items[max(0, len(list.Items)-dumpEvents):] {
		fmt.Fprintf(text, "event %s %s %s/%s: %s %s\n", when(e).Format(time.TimeOnly), e.Type, e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Reason, e.Message)
	}
}

// when is the event's newest time.
func when(e corev1.Event) time.Time {
	return slices.MaxFunc([]time.Time{e.LastTimestamp.Time, e.EventTime.Time, e.FirstTimestamp.Time}, time.Time.Compare)
}

// dumpLogs tells the last lines of the pod's containers, and of those before them.
func (s *system) dumpLogs(ctx context.Context, text *strings.Builder, pod corev1.Pod) {
	for _, previous := range []bool{true, false} {
		if previous && restarts(pod) == 0 {
			continue
		}
		lines := int64(dumpLines)
		log, err := s.kube.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{TailLines: &lines, Previous: previous}).DoRaw(ctx)
		if err != nil {
			log = []byte(err.Error() + "\n")
		}
		fmt.Fprintf(text, "log of %s (before its restart: %v):\n%s", pod.Name, previous, log)
	}
}
