package job

import (
	"encoding/json"
	"slices"
	"time"
)

// Phase is where a run stands.
type Phase string

// The phases; the last four are final.
const (
	// Queued is accepted, without a Job object.
	Queued Phase = "Queued"
	// Waiting is the same for one whose dependencies are not ready.
	Waiting Phase = "Waiting"
	// Creating says that a Job object of the run may exist, without its UID being known. Callers see it as Pending.
	Creating Phase = "Creating"
	// Pending has a Job object of which no pod has run.
	Pending   Phase = "Pending"
	Running   Phase = "Running"
	Succeeded Phase = "Succeeded"
	Failed    Phase = "Failed"
	Cancelled Phase = "Cancelled"
	Rejected  Phase = "Rejected"
)

// Final reports whether the phase is never left.
func (p Phase) Final() bool {
	return p == Succeeded || p == Failed || p == Cancelled || p == Rejected
}

// Reasons of phases, beside those of Kubernetes, which are passed on (BackoffLimitExceeded, DeadlineExceeded, ImagePullBackOff, …).
const (
	ReasonAccepted              = "Accepted"
	ReasonConcurrencyLimit      = "ConcurrencyLimit"
	ReasonJobQuotaExceeded      = "JobQuotaExceeded"
	ReasonAPIServerUnavailable  = "ApiServerUnavailable"
	ReasonDependencyNotReady    = "DependencyNotReady"
	ReasonDependencyNotFound    = "DependencyNotFound"
	ReasonCreating              = "Creating"
	ReasonCreated               = "Created"
	ReasonActive                = "Active"
	ReasonRetrying              = "Retrying"
	ReasonCompletionsReached    = "CompletionsReached"
	ReasonStartDeadlineExceeded = "StartDeadlineExceeded"
	ReasonQueueDeadlineExceeded = "QueueDeadlineExceeded"
	ReasonInvalidSpec           = "InvalidSpec"
	ReasonJobDisappeared        = "JobDisappeared"
	ReasonUserRequested         = "UserRequested"
	ReasonDefinitionDeleted     = "DefinitionDeleted"
	// ReasonNameCollision is for a run of which every name that its Job could have is somebody else's.
	ReasonNameCollision = "NameCollision"
	// ReasonAdmission is for a Job that somebody else lets run, and has not yet; ReasonSuspended for one that somebody has suspended after it was let run.
	ReasonAdmission   = "Admission"
	ReasonSuspended   = "Suspended"
	ReasonTerminating = "Terminating"
)

// Run is the record of one run: the value of its key in the runs bucket. It is changed by compare-and-set alone.
type Run struct {
	ID         string `json:"runId"`
	Definition string `json:"definition"`
	// Generation is that of the definition with which the run was accepted.
	Generation string `json:"generation,omitempty"`
	// SpecHash is RequestHash of its request: who comes with the same id and another request is refused.
	SpecHash string `json:"specHash,omitempty"`
	// Spec is the whole Job to create, without name, labels of ours, suspend and TTL; it is dropped from a final record.
	Spec json.RawMessage `json:"spec,omitempty"`
	// Request is the body of its message, from which a message that was lost is made again; empty for all defaults. It is dropped with Spec.
	Request json.RawMessage `json:"request,omitempty"`
	// Container names the main container of its pods, the one that requests change; empty if it is not known.
	Container string `json:"container,omitempty"`

	Phase   Phase  `json:"phase"`
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	// Moves are the changes of phase and reason, the oldest first; at most MaxMoves.
	Moves []Move `json:"moves,omitempty"`
	// Warnings are sentences about what of the request was changed or passed over.
	Warnings []string `json:"warnings,omitempty"`

	// Attempt counts Job objects that were meant to run, from 1, and Salt names that were found taken by somebody else's object.
	Attempt int    `json:"attempt"`
	Salt    int    `json:"salt,omitempty"`
	JobName string `json:"jobName,omitempty"`
	// JobUID is known from Pending on. Only the Job with this UID is ever let run.
	JobUID string `json:"jobUID,omitempty"`

	// TTL is ttlSecondsAfterFinished, which the Job gets when the run's result is kept; nil for none.
	TTL *int32 `json:"ttlSecondsAfterFinished,omitempty"`
	// Parallel and the deadlines are those of the definition at acceptance.
	QueueDeadline int      `json:"queueDeadlineSeconds,omitempty"`
	StartDeadline int      `json:"startDeadlineSeconds,omitempty"`
	DependsOn     []string `json:"dependsOn,omitempty"`
	Logs          Logs     `json:"logs,omitzero"`

	// Ending is how the run is to end although nothing says so yet: its Job, if there is one, is deleted first.
	Ending *Ending `json:"ending,omitempty"`

	Counts Counts `json:"counts,omitzero"`
	// Pods are those that have run, with their ends; at most MaxPods.
	Pods []Pod `json:"pods,omitempty"`
	// Log names what was kept of the output, the parts in the order of pods and containers.
	Log []LogPart `json:"log,omitempty"`

	Requester string `json:"requester,omitempty"`
	Path      string `json:"path,omitempty"`
	// Sequence is the place of its message in the jobs stream, 0 while unknown.
	Sequence uint64 `json:"sequence,omitempty"`

	QueuedAt  time.Time `json:"queuedAt"`
	CreatedAt time.Time `json:"createdAt,omitzero"`
	// ResumedAt is when the Job was first seen to be let run, by us or by who holds it, or let run again: the start deadline counts from it. It is written with the next change that is.
	ResumedAt  time.Time `json:"resumedAt,omitzero"`
	StartedAt  time.Time `json:"startedAt,omitzero"`
	FinishedAt time.Time `json:"finishedAt,omitzero"`
	// UpdatedAt is when phase, reason, message or counts were last written.
	UpdatedAt time.Time `json:"updatedAt,omitzero"`

	// Closed says that nothing is left to do while there is the record: the end is announced, the Job has its TTL or is gone. The message may still be in the queue: where a run was rejected
	// before somebody took it, say, or an ack was lost. The record keeps it from running, and goes after it.
	Closed bool `json:"closed,omitempty"`
}

