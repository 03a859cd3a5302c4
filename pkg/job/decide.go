package job

import (
	"cmp"
	"fmt"
	"time"
)

// Decide is the next step for a run: the order of steps and the fences that make it start once, whoever is killed or paused where, and
// however often its message comes.
//
//	record → Creating → Job, suspended → UID in the record → resumed → message acknowledged → … → captured → final → TTL
//
// Three things together hold that. Only the Job whose UID is in the record is ever resumed, and the record gets one UID for each attempt, by compare-and-set. A
// Job is created suspended, so that one that was created too late, by a process that was paused, has run nothing when it is found and deleted. And a
// Job gets its TTL when the record is final, so that a name is never free again before everybody can know that the run is over.
func Decide(s Sight) Action {
	if s.Known && s.Object != nil && s.Object.Name != s.Run.JobName {
		s.Looked = false // what is under another name says nothing about ours
	}
	switch {
	case !s.Known:
		return withoutRecord(s)
	case s.Message != nil && s.Accepted.SpecHash != s.Run.SpecHash:
		return Action{Step: Bury, Reason: "IdempotencyConflict", Detail: fmt.Sprintf("the run %s has another request", s.Run.ID)}
	case s.Run.Phase.Final():
		return whenFinal(s)
	case s.Run.Ending != nil:
		return whenEnding(s)
	}
	switch s.Run.Phase {
	case Queued, Waiting:
		return whenQueued(s)
	case Creating:
		return whenCreating(s)
	case Pending, Running:
		return whenCreated(s)
	}
	return Action{} // a phase that only a newer version knows
}

// withoutRecord begins a run, unless there is a Job whose record was lost.
func withoutRecord(s Sight) Action {
	switch o := s.Object; {
	case o != nil && !s.Looked:
		return Action{Step: Look}
	case o != nil && o.lost(s.Now):
		return store(o.restored(s.Now))
	case s.Message != nil:
		return store(*s.Accepted)
	}
	return Action{}
}

// whenQueued waits for the gate. The message must be in our hands: it is what comes again if we are gone.
func whenQueued(s Sight) Action {
	r := s.Run
	deadline := after(r.QueuedAt, r.QueueDeadline)
	if passed(s.Now, deadline) {
		return store(r.finish(s.Now, Failed, ReasonQueueDeadlineExceeded, fmt.Sprintf("it was not started within %d s", r.QueueDeadline)))
	}
	if s.Message == nil || s.Denied != nil {
		return Action{Until: deadline}
	}
	if g := s.Gate; g.Closed() {
		return s.note(r.Move(s.Now, g.Phase, g.Reason, g.Message), deadline)
	}
	r.JobName = NameOf(r)
	return store(r.Move(s.Now, Creating, ReasonCreating, ""))
}

// maxSalt bounds the names that are tried. That so many are taken means that something strips the labels off our own Jobs.
const maxSalt = 3

// whenCreating makes the Job and takes its UID down. Nothing runs before that.
func whenCreating(s Sight) Action {
	r, o := s.Run, s.Object
	found := s.Looked && o != nil
	switch {
	case o != nil && r.stray(*o):
		return Action{Step: Delete, UID: o.UID}
	case found && !o.IsOf(r) && r.Salt >= maxSalt:
		return store(r.finish(s.Now, Failed, ReasonNameCollision, fmt.Sprintf("there is a Job named %s that is not of this run", o.Name)))
	case found && !o.IsOf(r):
		r.Salt++
		r.JobName = NameOf(r)
		return store(r)
	case found && o.Deleting:
		return store(r.end(s.Now, Cancelled, ReasonJobDisappeared, "somebody has deleted the Job before it was started"))
	case found:
		return store(r.created(s.Now, *o))
	case s.Denied != nil && s.Denied.ForGood:
		return store(r.finish(s.Now, Failed, s.Denied.Reason, s.Denied.Message))
	case s.Denied != nil: // JobName stays, and says that a Job may exist although the run is queued again
		return store(r.Move(s.Now, Queued, s.Denied.Reason, s.Denied.Message))
	}
	return Action{Step: Create}
}

