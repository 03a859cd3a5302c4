package kube

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluicefaas/sluice/pkg/kube"
)

// trouble is why a pod does not become ready.
type trouble struct {
	// text is a sentence for the function's status.
	text string
	// blocks is set where further pods would meet the same: a few words that stay the same for the same cause.
	blocks string
}

// The causes for which further pods are not asked for.
const (
	blockedByQuota      = "a quota refuses further pods"
	blockedByRefusal    = "the Kubernetes API refuses further pods"
	blockedByScheduling = "no node takes its pods"
	blockedByImage      = "an image cannot be pulled"
	blockedBySilence    = "the StatefulSet's controller makes no further pods"
)

// imageReasons are the kubelet's words for an image that it cannot get (pkg/kubelet/images of Kubernetes).
var imageReasons = map[string]bool{
	"ErrImagePull": true, "ImagePullBackOff": true, "InvalidImageName": true, "ErrImageNeverPull": true,
	"ImageInspectError": true, "RegistryUnavailable": true, "SignatureValidationFailed": true,
}

// troubleOf finds the first cause: scheduling, then the containers in the order in which they start.
func troubleOf(p *corev1.Pod) trouble {
	for _, condition := range p.Status.Conditions {
		if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse {
			return unscheduled(condition)
		}
	}
	for _, statuses := range [][]corev1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses} {
		for i := range statuses {
			if found := containerTrouble(&statuses[i]); found.text != "" {
				return found
			}
		}
	}
	return trouble{}
}

func unscheduled(condition corev1.PodCondition) trouble {
	found := trouble{text: kube.Sentence("it is not scheduled", condition.Message)}
	if condition.Reason == corev1.PodReasonUnschedulable {
		found.blocks = blockedByScheduling
	}
	return found
}

func containerTrouble(status *corev1.ContainerStatus) trouble {
	name := fmt.Sprintf("container %s", kube.Cut(status.Name, maxName))
	waiting, ended := status.State.Waiting, status.State.Terminated
	switch {
	case ended != nil && ended.ExitCode != 0:
		return trouble{text: howEnded(name, status, ended)}
	case waiting == nil:
		return trouble{}
	case imageReasons[waiting.Reason]:
		what := fmt.Sprintf("%s: image %s cannot be pulled (%s)", name, kube.Cut(status.Image, maxName), waiting.Reason)
		return trouble{text: kube.Sentence(what, waiting.Message), blocks: blockedByImage}
	case waiting.Reason == "CrashLoopBackOff":
		return trouble{text: howEnded(name, status, status.LastTerminationState.Terminated)}
	case waiting.Reason == "CreateContainerConfigError":
		return trouble{text: kube.Sentence(name+" cannot be made", waiting.Message)}
	case waiting.Reason == "ContainerCreating", waiting.Reason == "PodInitializing", waiting.Reason == "":
		return trouble{}
	}
	return trouble{text: kube.Sentence(name+" waits ("+kube.Cut(waiting.Reason, maxName)+")", waiting.Message)}
}

// howEnded says how a container ended that is started anew.
func howEnded(name string, status *corev1.ContainerStatus, ended *corev1.ContainerStateTerminated) string {
	if ended == nil {
		return fmt.Sprintf("%s ends again and again, %s so far", name, restarts(status.RestartCount))
	}
	how := fmt.Sprintf("exit code %d", ended.ExitCode)
	if ended.Reason != "" && ended.Reason != "Error" {
		how += " (" + kube.Cut(ended.Reason, maxName) + ")"
	}
	last := ended.Message[max(len(ended.Message)-maxMessage, 0):]
	return kube.Sentence(fmt.Sprintf("%s ended with %s, %s so far", name, how, restarts(status.RestartCount)), last)
}

func restarts(n int32) string {
	if n == 1 {
		return "1 restart"
	}
	return fmt.Sprintf("%d restarts", n)
}

// refusal is the trouble of a workload whose controller cannot make pods.
func refusal(message string) trouble {
	found := trouble{text: kube.Sentence("no further pod can be made", message), blocks: blockedByRefusal}
	if strings.Contains(message, "exceeded quota") { // the words of the API server's quota admission
		found.blocks = blockedByQuota
	}
	return found
}

// Bounds of what is repeated from the API server, which repeats what users and programs wrote, in bytes.
const (
	maxName    = 100
	maxMessage = 200 // the end of what a program said last
)
