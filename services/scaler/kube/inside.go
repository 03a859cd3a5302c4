package kube

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/pkg/job"
)

// componentLabel is how the pods of Sluice say which service they are.
const componentLabel = "app.kubernetes.io/component"

// insideAddresses are those of a pod that nothing else has: a pod in the network of its node has its address in common with everything
// there.
func insideAddresses(p *corev1.Pod) (addresses []netip.Addr) {
	if p.Spec.HostNetwork {
		return nil
	}
	for _, given := range append([]corev1.PodIP{{IP: p.Status.PodIP}}, p.Status.PodIPs...) {
		address, err := netip.ParseAddr(given.IP)
		address = address.Unmap()
		if err != nil || address.Zone() != "" || isNode(p, address) || slices.Contains(addresses, address) {
			continue
		}
		addresses = append(addresses, address)
	}
	return addresses
}

// serviceOf is which service of Sluice a pod is; empty for one that own does not select.
func serviceOf(p *corev1.Pod, own labels.Selector) string {
	if !own.Matches(labels.Set(p.Labels)) {
		return ""
	}
	if component := p.Labels[componentLabel]; component != "" {
		return component
	}
	return p.Name
}

// jobOf is the definition of which a pod is a run; empty for a pod that the jobrunner's Job does not control.
func jobOf(p *corev1.Pod) string {
	by := metav1.GetControllerOfNoCopy(p)
	if by == nil || by.Kind != "Job" || !strings.HasPrefix(by.APIVersion, "batch/") ||
		p.Labels[job.LabelManagedBy] != job.ManagedBy || p.Labels[job.LabelRunID] == "" {
		return ""
	}
	return p.Labels[job.LabelDefinition]
}

// isNode reports whether the address is one of the pod's node.
func isNode(p *corev1.Pod, address netip.Addr) bool {
	for _, given := range append([]corev1.HostIP{{IP: p.Status.HostIP}}, p.Status.HostIPs...) {
		if node, err := netip.ParseAddr(given.IP); err == nil && node.Unmap() == address {
			return true
		}
	}
	return false
}

// isSeenAs reports whether two versions of a pod are the same to those who ask who is inside.
func (p *pod) isSeenAs(other *pod) bool {
	return p.owner == other.owner && p.service == other.service && p.job == other.job && p.finished == other.finished && slices.Equal(p.addresses, other.addresses)
}

func (v *view) insideIsStale() {
	v.insideStale = true
	v.wake()
}

// touchInside notes a workload whose pods may count otherwise than before.
func (v *view) touchInside(old, w *workload) {
	was := old != nil && old.isFunction
	if was != w.isFunction || was && old.function.DefaultTrust != w.function.DefaultTrust {
		v.insideIsStale()
	}
}

// takeInside returns who is at which address, unless that cannot have changed since the last call.
func (v *view) takeInside() (inside map[netip.Addr]function.Insider, stale bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.insideStale {
		return nil, false
	}
	v.insideStale = false
	inside = map[netip.Addr]function.Insider{}
	for address, p := range v.holders() {
		if insider, is := v.insider(p); is {
			inside[address] = insider
		}
	}
	return inside, true
}

// holders are the pods by their addresses. A node gives the address of a pod that has ended to another one, maybe before its end is known here:
// the younger one has it.
func (v *view) holders() map[netip.Addr]*pod {
	holders := map[netip.Addr]*pod{}
	for _, p := range v.pods {
		if p.finished {
			continue
		}
		for _, address := range p.addresses {
			if other := holders[address]; other == nil || byBirth(other, p) < 0 {
				holders[address] = p
			}
		}
	}
	return holders
}

// insider says who a pod is. A pod that is ending still is: it may call until its end.
func (v *view) insider(p *pod) (function.Insider, bool) {
	if p.service != "" {
		return function.Insider{Kind: function.InsiderSluice, Name: p.service, Replica: p.name}, true
	}
	if p.job != "" {
		return function.Insider{Kind: function.InsiderJob, Name: p.job, Replica: p.name}, true
	}
	w := v.workloadOf(p.owner)
	if w == nil || !w.isFunction || v.functions[w.name][0] != w || w.function.DefaultTrust == function.Untrusted {
		return function.Insider{}, false
	}
	return function.Insider{Kind: function.InsiderFunction, Name: w.name, Replica: p.name}, true
}

// reportInside tells who is inside, unless the observer knows it.
func (r *reporter) reportInside(ctx context.Context) {
	inside, stale := r.view.takeInside()
	if !stale || ctx.Err() != nil || r.inside != nil && maps.Equal(r.inside, inside) {
		return
	}
	r.inside = maps.Clone(inside)
	r.observer.Inside(inside)
}
