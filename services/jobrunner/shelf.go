package jobrunner

import (
	"slices"
	"time"

	"github.com/sluicefaas/sluice/pkg/job"
)

// shelved is what is kept of a record for which nothing has to be done: of one that is closed, or that waits for its request to be taken out of the queue. There may
// be a hundred thousand, so it is small.
type shelved struct {
	// at is when the run ended, or was asked for, in Unix seconds.
	at int64
	// sequence is where its request is or was in the queue, 0 if nobody knows; deadline, in seconds, is of one that waits.
	sequence uint64
	deadline int32
	phase    uint8
	// accepted says that it does not say what it waits for: whoever has made it did not know, or nothing was to be waited for.
	accepted bool
}

// phases are those of a record, by the numbers under which they are kept.
var phases = []job.Phase{
	job.Queued, job.Waiting, job.Creating, job.Pending, job.Running, job.Succeeded, job.Failed, job.Cancelled, job.Rejected,
}

func (s shelved) over() bool { return phases[s.phase].Final() }

func (s shelved) since() time.Time { return time.Unix(s.at, 0) }

// shelf has them by definition and id.
type shelf map[string]*board

// board is the part of one definition.
type board struct {
	runs map[string]shelved
	// counts are how many there are of each phase.
	counts [9]int
	// undefined is since when there has been no definition for those that wait; zero while there is one, or none waits.
	undefined time.Time
}

// waiting is how many of them wait for their request to be taken.
func (b *board) waiting() int { return b.counts[0] + b.counts[1] }

func shelve(run job.Run) shelved {
	s := shelved{
		at: run.QueuedAt.Unix(), sequence: run.Sequence, deadline: int32(min(run.QueueDeadline, 1<<31-1)),
		phase: uint8(max(0, slices.Index(phases, run.Phase))), accepted: run.Reason == job.ReasonAccepted,
	}
	if run.Phase.Final() {
		s.at, s.deadline = run.FinishedAt.Unix(), 0
	}
	return s
}

func (s shelf) put(run job.Run) {
	s.take(key{run.Definition, run.ID})
	b := s[run.Definition]
	if b == nil {
		b = &board{runs: map[string]shelved{}}
		s[run.Definition] = b
	}
	kept := shelve(run)
	b.runs[run.ID] = kept
	b.counts[kept.phase]++
}

func (s shelf) get(k key) (shelved, bool) {
	if b := s[k.definition]; b != nil {
		kept, there := b.runs[k.id]
		return kept, there
	}
	return shelved{}, false
}

// take removes a record, if it is there.
func (s shelf) take(k key) {
	kept, there := s.get(k)
	if !there {
		return
	}
	b := s[k.definition]
	b.counts[kept.phase]--
	delete(b.runs, k.id)
	if len(b.runs) == 0 {
		delete(s, k.definition)
	}
}

// waiting is how many records of the definition wait for their request to be taken.
func (s shelf) waiting(definition string) int {
	if b := s[definition]; b != nil {
		return b.waiting()
	}
	return 0
}

// rests reports whether nothing has to be done for the record by itself.
func rests(run job.Run) bool {
	return run.Closed || (run.Phase == job.Queued || run.Phase == job.Waiting) && run.Ending == nil
}
