package kube

import (
	"cmp"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluicefaas/sluice/pkg/job"
	"github.com/sluicefaas/sluice/pkg/kube"
)

// pod is what we keep of a pod of a Job. It is never changed, only replaced.
type pod struct {
	uid, owner types.UID
	born       time.Time
	shown      job.Pod
	// ending says that it is being deleted.
	ending bool
	// trouble is why it does not run.
	trouble trouble
}

// readPod keeps what matters of a pod that a Job controls; it is false for others.
func readPod(from *corev1.Pod) (*pod, bool) {
	by := metav1.GetControllerOfNoCopy(from)
	if by == nil || by.Kind != "Job" || !strings.HasPrefix(by.APIVersion, "batch/") {
		return nil, false
	}
	p := &pod{uid: from.UID, owner: by.UID, born: from.CreationTimestamp.Time, ending: from.DeletionTimestamp != nil}
	if from.Status.Phase == corev1.PodPending {
		p.trouble = pendingTrouble(from)
	} else {
		p.trouble = containerTrouble(from.Status.ContainerStatuses)
	}
	p.shown = job.Pod{
		Name: from.Name, Node: from.Spec.NodeName, Phase: string(from.Status.Phase),
		Reason: cmp.Or(from.Status.Reason, p.trouble.reason), Message: cmp.Or(kube.Cut(from.Status.Message, job.MaxMessage), p.trouble.detail),
		Containers: append(containersOf(from.Status.InitContainerStatuses, true), containersOf(from.Status.ContainerStatuses, false)...),
	}
	p.shown.StartedAt, p.shown.FinishedAt = timesOf(from)
	return p, true
}

func containersOf(statuses []corev1.ContainerStatus, init bool) (containers []job.Container) {
	for i := range statuses {
		containers = append(containers, containerOf(&statuses[i], init))
	}
	return containers
}

func containerOf(s *corev1.ContainerStatus, init bool) job.Container {
	c := job.Container{Name: s.Name, Init: init, Restarts: int(s.RestartCount)}
	ended := s.State.Terminated
	if ended != nil {
		code := int(ended.ExitCode)
		c.ExitCode, c.Reason = &code, kube.Cut(ended.Reason, job.MaxMessage)
	} else if s.State.Waiting != nil {
		c.Reason, c.Message = kube.Cut(s.State.Waiting.Reason, job.MaxMessage), kube.Cut(s.State.Waiting.Message, job.MaxMessage)
		ended = s.LastTerminationState.Terminated
	}
	if ended != nil && ended.Message != "" {
		c.Message = lastWords(ended.Message)
	}
	return c
}

// lastWords is the end of what a program said last, which may be the end of its output.
func lastWords(text string) string {
	return strings.ToValidUTF8(text[max(0, len(text)-job.MaxMessage):], "")
}

// timesOf are when the pod began to run and when it ended; zero while it has not. A pod whose init containers run is not running yet.
func timesOf(p *corev1.Pod) (started, finished time.Time) {
	switch p.Status.Phase {
	case corev1.PodPending, "":
		return started, finished
	case corev1.PodSucceeded, corev1.PodFailed:
		finished = p.CreationTimestamp.Time // of a pod that was never on a node
	}
	for i := range p.Status.ContainerStatuses {
		began, ended := spanOf(&p.Status.ContainerStatuses[i])
		if !began.IsZero() && (started.IsZero() || began.Before(started)) {
			started = began
		}
		if !finished.IsZero() && ended.After(finished) {
			finished = ended
		}
	}
	if started.IsZero() && p.Status.StartTime != nil {
		started = p.Status.StartTime.Time
	}
	started = cmp.Or(started, p.CreationTimestamp.Time)
	if !finished.IsZero() && finished.Before(started) {
		finished = started
	}
	return started.UTC(), finished.UTC()
}

// spanOf is when a container first began, as far as is known, and when it ended.
func spanOf(s *corev1.ContainerStatus) (began, ended time.Time) {
	if last := s.LastTerminationState.Terminated; last != nil {
		began = last.StartedAt.Time
	}
	if s.State.Running != nil {
		began = cmp.Or(began, s.State.Running.StartedAt.Time)
	}
	if now := s.State.Terminated; now != nil {
		began, ended = cmp.Or(began, now.StartedAt.Time), now.FinishedAt.Time
	}
	return began, ended
}

// byBirth puts the older pod first.
func byBirth(a, b *pod) int {
	return cmp.Or(a.born.Compare(b.born), strings.Compare(a.shown.Name, b.shown.Name))
}

// putPod takes a pod as it is now.
func (v *view) putPod(from *corev1.Pod) {
	p, kept := readPod(from)
	if old := v.pods[from.UID]; old != nil && (!kept || old.owner != p.owner) {
		v.dropPod(from.UID)
	}
	if !kept {
		return
	}
	v.pods[p.uid] = p
	if v.owned[p.owner] == nil {
		v.owned[p.owner] = map[types.UID]*pod{}
	}
	v.owned[p.owner][p.uid] = p
	v.touchJob(p.owner)
}

func (v *view) dropPod(uid types.UID) {
	p := v.pods[uid]
	if p == nil {
		return
	}
	delete(v.pods, uid)
	delete(v.owned[p.owner], uid)
	if len(v.owned[p.owner]) == 0 {
		delete(v.owned, p.owner)
	}
	v.touchJob(p.owner)
}
