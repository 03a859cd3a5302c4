package local

import (
	"bytes"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/json"

	"github.com/sluicefaas/sluice/pkg/function"
)

// speaker is a function that says nothing of its protocol: a Service may.
type speaker struct {
	index  int // in the loader's workloads
	labels map[string]string
	port   function.Port
}

// service takes what a Service says of the protocol of its pods' ports. It is false for one that says nothing.
func (f *manifestFile) service(root *yamlValue) bool {
	var text bytes.Buffer
	root.encode(&text)
	var decoded corev1.Service
	if err := json.UnmarshalCaseSensitivePreserveInts(text.Bytes(), &decoded); err != nil {
		f.notice(LevelWarn, root.line, "", "the Service cannot be read, so that an appProtocol of it has no effect: "+err.Error())
		return true
	}
	service := function.Service{Selector: decoded.Spec.Selector}
	for _, port := range decoded.Spec.Ports {
		if port.AppProtocol != nil && *port.AppProtocol == function.AppProtocolH2C {
			service.Ports = append(service.Ports, servicePort(port))
		}
	}
	if len(service.Ports) == 0 {
		return false
	}
	f.services = append(f.services, service)
	return true
}

func servicePort(port corev1.ServicePort) function.ServicePort {
	read := function.ServicePort{AppProtocol: *port.AppProtocol, TargetNumber: int(port.TargetPort.IntVal)}
	switch {
	case port.TargetPort.Type == intstr.String:
		read.TargetName, read.TargetNumber = port.TargetPort.StrVal, 0
	case read.TargetNumber == 0:
		read.TargetNumber = int(port.Port)
	}
	return read
}
