package kube

import (
	"net"
	"net/netip"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluicefaas/sluice/pkg/function"
)

// pod is what we keep of a pod. It is never changed, only replaced.
type pod struct {
	uid     types.UID
	name    string
	created time.Time
	owner   owner // its ReplicaSet or StatefulSet; empty for a pod of a job, or of Sluice, that has none
	ip      string
	// addresses are those whose callers are this pod and nobody else.
	addresses []netip.Addr
	// service is set for a pod of Sluice itself: which one it is.
	service string
	// job is set for a pod of a run: the name of its definition.
	job   string
	ports []function.Port
	// ready is its condition of that name; never of one that is being deleted.
	ready, terminating bool
	// finished is the phase Succeeded or Failed: its controller has replaced it already.
	finished bool
	// unreadyFrom is since when it runs without being ready, zero if it does not.
	unreadyFrom time.Time
	// trouble is why it does not become ready.
	trouble trouble
	// cheap says that it has our mark of those that end first.
	cheap bool
}

// readPod keeps what matters of a pod that a ReplicaSet or StatefulSet controls, that is of a run, or that own selects; others are nobody's replicas.
func readPod(p *corev1.Pod, own labels.Selector) (*pod, bool) {
	by, controlled := controllerOf(p, "ReplicaSet", "StatefulSet")
	service, run := serviceOf(p, own), jobOf(p)
	if !controlled && service == "" && run == "" {
		return nil, false
	}
	kept := &pod{
		uid: p.UID, name: p.Name, created: p.CreationTimestamp.Time, owner: by,
		ip: podIP(p), addresses: insideAddresses(p), service: service, job: run, ports: declaredPorts(&p.Spec),
		terminating: p.DeletionTimestamp != nil,
		finished:    p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed,
		cheap:       p.Annotations[corev1.PodDeletionCost] == cheapest,
	}
	kept.readReadiness(p)
	if !kept.terminating && !kept.ready {
		kept.trouble = troubleOf(p)
	}
	return kept, true
}

func (p *pod) readReadiness(from *corev1.Pod) {
	for _, condition := range from.Status.Conditions {
		if condition.Type != corev1.PodReady || p.terminating {
			continue
		}
		p.ready = condition.Status == corev1.ConditionTrue
		if !p.ready && from.Status.Phase == corev1.PodRunning {
			p.unreadyFrom = condition.LastTransitionTime.Time
		}
	}
}

// podIP is empty unless it is an address: calls go nowhere else.
func podIP(p *corev1.Pod) string {
	address, err := netip.ParseAddr(p.Status.PodIP)
	if err != nil || address.Zone() != "" {
		return ""
	}
	return address.String()
}

// observe makes it a replica of the workload. Calls go to the port that the workload's annotations choose; what is no function needs none.
func (p *pod) observe(w *workload, now time.Time) function.Pod {
	observed := function.Pod{Name: p.name, Ready: p.ready, Problem: p.trouble.text}
	number, _ := w.port.Among(p.ports) // what is wrong with the choice is a problem of the workload
	switch {
	case number == 0 && w.isFunction:
		observed.Problem = withoutPort
	case number == 0:
	case p.ip != "":
		observed.Address = net.JoinHostPort(p.ip, strconv.Itoa(number))
	}
	if observed.Problem == "" && p.isSlow(now) {
		observed.Problem = neverReady
	}
	return observed
}

const (
	// slowStart is how long a pod may run without being ready before that is a problem worth a sentence.
	slowStart  = time.Minute
	neverReady = "it runs and has not been ready for more than a minute: its readiness or startup probe does not succeed"
)

func (p *pod) isSlow(now time.Time) bool {
	return !p.unreadyFrom.IsZero() && now.Sub(p.unreadyFrom) > slowStart
}
