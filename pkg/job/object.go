package job

import (
	"cmp"
	"slices"
	"time"
)

// Object is a Job as the cluster has it: a Kubernetes Job, or a process of the local mode with its record on disk.
type Object struct {
	Name, UID string
	// Version is the resourceVersion of what was read.
	Version string
	// RunID, Definition, Attempt and SpecHash are those that we have written on it; RunID is empty for somebody else's Job.
	RunID, Definition, SpecHash string
	Attempt                     int
	// Seed is the record as of the Job's creation, so that a lost one can be made again.
	Seed *Run

	Suspended bool
	// Resumed says that we have let it run; it may have been suspended since.
	Resumed bool
	// Held says that somebody else decides when it runs (managedBy, or a queue such as Kueue): we never resume it.
	Held bool
	// Deleting says that its deletion has begun.
	Deleting bool
	// TTL is ttlSecondsAfterFinished, nil if there is none.
	TTL *int32

	// End is Succeeded for the condition Complete, Failed for Failed, empty while it is neither. Never read from counts: a Job may fail after a pod has
	// succeeded.
	End                   Phase
	EndReason, EndMessage string
	StartedAt, FinishedAt time.Time
	// Spent says that no further pod is started, although it has not ended yet: one that has failed is not replaced.
	Spent  bool
	Counts Counts
	Pods   []Pod
	// Trouble says why no pod runs, in Kubernetes' own words: ImagePullBackOff, Unschedulable, PodQuotaExceeded, …
	Trouble, TroubleDetail string
}

// IsOf reports whether the Job was made for this attempt of the run.
func (o *Object) IsOf(r Run) bool {
	return o.RunID == r.ID && o.Definition == r.Definition && o.Attempt == r.Attempt && o.SpecHash == r.SpecHash
}

// Started reports whether a pod has run.
func (o *Object) Started() bool {
	return !o.StartedAt.IsZero() || o.Counts.Ready > 0 || o.Counts.Succeeded > 0
}

// Untouched reports whether it is as it was created: nobody has let it run.
func (o *Object) Untouched() bool { return o.Suspended && !o.Resumed && !o.Started() }

// trouble is why no pod, or no further one, runs; empty if nothing is known.
func (o *Object) trouble() string {
	if o.TroubleDetail == "" {
		return o.Trouble
	}
	return o.Trouble + ": " + o.TroubleDetail
}

// leastHistory is how long the record of a run that is over is kept at least.
const leastHistory = time.Hour

// lost reports whether the Job, which has no record, had one. A suspended one may have been created too late, by a process that was paused, and one that is over for long, or has its TTL,
// is of a run whose record was removed in its time. Nor is it a copy that a person has made of one of ours, which has another name.
func (o *Object) lost(now time.Time) bool {
	switch {
	case o.Seed == nil || !o.IsOf(*o.Seed) || o.Name != cmp.Or(o.Seed.JobName, NameOf(*o.Seed)):
		return false
	case o.End != "":
		return o.TTL == nil && now.Sub(o.FinishedAt) < leastHistory
	}
	return o.Held || !o.Untouched()
}

// restored is the record made again.
func (o *Object) restored(now time.Time) Run {
	r := *o.Seed
	r.Warnings = append(slices.Clone(r.Warnings), "the record was lost, and is made again from the Job")
	r.JobName, r.JobUID, r.CreatedAt = o.Name, o.UID, cmp.Or(o.StartedAt, now)
	if !o.Suspended {
		r.ResumedAt = now
	}
	return r.Move(now, Pending, ReasonCreated, "")
}
