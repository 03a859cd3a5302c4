package local

import (
	"slices"
	"time"

	"github.com/sluicefaas/sluice/pkg/function"
)

// Workload is one function as its manifest describes it.
type Workload struct {
	Function function.Function
	// Watched says that the workload is no function, but that one depends on it: Function has its name and kind only. It runs with
	// Replicas; without a Command and a URL it is only reported.
	Watched bool
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

// sameProcess reports whether the processes of the other description may go on as those of this one.
func (w Workload) sameProcess(other Workload) bool {
	return slices.Equal(w.Command, other.Command) && slices.Equal(w.Env, other.Env) && w.Dir == other.Dir &&
		w.Probe == other.Probe && w.Port == other.Port && w.Function.Kind == other.Function.Kind && w.trusted() == other.trusted()
}

// trusted says whether the processes count as inside.
func (w Workload) trusted() bool { return w.Function.DefaultTrust != function.Untrusted }

// firstCount is how many processes there are before anybody has scaled.
func (w Workload) firstCount() int {
	if w.URL != "" || w.Watched && len(w.Command) == 0 {
		return 0
	}
	return min(max(w.Replicas, 0), maxReplicas)
}
