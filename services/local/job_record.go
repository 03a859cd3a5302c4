package local

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/sluicefaas/sluice/pkg/job"
)

// jobRecord is a Job as it is kept on disk. A process is the only container of a pod, as Kubernetes has them.
type jobRecord struct {
	Name    string `json:"name"`
	UID     string `json:"uid"`
	Version int64  `json:"version"`
	// Manifest is the batch/v1 Job that was created.
	Manifest  json.RawMessage `json:"manifest"`
	Suspended bool            `json:"suspended,omitempty"`
	Deleting  bool            `json:"deleting,omitempty"`
	TTL       *int32          `json:"ttlSecondsAfterFinished,omitempty"`
	// Pods are those that run and the newest of the others, in the order of their beginning.
	Pods []podRecord `json:"pods,omitempty"`
	// Succeeded and Failed count pods that have ended; Failures counts processes that have failed, the last time at FailedAt.
	Succeeded int       `json:"succeeded,omitempty"`
	Failed    int       `json:"failed,omitempty"`
	Failures  int       `json:"failures,omitempty"`
	FailedAt  time.Time `json:"failedAt,omitzero"`
	// ResumedAt is when it was let run, StartedAt when its first process was there.
	ResumedAt  time.Time `json:"resumedAt,omitzero"`
	StartedAt  time.Time `json:"startedAt,omitzero"`
	FinishedAt time.Time `json:"finishedAt,omitzero"`
	End        job.Phase `json:"end,omitempty"`
	Reason     string    `json:"reason,omitempty"`
	Message    string    `json:"message,omitempty"`
}

// The phases of a pod, in Kubernetes' words.
const (
	podPending   = "Pending" // its process has failed and is to be started again
	podRunning   = "Running" // its process may exist
	podSucceeded = "Succeeded"
	podFailed    = "Failed"
)

// reasonStartError is Kubernetes' word for a container whose process could not be started, exitStartError its exit code.
const (
	reasonStartError = "StartError"
	exitStartError   = 128
)

// podRecord is one pod of a Job.
type podRecord struct {
	Name  string `json:"name"`
	Phase string `json:"phase"`
	// PID and StartTime tell its process from all others of the same boot of the machine; PID is 0 while it is being started.
	PID       int    `json:"pid,omitempty"`
	StartTime string `json:"startTime,omitempty"`
	Boot      string `json:"boot,omitempty"`
	Restarts  int    `json:"restarts,omitempty"`
	// ExitCode, Reason and Message are those of its last process.
	ExitCode   *int      `json:"exitCode,omitempty"`
	Reason     string    `json:"reason,omitempty"`
	Message    string    `json:"message,omitempty"`
	StartedAt  time.Time `json:"startedAt,omitzero"`
	FinishedAt time.Time `json:"finishedAt,omitzero"`
}

// processEnding is how a process of a pod has ended.
type processEnding struct {
	succeeded       bool
	exitCode        *int // nil if nobody knows
	reason, message string
}

func (r *jobRecord) clone() jobRecord {
	copied := *r
	copied.Pods = slices.Clone(r.Pods)
	return copied
}

// count is how many pods are in a phase.
func (r *jobRecord) count(phase string) (n int) {
	for _, p := range r.Pods {
		if p.Phase == phase {
			n++
		}
	}
	return n
}

