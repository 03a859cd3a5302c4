// Package function holds what Sluice knows of a function: its specification as the annotations of a workload say
// it, the replicas that are ready to be called, and the decisions that were taken about it. It is the vocabulary
// that every service shares, and it does no I/O.
package function

import (
	"slices"
	"time"

	"github.com/sluicefaas/sluice/pkg/schedule"
)

// Workload kinds that can be functions.
const (
	KindDeployment  = "Deployment"
	KindStatefulSet = "StatefulSet"
)

// Visibility says from where a function may be called.
type Visibility string

// The two visibilities. A private function is answered with 404 to callers from outside.
const (
	Public  Visibility = "Public"
	Private Visibility = "Private"
)

// Function is the specification of one function: what the annotations of its workload say, with defaults filled
// in. Field names and units are those of the annotations.
type Function struct {
	// Name is the workload's name: a DNS label, case-sensitive.
	Name string `json:"name"`
	// Kind is KindDeployment or KindStatefulSet.
	Kind string `json:"kind"`
	// ReplicasMin is the count after inactivity.
	ReplicasMin int `json:"replicasMin"`
	// ReplicasAtStart is the count on waking.
	ReplicasAtStart int `json:"replicasAtStart"`
	// TimeoutSecondBeforeSetReplicasMin is the inactivity, in seconds, after which ReplicasMin holds.
	TimeoutSecondBeforeSetReplicasMin int `json:"timeoutSecondBeforeSetReplicasMin"`
	// NumberParallelRequest bounds the concurrent async calls over all replicas.
	NumberParallelRequest int `json:"numberParallelRequest"`
	// NumberParallelRequestPerPod bounds them for each replica; 0 means that only NumberParallelRequest does.
	NumberParallelRequestPerPod int `json:"numberParallelRequestPerPod,omitempty"`
	// DependsOn are the names of the workloads that must be ready before this one is started, in the order of the annotation.
	DependsOn []string `json:"dependsOn,omitempty"`
	// WakeWithAny is ReplicasStartAsSoonAsOneFunctionRetrieveARequest: activity of any function is activity of this one.
	WakeWithAny bool `json:"wakeWithAny,omitempty"`
	// Schedule has the times at which the function is woken, and its timeouts by time of day; nil for none.
	Schedule *schedule.Schedule `json:"schedule,omitempty"`
	// Scale says how many replicas the function has under load; nil means that load does not change the count.
	Scale *Scale `json:"scale,omitempty"`
	// DefaultVisibility is Public unless the annotation says Private.
	DefaultVisibility Visibility `json:"defaultVisibility"`
	// PathVisibility has the rules of PathsStartWithVisibility, in their order; VisibilityOf applies them.
	PathVisibility []PathRule `json:"pathVisibility,omitempty"`
	// DefaultTrust is Trusted unless the annotation says Untrusted: then the function's pods count as outside.
	DefaultTrust Trust `json:"defaultTrust"`
	// SubscribeEvents are the events that the function's replicas get.
	SubscribeEvents []Subscription `json:"subscribeEvents,omitempty"`
	// Protocol is how the replicas are spoken to: ProtocolH2C, or empty for HTTP/1.1.
	Protocol string `json:"protocol,omitempty"`
	// Configuration has the time limits and retries for each mode of calling.
	Configuration Configuration `json:"configuration"`
}

// Configuration has one Policy for each mode of calling.
type Configuration struct {
	DefaultSync    Policy `json:"DefaultSync"`
	DefaultAsync   Policy `json:"DefaultAsync"`
	DefaultPublish Policy `json:"DefaultPublish"`
}

// Policy is how long an attempt may take and when it is repeated.
type Policy struct {
	// HTTPTimeout is in seconds, from the send of the request to the headers of its answer.
	HTTPTimeout int `json:"HttpTimeout"`
	// TimeoutRetries are the seconds to wait before each further attempt, so attempts = 1 + len(TimeoutRetries).
	TimeoutRetries []int `json:"TimeoutRetries,omitempty"`
	// HTTPStatusRetries are the statuses that are worth another attempt.
	HTTPStatusRetries []int `json:"HttpStatusRetries,omitempty"`
}

// Timeout is HTTPTimeout as a duration.
func (p Policy) Timeout() time.Duration { return time.Duration(p.HTTPTimeout) * time.Second }

// IdleTimeout is TimeoutSecondBeforeSetReplicasMin as a duration.
func (f Function) IdleTimeout() time.Duration {
	return time.Duration(f.TimeoutSecondBeforeSetReplicasMin) * time.Second
}

// Endpoint is one replica that is ready to be called.
type Endpoint struct {
	// Replica is the name of the pod or local process.
	Replica string `json:"replica"`
	// Address is host:port.
	Address string `json:"address"`
	// Protocol is that of the function.
	Protocol string `json:"protocol,omitempty"`
	// Inside says that callers from the address, without its port, count as inside.
	Inside bool `json:"inside,omitempty"`
}

// Decision is a replica count that was chosen, and why.
type Decision struct {
	At       time.Time `json:"at"`
	Replicas int       `json:"replicas"`
	// Reason is in words, for the person who wonders.
	Reason string `json:"reason"`
}

// State is everything that is published about one function: the value of its key in the functions bucket. It is
// written by the leading scaler alone, and it has no counts that move with each call.
type State struct {
	Function Function `json:"function"`
	// Generation grows by one whenever Function changes.
	Generation int64 `json:"generation"`
	// Replicas is the wanted count.
	Replicas int `json:"replicas"`
	// Endpoints are the ready replicas that calls may be sent to, in a stable order.
	Endpoints []Endpoint `json:"endpoints,omitempty"`
	// Decisions are the last ones, the oldest first; at most MaxDecisions.
	Decisions []Decision `json:"decisions,omitempty"`
	// Waits says, in words, which dependencies must become ready before the function is started; empty while it waits for none.
	Waits []string `json:"waits,omitempty"`
	// Problems are sentences about what is wrong: refused annotations, replicas that cannot start.
	Problems []string `json:"problems,omitempty"`
}

// MaxDecisions is how many decisions a State keeps.
const MaxDecisions = 20

// Decide returns a copy of the state with d as its newest decision.
func (s State) Decide(d Decision) State {
	decisions := append(slices.Clone(s.Decisions), d)
	if extra := len(decisions) - MaxDecisions; extra > 0 {
		decisions = decisions[extra:]
	}
	s.Decisions, s.Replicas = decisions, d.Replicas
	return s
}

// Status is the state in the shape of SlimFaas: exactly these five keys in this order.
type Status struct {
	NumberReady     int
	NumberRequested int
	PodType         string
	Visibility      string
	Name            string
}

// Status reduces the state to what /status-functions answers.
func (s State) Status() Status {
	return Status{
		NumberReady:     len(s.Endpoints),
		NumberRequested: s.Replicas,
		PodType:         s.Function.Kind,
		Visibility:      string(s.Function.DefaultVisibility),
		Name:            s.Function.Name,
	}
}
