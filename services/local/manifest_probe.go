package local

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// maxProbeSeconds and maxProbeFailures bound the numbers of a probe.
const (
	maxProbeSeconds  = 3600
	maxProbeFailures = 1000
)

// readProbe takes the readiness probe of the container. Its port is not read: a process has one port, its PORT.
func (m *manifest) readProbe(w *Workload) {
	w.Probe = Probe{Period: defaultProbePeriod, FailureThreshold: defaultProbeFailures, Timeout: defaultProbeTimeout}
	container := m.container()
	if container == nil || container.ReadinessProbe == nil {
		return
	}
	probe := container.ReadinessProbe
	if seconds, ok := m.probeNumber("periodSeconds", probe.PeriodSeconds, maxProbeSeconds); ok {
		w.Probe.Period = time.Duration(seconds) * time.Second
	}
	if seconds, ok := m.probeNumber("timeoutSeconds", probe.TimeoutSeconds, maxProbeSeconds); ok {
		w.Probe.Timeout = time.Duration(seconds) * time.Second
	}
	if failures, ok := m.probeNumber("failureThreshold", probe.FailureThreshold, maxProbeFailures); ok {
		w.Probe.FailureThreshold = failures
	}
	m.readProbeAction(w, probe)
}

// probeNumber is false where the default holds: where the number is absent or out of its range.
func (m *manifest) probeNumber(key string, number int32, most int) (int, bool) {
	if number == 0 {
		return 0, false
	}
	if number < 0 || int(number) > most {
		m.warnInContainer(fmt.Sprintf("%d is not a whole number from 1 to %d; the default holds", number, most), "readinessProbe", key)
		return 0, false
	}
	return int(number), true
}

func (m *manifest) readProbeAction(w *Workload, probe *corev1.Probe) {
	switch {
	case probe.HTTPGet != nil:
		m.readHTTPProbe(w, probe.HTTPGet)
	case probe.Exec != nil:
		m.warnInContainer("a command cannot be a probe in local mode: the function is ready when its port can be connected to", "readinessProbe", "exec")
	case probe.GRPC != nil:
		m.warnInContainer("gRPC cannot be a probe in local mode: the function is ready when its port can be connected to", "readinessProbe", "grpc")
	}
}

func (m *manifest) readHTTPProbe(w *Workload, get *corev1.HTTPGetAction) {
	scheme := strings.ToLower(string(get.Scheme))
	switch scheme {
	case "":
		scheme = "http"
	case "http", "https":
	default:
		m.warnInContainer(fmt.Sprintf("%q is neither HTTP nor HTTPS; HTTP holds", shorten(scheme)), "readinessProbe", "httpGet", "scheme")
		scheme = "http"
	}
	w.Probe.Scheme, w.Probe.Path = scheme, "/"+strings.TrimPrefix(get.Path, "/")
}