func (r *jobRecord) pod(name string) *podRecord {
	i := slices.IndexFunc(r.Pods, func(p podRecord) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	return &r.Pods[i]
}

// begin notes that a process is about to be started, in a pod whose process has failed if there is one, else in a new one. It returns
// the pod's name.
func (r *jobRecord) begin() string {
	i := slices.IndexFunc(r.Pods, func(p podRecord) bool { return p.Phase == podPending })
	if i < 0 {
		i = len(r.Pods)
		r.Pods = append(r.Pods, podRecord{Name: r.nextPodName()})
	}
	p := &r.Pods[i]
	p.Phase, p.PID, p.StartTime, p.Boot = podRunning, 0, "", bootID()
	return p.Name
}

// nextPodName is one that no pod of the Job has.
func (r *jobRecord) nextPodName() string {
	for {
		name := r.Name + "-" + randomSuffix()
		if r.pod(name) == nil {
			return name
		}
	}
}

// started notes the process of a pod.
func (r *jobRecord) started(now time.Time, pod string, pid int, startTime string) {
	p := r.pod(pod)
	p.PID, p.StartTime = pid, startTime
	p.ExitCode, p.Reason, p.Message = nil, "", ""
	p.ran(now, r)
}

// ran notes that there was a process, if that is news.
func (p *podRecord) ran(now time.Time, r *jobRecord) {
	if p.StartedAt.IsZero() {
		p.StartedAt = now
	}
	if r.StartedAt.IsZero() {
		r.StartedAt = now
	}
}

// ended notes how the process of a pod has ended. One that has failed is started again in the same pod if the Job says so, and may.
func (r *jobRecord) ended(now time.Time, pod string, how processEnding, limits jobLimits) {
	p := r.pod(pod)
	if how.reason != reasonStartError {
		p.ran(now, r)
	}
	p.PID, p.StartTime, p.Boot = 0, "", ""
	p.ExitCode, p.Reason, p.Message = how.exitCode, how.reason, how.message
	if how.succeeded {
		p.Phase, p.FinishedAt = podSucceeded, now
		r.Succeeded++
		return
	}
	r.Failures++
	r.FailedAt = now
	if limits.restarts && r.Failures <= limits.backoffLimit {
		p.Phase = podPending
		p.Restarts++
		return
	}
	p.Phase, p.FinishedAt = podFailed, now
	r.Failed++
}

// finish ends the Job. Pods that wait to be started again have failed.
func (r *jobRecord) finish(now time.Time, end job.Phase, reason, message string) {
	for i, p := range r.Pods {
		if p.Phase == podPending {
			r.Pods[i].Phase, r.Pods[i].FinishedAt = podFailed, now
			r.Failed++
		}
	}
	r.FinishedAt, r.End, r.Reason, r.Message = now, end, reason, message
}

// prune drops the oldest pods that have ended, and returns their names.
func (r *jobRecord) prune() (dropped []string) {
	extra := len(r.Pods) - job.MaxPods
	r.Pods = slices.DeleteFunc(r.Pods, func(p podRecord) bool {
		drop := extra > 0 && (p.Phase == podSucceeded || p.Phase == podFailed)
		if drop {
			extra--
			dropped = append(dropped, p.Name)
		}
		return drop
	})
	return dropped
}

// object is the Job as the jobrunner sees it.
func (r *jobRecord) object(s jobSpec) job.Object {
	o := job.Object{
		Name: r.Name, UID: r.UID, Version: strconv.FormatInt(r.Version, 10), Suspended: r.Suspended, Resumed: !r.ResumedAt.IsZero(), Deleting: r.Deleting, TTL: r.TTL,
		End: r.End, EndReason: r.Reason, EndMessage: r.Message, StartedAt: r.StartedAt, FinishedAt: r.FinishedAt,
		Spent: r.Failures > s.backoffLimit || r.Succeeded >= s.completions,
		Counts: job.Counts{
			Active: r.count(podRunning) + r.count(podPending), Succeeded: r.Succeeded, Failed: r.Failed,
		},
	}
	o.Recognise(s.labels, s.annotations)
	for _, p := range r.Pods {
		observed := p.observed(s.container)
		o.Pods = append(o.Pods, observed)
		if observed.Phase == podRunning {
			o.Counts.Ready++
		}
		if p.Reason == reasonStartError && r.End == "" {
			o.Trouble, o.TroubleDetail = p.Reason, p.Message
		}
	}
	if r.Deleting {
		o.Counts.Terminating, o.Counts.Active = o.Counts.Active, 0
	}
	return o
}

func (p podRecord) observed(container string) job.Pod {
	observed := job.Pod{Name: p.Name, Phase: p.Phase, StartedAt: p.StartedAt, FinishedAt: p.FinishedAt}
	if p.Phase == podRunning && p.PID == 0 {
		observed.Phase = podPending
	}
	if p.Phase != podSucceeded {
		observed.Message = p.Message
	}
	c := job.Container{Name: container, Restarts: p.Restarts, ExitCode: p.ExitCode, Reason: p.Reason}
	observed.Containers = []job.Container{c}
	return observed
}

// check refuses what no record of ours says, as a file may that somebody has changed.
func (r *jobRecord) check(file string) error {
	if r.Name+recordSuffix != file || r.UID == "" || len(r.Manifest) == 0 {
		return fmt.Errorf("it is no record of the Job %s", file)
	}
	return nil
}
