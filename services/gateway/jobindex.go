package gateway

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicefaas/sluice/pkg/job"
)

// runKey names a run.
type runKey struct{ job, id string }

// knownRun is what lists say of a run. It is never changed, but replaced, and has no more than they need: there may be a hundred thousand of them.
type knownRun struct {
	ID    string    `json:"runId"`
	Phase job.Phase `json:"phase"`
	// Reason says why; the sentence that goes with it is in the record.
	Reason  string `json:"reason,omitempty"`
	Attempt int    `json:"attempt"`
	JobName string `json:"jobName,omitempty"`

	QueuedAt   time.Time `json:"queuedAt"`
	CreatedAt  time.Time `json:"createdAt,omitzero"`
	StartedAt  time.Time `json:"startedAt,omitzero"`
	FinishedAt time.Time `json:"finishedAt,omitzero"`

	// status is SlimFaas's word, and listed how long it lists the run after its end.
	status string
	listed time.Duration
	// sequence is the place of its message, 0 while unknown.
	sequence uint64
	revision uint64
}

// slimFaasListed is how long SlimFaas lists a Job that has ended and has no TTL of its own.
const slimFaasListed = time.Minute

func newKnownRun(run job.Run, revision uint64) *knownRun {
	known := &knownRun{
		ID: run.ID, Phase: shownPhase(run.Phase), Reason: run.Reason, Attempt: run.Attempt, JobName: cmp.Or(run.JobName, job.NameOf(run)),
		QueuedAt: run.QueuedAt, CreatedAt: run.CreatedAt, StartedAt: run.StartedAt, FinishedAt: run.FinishedAt,
		status: run.SlimFaasStatus(), listed: slimFaasListed, sequence: run.Sequence, revision: revision,
	}
	if run.TTL != nil {
		known.listed = time.Duration(*run.TTL) * time.Second
	}
	return known
}

// shownPhase is the phase that callers see: that a Job may exist without its UID being known is of no use to them.
func shownPhase(phase job.Phase) job.Phase {
	if phase == job.Creating {
		return job.Pending
	}
	return phase
}

// queued reports whether the run waits for its Job.
func (k *knownRun) queued() bool { return k.Phase == job.Queued || k.Phase == job.Waiting }

// inSlimFaas reports whether SlimFaas would list the run: while it is not over, and then for as long as its Job is kept. One that was cancelled has none any
// more, and one that was refused never had one.
func (k *knownRun) inSlimFaas(now time.Time) bool {
	switch k.Phase {
	case job.Cancelled, job.Rejected:
		return false
	case job.Succeeded, job.Failed:
		return now.Before(k.FinishedAt.Add(k.listed))
	}
	return true
}

// inQueueOrder compares the places of two queued runs.
func inQueueOrder(a, b *knownRun) int {
	return cmp.Or(cmp.Compare(a.sequence, b.sequence), a.QueuedAt.Compare(b.QueuedAt), cmp.Compare(a.ID, b.ID))
}

// newestFirst is the order of lists.
func newestFirst(a, b *knownRun) int {
	return cmp.Or(b.QueuedAt.Compare(a.QueuedAt), cmp.Compare(a.ID, b.ID))
}

// runIndex is what the bucket of runs holds, as far as lists need it, and who waits for the end of one. It is a bus.RunsReader.
type runIndex struct {
	revision atomic.Uint64
	known    chan struct{} // closed when the bucket has been read once
	once     sync.Once     // closes known

	mu      sync.RWMutex
	runs    map[string]map[string]*knownRun // by job and id; guarded by mu
	waiting map[runKey]*runWait             // guarded by mu
}

// runWait is shared by all who wait for the end of one run.
type runWait struct {
	over    chan struct{} // closed when the run is over or gone
	news    chan struct{} // closed when its record has changed, nil while nobody wants to know; guarded by runIndex.mu
	waiters int           // guarded by runIndex.mu
}

func newRunIndex() *runIndex {
	return &runIndex{known: make(chan struct{}), runs: map[string]map[string]*knownRun{}, waiting: map[runKey]*runWait{}}
}

// ApplyRun takes the newest record of a run. What we have written ourselves comes here twice, maybe after a newer one.
func (x *runIndex) ApplyRun(run job.Run, revision uint64) {
	known := newKnownRun(run, revision)
	x.mu.Lock()
	defer x.mu.Unlock()
	of := x.runs[run.Definition]
	if of == nil {
		of = map[string]*knownRun{}
		x.runs[run.Definition] = of
	}
	if old := of[run.ID]; old != nil && old.revision >= revision {
		return
	}
	of[run.ID] = known
	x.tellNews(runKey{run.Definition, run.ID})
	if known.Phase.Final() {
		x.endWait(runKey{run.Definition, run.ID})
	}
}

// RemoveRun forgets a run.
func (x *runIndex) RemoveRun(definition, id string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if delete(x.runs[definition], id); len(x.runs[definition]) == 0 {
		delete(x.runs, definition)
	}
	x.endWait(runKey{definition, id})
}

// AppliedRuns notes how much of the bucket is known.
func (x *runIndex) AppliedRuns(revision uint64) {
	x.revision.Store(revision)
	x.once.Do(func() { close(x.known) })
}

// tellNews is called with mu held.
func (x *runIndex) tellNews(key runKey) {
	if wait := x.waiting[key]; wait != nil && wait.news != nil {
		close(wait.news)
		wait.news = nil
	}
}

// news returns a channel that is closed when the run's record changes, for who waits for its end. It is nil if that has come.
func (x *runIndex) news(key runKey) <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	wait := x.waiting[key]
	if wait == nil {
		return nil
	}
	if wait.news == nil {
		wait.news = make(chan struct{})
	}
	return wait.news
}

// endWait is called with mu held.
func (x *runIndex) endWait(key runKey) {
	if wait := x.waiting[key]; wait != nil {
		delete(x.waiting, key)
		close(wait.over)
	}
}

// over returns a channel that is closed when the run is over or gone, until leave is called. It is not closed for one that was over before, if that is not
// known yet: look at its record after this.
func (x *runIndex) over(key runKey) (over <-chan struct{}, leave func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	wait := x.waiting[key]
	if wait == nil {
		wait = &runWait{over: make(chan struct{})}
		x.waiting[key] = wait
	}
	wait.waiters++
	return wait.over, func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		if wait.waiters--; wait.waiters == 0 && x.waiting[key] == wait {
			delete(x.waiting, key)
		}
	}
}

// of returns the runs of a job for which keep is true, in no order.
func (x *runIndex) of(definition string, keep func(*knownRun) bool) []*knownRun {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var found []*knownRun
	for _, known := range x.runs[definition] {
		if keep(known) {
			found = append(found, known)
		}
	}
	return found
}

// queue returns the queued runs of a job in their order.
func (x *runIndex) queue(definition string) []*knownRun {
	queue := x.of(definition, (*knownRun).queued)
	slices.SortFunc(queue, inQueueOrder)
	return queue
}

// position is the place of a run in its job's queue, from 1; 0 if it is not queued.
func (x *runIndex) position(key runKey) (position int) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	mine := x.runs[key.job][key.id]
	if mine == nil || !mine.queued() {
		return 0
	}
	for _, other := range x.runs[key.job] {
		if other.queued() && inQueueOrder(other, mine) <= 0 {
			position++
		}
	}
	return position
}

// has reports whether there is a run of that job.
func (x *runIndex) has(definition string) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.runs[definition]) > 0
}
