package kube

import (
	"maps"
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluicefaas/sluice/pkg/function"
)

// target is what a Service may lead to: the pods of a function, on the port that takes its calls.
type target struct {
	labels map[string]string
	// ports is that port, once for each name that the template has for it.
	ports []function.Port
}

// target is nil where the annotation Protocol says what the pods speak.
func (d described) target(choice function.PortChoice) *target {
	if _, _, annotated := function.Lookup(function.KeyProtocol, d.meta.Annotations, d.template.Annotations); annotated {
		return nil
	}
	t := &target{labels: d.template.Labels}
	declared := declaredPorts(&d.template.Spec)
	number, _ := choice.Among(declared)
	for _, port := range declared {
		if port.Number == number {
			t.ports = append(t.ports, port)
		}
	}
	if len(t.ports) == 0 && number != 0 { // the annotation's number needs no declaration
		t.ports = []function.Port{{Number: number}}
	}
	return t
}

// protocol is what the services say.
func (t *target) protocol(services []function.Service) string {
	for _, port := range t.ports {
		if protocol := function.ProtocolOf(services, t.labels, port); protocol != "" {
			return protocol
		}
	}
	return ""
}

// readService keeps the ports of a Service with pods that say more than HTTP/1.1; it is false if there is none.
func readService(s *corev1.Service) (kept function.Service, matters bool) {
	for _, port := range s.Spec.Ports {
		if port.AppProtocol == nil || *port.AppProtocol != function.AppProtocolH2C {
			continue
		}
		kept.Ports = append(kept.Ports, servicePort(&port))
	}
	kept.Selector = s.Spec.Selector
	return kept, len(kept.Ports) > 0 && len(kept.Selector) > 0
}

func servicePort(port *corev1.ServicePort) function.ServicePort {
	kept := function.ServicePort{AppProtocol: *port.AppProtocol, TargetNumber: int(port.TargetPort.IntVal)}
	if port.TargetPort.Type == intstr.String {
		kept.TargetName, kept.TargetNumber = port.TargetPort.StrVal, 0
	}
	return kept
}

// putService takes a Service as it is now.
func (v *view) putService(s *corev1.Service) {
	kept, matters := readService(s)
	old, known := v.services[s.UID]
	if known && matters && reflect.DeepEqual(old, kept) {
		return
	}
	v.dropService(s.UID)
	if matters {
		v.services[s.UID] = kept
		v.touchSelected(kept)
	}
}

func (v *view) dropService(uid types.UID) {
	if old, known := v.services[uid]; known {
		delete(v.services, uid)
		v.touchSelected(old)
	}
}

// touchSelected marks the functions whose pods a Service has.
func (v *view) touchSelected(service function.Service) {
	for name, same := range v.functions {
		if t := same[0].speaks; t != nil && service.Selects(t.labels) {
			v.touch(name)
		}
	}
}

// protocolOf is what the annotation Protocol says; without one, what Services do.
func (v *view) protocolOf(w *workload) string {
	if w.speaks == nil || len(v.services) == 0 {
		return w.function.Protocol
	}
	return w.speaks.protocol(slices.Collect(maps.Values(v.services)))
}
