package kube

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluicefaas/sluice/pkg/kube"
)

// trouble is why a pod does not run, or why there is none.
type trouble struct {
	// reason is one word, Kubernetes' own where it has one.
	reason string
	// detail is what Kubernetes says about it.
	detail string
}

// The reasons that Kubernetes has no word for.
const (
	podQuotaExceeded       = "PodQuotaExceeded"
	podsForbidden          = "PodsForbidden"
	serviceAccountNotFound = "ServiceAccountNotFound"
)

const (
	// containerCreating is the kubelet's word for a container that it is about to start: of itself no trouble, unless that lasts.
	containerCreating = "ContainerCreating"
	podInitializing   = "PodInitializing"
	// maxDetail bounds a detail, in bytes: the message of a run has words of its own around it.
	maxDetail = 800
)

// pendingTrouble is why a pod that is on no node, or has no running container, does not go on.
func pendingTrouble(p *corev1.Pod) trouble {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return trouble{c.Reason, kube.Cut(c.Message, maxDetail)}
		}
	}
	if found := containerTrouble(slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses)); found.reason != "" {
		return found
	}
	if p.Spec.NodeName != "" {
		return trouble{reason: containerCreating}
	}
	return trouble{}
}

// containerTrouble is why the first container that waits does, in the order in which they start.
func containerTrouble(statuses []corev1.ContainerStatus) trouble {
	for i := range statuses {
		s := &statuses[i]
		if waits := s.State.Waiting; waits != nil && waits.Reason != "" && waits.Reason != containerCreating && waits.Reason != podInitializing {
			return trouble{waits.Reason, kube.Cut(fmt.Sprintf("container %s: %s", s.Name, waits.Message), maxDetail)}
		}
	}
	return trouble{}
}

// trouble is that of the newest pod that does not run. Where there is none, and its controller could not make a further one since, it is that.
func (m *madeJob) trouble(pods []*pod, failures map[types.UID]failure) trouble {
	newest := m.begun
	var found trouble
	for _, p := range slices.Backward(pods) {
		if p.born.After(newest) {
			newest = p.born
		}
		if p.ending || p.trouble.reason == "" || !p.shown.FinishedAt.IsZero() {
			continue
		}
		t := p.trouble
		if why, failed := failures[p.uid]; failed && t.reason == containerCreating {
			t.detail = why.message
		}
		if found.reason == "" || found.reason == containerCreating && found.detail == "" {
			found = t
		}
	}
	why, failed := failures[m.uid]
	if found.reason != "" || !failed || m.begun.IsZero() || why.at.Before(newest) {
		return found
	}
	return trouble{refusedAs(why.message), why.message}
}

// refusedAs names why the Job's controller could not make a pod, by what the API server answered it.
func refusedAs(message string) string {
	switch {
	case strings.Contains(message, "exceeded quota"):
		return podQuotaExceeded
	case strings.Contains(message, "error looking up service account"):
		return serviceAccountNotFound
	case strings.Contains(message, "forbidden"):
		return podsForbidden
	}
	return reasonFailedCreate
}

// reasonFailedCreate is that of the Job controller's Events about pods that it cannot make.
const reasonFailedCreate = "FailedCreate"

// failure is what an Event says about an object that does not come along.
type failure struct {
	event   types.UID
	at      time.Time
	message string
}

// telling are the reasons of Events that say what no object does: by the kind of what they are about. Those about pods are the kubelet's and the attach-detach controller's.
var telling = map[string][]string{
	"Job": {reasonFailedCreate},
	"Pod": {"FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox", "FailedMapVolume"},
}

// putEvent takes an Event as it is now.
func (v *view) putEvent(e *corev1.Event) {
	about := e.InvolvedObject
	if !slices.Contains(telling[about.Kind], e.Reason) {
		return
	}
	at := e.LastTimestamp.Time
	if e.Series != nil {
		at = e.Series.LastObservedTime.Time
	}
	if at.IsZero() {
		at = e.EventTime.Time
	}
	if known, failed := v.failures[about.UID]; failed && known.event != e.UID && known.at.After(at) {
		return
	}
	v.failures[about.UID] = failure{event: e.UID, at: at, message: kube.Cut(e.Message, maxDetail)}
	v.about[e.UID] = about.UID
	v.touchAbout(about.UID)
}

func (v *view) dropEvent(uid types.UID) {
	about, known := v.about[uid]
	if !known {
		return
	}
	delete(v.about, uid)
	if v.failures[about].event == uid {
		delete(v.failures, about)
		v.touchAbout(about)
	}
}

// touchAbout marks the Job that is, or that has the pod that is, the object of an Event.
func (v *view) touchAbout(uid types.UID) {
	if p := v.pods[uid]; p != nil {
		uid = p.owner
	}
	v.touchJob(uid)
}
