package kube

import (
	"strings"
	"testing"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluicefaas/sluice/pkg/kube"
)

func ended(code int32, reason, message string) *corev1.ContainerStateTerminated {
	return &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, Message: message}
}

func TestTroubles(t *testing.T) {
	const name, image = "c", "example.test/f:1"
	for _, c := range []struct {
		title  string
		status corev1.PodStatus
		want   trouble
	}{
		{"fine so far", corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: name, State: waiting("ContainerCreating", "")}}}, trouble{}},
		{"no node", corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/3 nodes are available: 3 Insufficient cpu."}}},
			trouble{"it is not scheduled: 0/3 nodes are available: 3 Insufficient cpu.", blockedByScheduling}},
		{"held back", corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "SchedulingGated", Message: "gates"}}},
			trouble{"it is not scheduled: gates", ""}},
		{"pull", corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: name, Image: image, State: waiting("ErrImagePull", "not found")}}},
			trouble{"container c: image example.test/f:1 cannot be pulled (ErrImagePull): not found", blockedByImage}},
		{"pull, waiting", corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: name, Image: image, State: waiting("ImagePullBackOff", "")}}},
			trouble{"container c: image example.test/f:1 cannot be pulled (ImagePullBackOff)", blockedByImage}},
		{"image name", corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: name, Image: "A b", State: waiting("InvalidImageName", "no reference")}}},
			trouble{"container c: image A b cannot be pulled (InvalidImageName): no reference", blockedByImage}},
		{"never pull", corev1.PodStatus{InitContainerStatuses: []corev1.ContainerStatus{{Name: "i", Image: image, State: waiting("ErrImageNeverPull", "absent")}}},
			trouble{"container i: image example.test/f:1 cannot be pulled (ErrImageNeverPull): absent", blockedByImage}},
		{"crash", corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: name, RestartCount: 5, State: waiting("CrashLoopBackOff", "back-off 5m0s"),
			LastTerminationState: corev1.ContainerState{Terminated: ended(1, "Error", "first\nno such table\n")}}}},
			trouble{"container c ended with exit code 1, 5 restarts so far: first no such table", ""}},
		{"out of memory", corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: name, RestartCount: 1, State: corev1.ContainerState{Terminated: ended(137, "OOMKilled", "")}}}},
			trouble{"container c ended with exit code 137 (OOMKilled), 1 restart so far", ""}},
		{"ends well, again and again", corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: name, RestartCount: 2, State: waiting("CrashLoopBackOff", ""),
			LastTerminationState: corev1.ContainerState{Terminated: ended(0, "Completed", "")}}}},
			trouble{"container c ended with exit code 0 (Completed), 2 restarts so far", ""}},
		{"crash without a trace", corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: name, RestartCount: 2, State: waiting("CrashLoopBackOff", "")}}},
			trouble{"container c ends again and again, 2 restarts so far", ""}},
		{"an init container that is done", corev1.PodStatus{
			InitContainerStatuses: []corev1.ContainerStatus{{Name: "i", RestartCount: 3, State: corev1.ContainerState{Terminated: ended(0, "Completed", "")}}},
			ContainerStatuses:     []corev1.ContainerStatus{{Name: name, State: waiting("PodInitializing", "")}}}, trouble{}},
		{"no secret", corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: name, State: waiting("CreateContainerConfigError", `secret "db" not found`)}}},
			trouble{`container c cannot be made: secret "db" not found`, ""}},
		{"something else", corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: name, State: waiting("CreateContainerError", "why")}}},
			trouble{"container c waits (CreateContainerError): why", ""}},
	} {
		if got := troubleOf(&corev1.Pod{Status: c.status}); got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.title, got, c.want)
		}
	}
}

// Row 9 of the bugs of others: what comes from a pod is read with a limit.
func TestRow9TextsAreBounded(t *testing.T) {
	long := strings.Repeat("é\x00\n\u202e", 1<<18)
	status := corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
		Name: long, Image: long, State: waiting("ErrImagePull", long),
	}}}
	crash := corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
		Name: long, State: waiting("CrashLoopBackOff", long), LastTerminationState: corev1.ContainerState{Terminated: ended(1, long, long+"the last words")},
	}}}
	texts := []string{troubleOf(&corev1.Pod{Status: status}).text, troubleOf(&corev1.Pod{Status: crash}).text, refusal(long).text}
	for _, text := range texts {
		if len(text) > kube.MaxSentence || !utf8.ValidString(text) || strings.ContainsAny(text, "\x00\n\u202e") {
			t.Errorf("%d bytes: %q", len(text), text)
		}
	}
	if !strings.HasSuffix(texts[1], "the last words") {
		t.Errorf("the last words are not there: %q", texts[1])
	}
}