// whenCreated lets the Job run, gives the message back and follows the Job to its end.
func whenCreated(s Sight) Action {
	r, o := s.Run, s.Object
	switch {
	case o != nil && r.stray(*o):
		return Action{Step: Delete, UID: o.UID}
	case !s.Looked:
		return Action{Step: Look}
	case o == nil, o.UID != r.JobUID:
		if s.Kept {
			r = r.keep(s.Result)
		}
		return store(r.finish(s.Now, Failed, ReasonJobDisappeared, "somebody has deleted the Job"))
	case r.unresumed(*o):
		return Action{Step: Resume, UID: o.UID}
	case s.Message != nil:
		return Action{Step: Ack}
	case o.End != "" && !s.Kept:
		return Action{Step: Capture}
	case o.End != "":
		return store(r.ended(s.Now, *o, s.Result))
	}
	return whenUnfinished(s)
}

// whenUnfinished brings the record of a Job that has not ended up to date, or ends a run of which no pod has come to run.
func whenUnfinished(s Sight) Action {
	o := s.Object
	next := s.Run.follow(s.Now, *o)
	if !next.StartedAt.IsZero() || o.Suspended || o.Deleting {
		return s.note(next, time.Time{})
	}
	deadline := after(next.ResumedAt, next.StartDeadline)
	if !passed(s.Now, deadline) {
		return s.note(next, deadline)
	}
	message := fmt.Sprintf("no pod ran within %d s of the Job's start: %s", next.StartDeadline, cmp.Or(o.Trouble, "no pod was started"))
	if o.TroubleDetail != "" {
		message += ": " + o.TroubleDetail
	}
	return store(next.end(s.Now, Failed, ReasonStartDeadlineExceeded, message))
}

// whenEnding deletes what there is of the run's Job, then ends the run.
func whenEnding(s Sight) Action {
	r, o := s.Run, s.Object
	switch {
	case r.JobName != "" && !s.Looked:
		return Action{Step: Look}
	case s.Message != nil && r.JobUID != "": // the record alone leads to the end
		return Action{Step: Ack}
	case s.Looked && o != nil && r.owns(*o):
		return endJob(s)
	}
	if s.Kept {
		r = r.keep(s.Result)
	}
	return store(r.finish(s.Now, r.Ending.Phase, r.Ending.Reason, r.Ending.Message))
}

// endJob deletes the Job. One that has ended before it could be deleted has the end that it has.
func endJob(s Sight) Action {
	r, o := s.Run, s.Object
	started := o.Started() || !r.StartedAt.IsZero()
	switch {
	case o.Deleting: // its pods end
		return Action{}
	case !s.Kept && (started || o.End != ""): // the output goes with the pods
		return Action{Step: Capture}
	case o.End != "":
		return store(r.ended(s.Now, *o, s.Result))
	}
	return Action{Step: Delete, UID: o.UID}
}

// whenFinal leaves nothing behind: the message is out of the queue, no Job is left that has not its TTL, the end is announced.
func whenFinal(s Sight) Action {
	r, o := s.Run, s.Object
	switch {
	case s.Message != nil:
		return letGo(r)
	case o != nil && r.stray(*o):
		return Action{Step: Delete, UID: o.UID}
	case r.Closed:
		return Action{}
	case r.JobName != "" && !s.Looked:
		return Action{Step: Look}
	case o != nil && r.unarmed(*o):
		return Action{Step: Arm, UID: o.UID}
	case !s.Announced:
		return Action{Step: Announce}
	}
	r.Closed = true
	return store(r)
}

// letGo takes the message of a run that is over out of the queue. One that could not be run at all stays as a dead letter.
func letGo(r Run) Action {
	if r.Phase == Rejected || r.Reason == ReasonInvalidSpec && r.JobUID == "" {
		return Action{Step: Bury, Reason: r.Reason, Detail: r.Message}
	}
	return Action{Step: Ack}
}

func store(r Run) Action { return Action{Step: Store, Record: r} }

// note stores what has changed when that is due, and rests before.
func (s Sight) note(next Run, deadline time.Time) Action {
	if next.sameAs(s.Run) {
		return Action{Until: deadline}
	}
	due := s.Run.due(next)
	if !s.Now.Before(due) {
		return store(next)
	}
	if !deadline.IsZero() && deadline.Before(due) {
		due = deadline
	}
	return Action{Until: due}
}

// after is the end of a time limit in seconds; zero if there is none.
func after(since time.Time, seconds int) time.Time {
	if seconds <= 0 || since.IsZero() {
		return time.Time{}
	}
	return since.Add(time.Duration(seconds) * time.Second)
}

func passed(now, limit time.Time) bool { return !limit.IsZero() && !now.Before(limit) }
