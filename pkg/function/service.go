package function

// AppProtocolH2C is how a port of a Kubernetes Service says that its pods speak HTTP/2 without TLS (Kubernetes
// documentation, Service, "Application protocol").
const AppProtocolH2C = "kubernetes.io/h2c"

// Service is what matters of a Kubernetes Service: for which pods it is, and what their ports speak.
type Service struct {
	// Selector has the labels that its pods have; without any it has no pods.
	Selector map[string]string
	Ports    []ServicePort
}

// ServicePort is one port of a Service.
type ServicePort struct {
	// TargetName is the name of the pods' port, empty where the Service gives a number.
	TargetName string
	// TargetNumber is the pods' port where the Service gives no name. A Service that has no targetPort means the number of its own port.
	TargetNumber int
	AppProtocol  string
}

// ProtocolOf is what the services say that pods with the labels speak on the port: ProtocolH2C, or empty for HTTP/1.1.
func ProtocolOf(services []Service, labels map[string]string, port Port) string {
	for _, service := range services {
		if service.Selects(labels) && service.speaksH2C(port) {
			return ProtocolH2C
		}
	}
	return ""
}

// Selects reports whether the Service has the pods with the labels.
func (s Service) Selects(labels map[string]string) bool {
	for key, value := range s.Selector {
		if has, found := labels[key]; !found || has != value {
			return false
		}
	}
	return len(s.Selector) > 0
}

func (s Service) speaksH2C(port Port) bool {
	for _, p := range s.Ports {
		if p.AppProtocol == AppProtocolH2C && p.targets(port) {
			return true
		}
	}
	return false
}

func (p ServicePort) targets(port Port) bool {
	if p.TargetName != "" {
		return p.TargetName == port.Name
	}
	return p.TargetNumber != 0 && p.TargetNumber == port.Number
}