// Bounds of a record.
const (
	MaxMoves   = 30
	MaxPods    = 50
	MaxMessage = 1 << 10 // bytes of any sentence in it
)

// Move is one change of phase or reason.
type Move struct {
	At     time.Time `json:"at"`
	Phase  Phase     `json:"phase"`
	Reason string    `json:"reason,omitempty"`
}

// Ending is how a run is to end.
type Ending struct {
	Phase   Phase     `json:"phase"`
	Reason  string    `json:"reason"`
	Message string    `json:"message,omitempty"`
	By      string    `json:"by,omitempty"`
	At      time.Time `json:"at"`
}

// Counts are those of the Job's status.
type Counts struct {
	Active           int    `json:"active,omitempty"`
	Ready            int    `json:"ready,omitempty"`
	Succeeded        int    `json:"succeeded,omitempty"`
	Failed           int    `json:"failed,omitempty"`
	Terminating      int    `json:"terminating,omitempty"`
	CompletedIndexes string `json:"completedIndexes,omitempty"`
	FailedIndexes    string `json:"failedIndexes,omitempty"`
}

// Pod is one pod of a Job, or one process.
type Pod struct {
	Name string `json:"name"`
	Node string `json:"node,omitempty"`
	// Phase is Kubernetes' own: Pending, Running, Succeeded or Failed.
	Phase      string      `json:"phase"`
	Reason     string      `json:"reason,omitempty"`
	Message    string      `json:"message,omitempty"`
	Containers []Container `json:"containers,omitempty"`
	StartedAt  time.Time   `json:"startedAt,omitzero"`
	FinishedAt time.Time   `json:"finishedAt,omitzero"`
}

// Container is one container of a pod.
type Container struct {
	Name     string `json:"name"`
	Init     bool   `json:"init,omitempty"`
	Restarts int    `json:"restarts,omitempty"`
	// ExitCode is nil while it has not ended.
	ExitCode *int   `json:"exitCode,omitempty"`
	Reason   string `json:"reason,omitempty"`
	// Message is the termination message.
	Message string `json:"message,omitempty"`
}

// MainContainer names the container of the pod whose output is that of the run: the main one, or where the pod or the record has none the first that is no init container; empty if there is
// none. Its place says nothing: kubelets sort what they report by name, and webhooks add containers.
func (r Run) MainContainer(p Pod) (name string) {
	for _, c := range slices.Backward(p.Containers) {
		switch {
		case c.Init:
		case c.Name == r.Container:
			return c.Name
		default:
			name = c.Name
		}
	}
	return name
}

// LogPart is the kept output of one container.
type LogPart struct {
	Pod       string `json:"pod"`
	Container string `json:"container"`
	// Object is its name in the object store of logs.
	Object string `json:"object"`
	Size   int64  `json:"size"`
	// Truncated says that older lines are missing.
	Truncated bool `json:"truncated,omitempty"`
}
