// Package job holds what Sluice knows of batch jobs: definitions, requests and how the two are merged, runs with the moves that they may make, and
// the protocol by which a run is started once (Decide). It is the vocabulary of gateway and jobrunner, and it does no I/O.
package job

import (
	"encoding/json"
	"time"
)

// Visibility says from where runs of a job may be asked for.
type Visibility string

// The two visibilities. A private job is answered with 404 to callers from outside.
const (
	Public  Visibility = "Public"
	Private Visibility = "Private"
)

// OnExceed says what becomes of a request that asks for more resources than the definition has.
type OnExceed string

// What there is: a refusal, or the definition's own value with a warning on the run, as in SlimFaas.
const (
	Reject OnExceed = "Reject"
	Clamp  OnExceed = "Clamp"
)

// Definition is a kind of job: the value of its key in the definitions bucket. Spec is Kubernetes' own, whole; the rest says how requests
// are taken.
type Definition struct {
	// Name is a DNS label.
	Name string `json:"name"`
	// Aliases are other names in URLs and subjects, such as one with an underscore.
	Aliases []string `json:"aliases,omitempty"`
	// Source names where it comes from: CronJob/fibonacci, or SLIMFAAS_JOBS_CONFIGURATION.
	Source string `json:"source"`
	// Generation is a short hash of all that is below, but Refused and Problems; empty for one that could not be read.
	Generation string `json:"generation"`
	// Fallback says that it stands for every name without a definition of its own.
	Fallback   bool       `json:"fallback,omitempty"`
	Visibility Visibility `json:"visibility"`
	// Parallel is NumberParallelJob: how many Jobs may be unfinished at a time.
	Parallel int `json:"parallel"`
	// DependsOn are workloads that must be ready before a run is started.
	DependsOn []string `json:"dependsOn,omitempty"`
	// Overrides bounds what a request may change.
	Overrides Overrides `json:"overrides"`
	// QueueDeadline and StartDeadline are in seconds: from the request to the Job, 0 for no limit, and from the Job to its first running pod.
	QueueDeadline int `json:"queueDeadlineSeconds,omitempty"`
	StartDeadline int `json:"startDeadlineSeconds"`
	// Logs says what is kept of the pods' output.
	Logs Logs `json:"logs"`
	// Template is a batch/v1 JobTemplateSpec as JSON: labels, annotations and the Job's spec. Container is the index of the container of its pod that
	// requests change.
	Template  json.RawMessage `json:"template,omitempty"`
	Container int             `json:"container,omitempty"`
	// Refused says why no run is made of it; empty for one that is used. One that is refused is there to be looked at, and has no Template.
	Refused string `json:"refused,omitempty"`
	// Problems are sentences about what is wrong: values that were refused, in whose place the last valid ones hold.
	Problems []string `json:"problems,omitempty"`
}

// Overrides bounds what a request may change.
type Overrides struct {
	// Allow names the fields; nil means DefaultAllow, and an empty list none at all.
	Allow []string `json:"allow,omitzero"`
	// Images are patterns with *, over the whole reference; empty means the definition's own image alone.
	Images   []string `json:"images,omitempty"`
	OnExceed OnExceed `json:"onExceed"`
	// MaxTTL and MaxBackoffLimit bound ttlSecondsAfterFinished and backoffLimit of a request.
	MaxTTL          int `json:"maxTtlSecondsAfterFinished"`
	MaxBackoffLimit int `json:"maxBackoffLimit"`
	// ReservedEnv are patterns of names that a request cannot set, beside those that are always ours.
	ReservedEnv []string `json:"reservedEnv,omitempty"`
}

// Logs says what is kept of the pods' output.
type Logs struct {
	// Save is Always, OnFailure or Never.
	Save string `json:"save"`
	// TailLines and MaxBytes bound it, for each container.
	TailLines int   `json:"tailLines"`
	MaxBytes  int64 `json:"maxBytes"`
}

// Message is a request as it is in the queue: the message on a job subject.
type Message struct {
	// Definition is the word of the subject.
	Definition string
	// RunID is the run's id; a publisher may choose it, or it comes from the message's place in the stream.
	RunID string
	// Requester says who asked, as far as the gateway knows; empty for a publisher on NATS.
	Requester string
	// Path is what came after the job's name in the URL; the job gets it as JOB_PATH.
	Path string
	// Body is the request as JSON; empty means all defaults.
	Body []byte
	// Sequence is its place in the stream, 0 before it is published, and Accepted when the stream took it.
	Sequence uint64
	Accepted time.Time
	// Wrong is why the message is no request, as whoever read it off the wire says; empty for one that is.
	Wrong string
}
