package kube

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/sluicefaas/sluice/pkg/job"
)

// aPod is one of the Job with that UID, on a node, whose containers do not run yet.
func aPod(name, owner string, edit func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, UID: types.UID("uid-" + name), CreationTimestamp: second(2),
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", UID: types.UID(owner), Controller: ptr.To(true)}},
		},
		Spec:   corev1.PodSpec{NodeName: "node-7"},
		Status: corev1.PodStatus{Phase: corev1.PodPending, StartTime: ptr.To(second(3))},
	}
	if edit != nil {
		edit(p)
	}
	return p
}

func waits(reason, message string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
}

func runs(from int) corev1.ContainerState {
	return corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: second(from)}}
}

func ended(code int32, from, to int) corev1.ContainerState {
	reason := "Completed"
	if code != 0 {
		reason = "Error"
	}
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, StartedAt: second(from), FinishedAt: second(to)}}
}

// When a pod has begun and ended.
func TestTimesOfPods(t *testing.T) {
	at := func(n int) time.Time { return second(n).Time }
	status := func(phase corev1.PodPhase, states ...corev1.ContainerState) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Status.Phase = phase
			for _, s := range states {
				p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{Name: "c", State: s})
			}
		}
	}
	for _, c := range []struct {
		name       string
		edit       func(*corev1.Pod)
		began, end time.Time
	}{
		{"not yet", nil, time.Time{}, time.Time{}},
		{"no phase yet", func(p *corev1.Pod) { p.Status.Phase = "" }, time.Time{}, time.Time{}},
		{"its init containers run", func(p *corev1.Pod) {
			p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "i", State: runs(4)}}
		}, time.Time{}, time.Time{}},
		{"it runs", status(corev1.PodRunning, waits("ContainerCreating", ""), runs(6), runs(5)), at(5), time.Time{}},
		{"one of two has ended", status(corev1.PodRunning, ended(0, 5, 9), runs(6)), at(5), time.Time{}},
		{"it runs again", func(p *corev1.Pod) {
			p.Status.Phase = corev1.PodRunning
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "c", State: runs(20), LastTerminationState: ended(1, 5, 6)}}
		}, at(5), time.Time{}},
		{"it has succeeded", status(corev1.PodSucceeded, ended(0, 5, 9), ended(0, 6, 8)), at(5), at(9)},
		{"it has failed", status(corev1.PodFailed, ended(1, 5, 9)), at(5), at(9)},
		{"it has failed before it began", status(corev1.PodFailed), at(3), at(3)},
		{"it has failed without a node", func(p *corev1.Pod) { p.Status = corev1.PodStatus{Phase: corev1.PodFailed} }, at(2), at(2)},
	} {
		p, kept := readPod(aPod("p", "u", c.edit))
		if !kept || !p.shown.StartedAt.Equal(c.began) || !p.shown.FinishedAt.Equal(c.end) {
			t.Errorf("%s: from %v to %v", c.name, p.shown.StartedAt, p.shown.FinishedAt)
		}
	}
}

func TestContainersOfPods(t *testing.T) {
	p, _ := readPod(aPod("p", "u", func(p *corev1.Pod) {
		p.Status.Phase, p.Status.Reason, p.Status.Message = corev1.PodFailed, "Evicted", "The node was low on\nresource: memory."
		failed := ended(137, 5, 9)
		failed.Terminated.Reason, failed.Terminated.Message = "OOMKilled", "first\nsecond"
		p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "init", State: ended(0, 3, 4)}}
		p.Status.ContainerStatuses = []corev1.ContainerStatus{
			{Name: "main", State: failed, RestartCount: 2},
			{Name: "side", State: waits("CrashLoopBackOff", "back-off"), LastTerminationState: ended(4, 5, 6)},
			{Name: "more", State: runs(5)},
		}
	}))
	want := []job.Container{
		{Name: "init", Init: true, ExitCode: ptr.To(0), Reason: "Completed"},
		{Name: "main", Restarts: 2, ExitCode: ptr.To(137), Reason: "OOMKilled", Message: "first\nsecond"},
		{Name: "side", Reason: "CrashLoopBackOff", Message: "back-off"},
		{Name: "more"},
	}
	if p.shown.Name != "p" || p.shown.Node != "node-7" || p.shown.Phase != "Failed" || p.shown.Reason != "Evicted" || p.shown.Message != "The node was low on resource: memory." || len(p.shown.Containers) != len(want) {
		t.Fatalf("it is %+v", p.shown)
	}
	for i, got := range p.shown.Containers {
		if got.Name != want[i].Name || got.Init != want[i].Init || got.Restarts != want[i].Restarts || got.Reason != want[i].Reason || got.Message != want[i].Message ||
			(got.ExitCode == nil) != (want[i].ExitCode == nil) || got.ExitCode != nil && *got.ExitCode != *want[i].ExitCode {
			t.Errorf("container %d is %+v, want %+v", i, got, want[i])
		}
	}
}

// Only what a Job controls is a pod of a Job: a label or a name is not enough.
func TestPodsBelongToTheirController(t *testing.T) {
	for name, edit := range map[string]func(*corev1.Pod){
		"nobody's":            func(p *corev1.Pod) { p.OwnerReferences = nil },
		"owned, not governed": func(p *corev1.Pod) { p.OwnerReferences[0].Controller = nil },
		"another kind":        func(p *corev1.Pod) { p.OwnerReferences[0].Kind = "ReplicaSet" },
		"another group":       func(p *corev1.Pod) { p.OwnerReferences[0].APIVersion = "example.com/v1" },
	} {
		if _, kept := readPod(aPod("p", "u", edit)); kept {
			t.Errorf("%s: it is kept", name)
		}
	}
	if p, kept := readPod(aPod("p", "u", nil)); !kept || p.owner != "u" {
		t.Errorf("a Job's own is %+v", p)
	}
}

// Row 9 of the bugs of others: what pods say is kept within limits, and of what a program said last the end.
func TestRow9WordsOfPodsAreBounded(t *testing.T) {
	long := strings.Repeat("é", 1<<16)
	failed := ended(1, 5, 6)
	failed.Terminated.Reason, failed.Terminated.Message = long, long+"the last words"
	p, _ := readPod(aPod("p", "u", func(p *corev1.Pod) {
		p.Status.Message = long
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "a", State: failed}, {Name: "b", State: waits(long, long)}}
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: long}}
	}))
	if !strings.HasSuffix(p.shown.Containers[0].Message, "the last words") {
		t.Errorf("the last words are missing: %q", p.shown.Containers[0].Message)
	}
	for _, text := range []string{p.shown.Message, p.trouble.detail, p.shown.Containers[0].Message, p.shown.Containers[0].Reason, p.shown.Containers[1].Message, p.shown.Containers[1].Reason} {
		if len(text) > job.MaxMessage || !utf8.ValidString(text) {
			t.Errorf("%d bytes, valid: %v", len(text), utf8.ValidString(text))
		}
	}
}
