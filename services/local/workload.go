package local

import (
	"time"

	"github.com/sluicefaas/sluice/pkg/function"
)

// Workload is one function as its manifest describes it.
type Workload struct {
	Function function.Function
	// Problems are the annotations that were refused, one sentence each.
	Problems []string
	// Replicas is spec.replicas, 1 if absent.
	Replicas int
	// Command is an argv that never goes through a shell; {port} and {replica} are expanded in each word.
	Command []string
	// Dir is the working directory: the manifest's folder.
	Dir string
	// Env has KEY=value entries on top of the parent's environment.
	Env []string
	// URL is sluice/LocalURL: host:port of one that runs already. Then there is no Command and no scaling.
	URL string
	// Port is sluice/Port or the first containerPort. It is informative only: each process gets a PORT of its own.
	Port int
	// Probe is how readiness is found out.
	Probe Probe
	// GracePeriod is terminationGracePeriodSeconds, 30 s by default.
	GracePeriod time.Duration
	// Source is file:line of the workload.
	Source string
}

// Probe is how readiness is found out: HTTP GET of Path when Path is set, else a TCP connect.
type Probe struct {
	Path, Scheme     string
	Period           time.Duration
	FailureThreshold int
	Timeout          time.Duration
}
