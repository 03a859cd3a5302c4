package job

import (
	"cmp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Move returns the run in another phase, for another reason or with another message. What is the same already is not noted again, and a final phase is never left.
func (r Run) Move(now time.Time, phase Phase, reason, message string) Run {
	if r.Phase.Final() {
		return r
	}
	if r.Phase != phase || r.Reason != reason {
		r.Moves = boundMoves(append(slices.Clone(r.Moves), Move{now, phase, reason}))
	}
	r.Phase, r.Reason, r.Message, r.UpdatedAt = phase, reason, sentence(message), now
	return r
}

// boundMoves drops what says least: the oldest mere change of a reason, but never the first move, which says when the run was accepted.
func boundMoves(moves []Move) []Move {
	for len(moves) > MaxMoves {
		drop := 1
		for i := 1; i < len(moves)-1; i++ {
			if moves[i].Phase == moves[i-1].Phase {
				drop = i
				break
			}
		}
		moves = slices.Delete(moves, drop, drop+1)
	}
	return moves
}

// sentence bounds a text for people, and makes valid UTF-8 of it.
func sentence(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= MaxMessage {
		return text
	}
	end := MaxMessage
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}

// end notes how the run is to end, once its Job is gone.
func (r Run) end(now time.Time, phase Phase, reason, message string) Run {
	r.Ending = &Ending{Phase: phase, Reason: reason, Message: sentence(message), At: now}
	return r
}

// Cancel is the record of a run that somebody wants to end; it is the same if the run is over or is to end already.
func (r Run) Cancel(now time.Time, by string) Run {
	if r.Phase.Final() || r.Ending != nil {
		return r
	}
	r = r.end(now, Cancelled, ReasonUserRequested, "")
	r.Ending.By = sentence(by)
	return r
}

// finish is the final record: what only a run that is not over needs is dropped.
func (r Run) finish(now time.Time, phase Phase, reason, message string) Run {
	r = r.Move(now, phase, reason, message)
	r.FinishedAt, r.Spec, r.Request = now, nil, nil
	r.Counts.Active, r.Counts.Ready, r.Counts.Terminating = 0, 0, 0
	r.Pods = gone(r.Pods)
	return r
}

// gone are the pods of a run that is over. One whose end was not seen was deleted, or has never begun.
func gone(pods []Pod) []Pod {
	pods = slices.Clone(pods)
	for i := range pods {
		if p := &pods[i]; p.Phase != podSucceeded && p.Phase != podFailed {
			p.Phase, p.Reason = podFailed, cmp.Or(p.Reason, reasonDeleted)
		}
	}
	return pods
}

// Kubernetes' phases of a pod that has ended, and the reason of one whose end was not seen.
const (
	podSucceeded  = "Succeeded"
	podFailed     = "Failed"
	reasonDeleted = "Deleted"
)

// created takes down the UID of the Job: from now on it, and no other, may run.
func (r Run) created(now time.Time, o Object) Run {
	r.JobUID, r.CreatedAt = o.UID, now
	if !o.Suspended { // it has run before: the record of that was lost
		r.ResumedAt = now
	}
	return r.Move(now, Pending, ReasonCreated, "")
}

// unresumed reports whether it is on us to let the Job run. We do that once: whoever suspends it afterwards wants it suspended.
func (r Run) unresumed(o Object) bool {
	return o.Untouched() && !o.Held && !o.Deleting && o.End == "" && r.Phase == Pending && r.ResumedAt.IsZero()
}

// stray reports whether the Job was made for this run too late, by a process that was paused: another one is the run's, or none any more. It has run nothing, unless
// somebody else lets Jobs run, or it ran under a record that was lost. A Job that a person has made of a copy of ours is none: it has a name of its own, or is not suspended.
func (r Run) stray(o Object) bool {
	over := r.Phase.Final()
	switch {
	case o.UID == r.JobUID || o.Deleting || !o.IsOf(r):
		return false
	case !o.Held && !o.Untouched() && (!over || r.JobUID != ""):
		return false
	case o.Name == cmp.Or(r.JobName, NameOf(r)):
		return over || r.JobUID != "" // else it may become the run's
	}
	for salt := range r.Salt {
		earlier := r
		earlier.Salt = salt
		if o.Name == NameOf(earlier) {
			return true
		}
	}
	return false
}

// owns reports whether the Job has to go when the run is to end.
func (r Run) owns(o Object) bool {
	return o.UID == r.JobUID || r.JobUID == "" && o.IsOf(r) || r.stray(o)
}

// unarmed reports whether it is on us to give the Job of a run that is over its TTL. Whether the Job has ended is not asked: what was seen of it may be older.
func (r Run) unarmed(o Object) bool {
	return o.UID == r.JobUID && r.TTL != nil && o.TTL == nil && !o.Deleting
}

// ended is the final record of a run whose Job has ended.
func (r Run) ended(now time.Time, o Object, result Result) Run {
	reason := o.EndReason
	if o.End == Succeeded {
		reason = cmp.Or(reason, ReasonCompletionsReached)
	}
	r.JobUID, r.Ending = o.UID, nil // what was to end it came too late
	r = r.take(now, o).keep(result).finish(now, o.End, reason, o.EndMessage)
	if !o.FinishedAt.IsZero() {
		r.FinishedAt = latest(o.FinishedAt, r.StartedAt)
	}
	return r
}

// keep adds what was captured.
func (r Run) keep(result Result) Run {
	r.Log = result.Log
	if len(result.Pods) > 0 {
		r.Pods = boundPods(result.Pods)
	}
	return r
}

// take brings counts, pods and times up to date. Kubernetes' times are whole seconds, and may seem to be before ours.
func (r Run) take(now time.Time, o Object) Run {
	r.Counts = o.Counts
	if len(o.Pods) > 0 {
		r.Pods = boundPods(o.Pods)
	}
	if r.StartedAt.IsZero() && o.Started() {
		r.StartedAt = latest(cmp.Or(o.StartedAt, now), r.CreatedAt)
	}
	return r
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// podSentences bounds what a record's pods say, in bytes: a record that does not fit into a message of NATS could not be written at all.
const podSentences = 64 << 10

// boundPods keeps the newest pods, and of what the oldest of those say only that they are there.
func boundPods(all []Pod) []Pod {
	pods := slices.Clone(all[max(0, len(all)-MaxPods):])
	left := podSentences
	bound := func(text string) string {
		if text = sentence(text); len(text) > left {
			return ""
		}
		left -= len(text)
		return text
	}
	for i := range slices.Backward(pods) {
		p := &pods[i]
		p.Message = bound(p.Message)
		p.Containers = slices.Clone(p.Containers)
		for j := range p.Containers {
			p.Containers[j].Message = bound(p.Containers[j].Message)
		}
	}
	return pods
}

// follow is the record of a run whose Job has not ended. Once a pod has run it stays Running.
func (r Run) follow(now time.Time, o Object) Run {
	r = r.resumed(now, o).take(now, o)
	started := !r.StartedAt.IsZero()
	switch {
	case o.Deleting && started:
		return r.Move(now, Running, ReasonTerminating, "")
	case started && o.Suspended:
		return r.Move(now, Running, ReasonSuspended, "")
	case started && o.Counts.Failed > 0 && o.Counts.Active == 0 && !o.Spent:
		return r.Move(now, Running, ReasonRetrying, "")
	case started:
		return r.Move(now, Running, ReasonActive, o.trouble())
	case o.Deleting:
		return r.Move(now, Pending, ReasonTerminating, "")
	case o.Suspended && o.Held:
		return r.Move(now, Pending, ReasonAdmission, "")
	case o.Suspended:
		return r.Move(now, Pending, ReasonSuspended, "")
	case o.Trouble != "":
		return r.Move(now, Pending, o.Trouble, o.TroubleDetail)
	}
	return r.Move(now, Pending, ReasonCreated, "")
}

// resumed notes when the Job was let run, or let run again. That is not written by itself at once: for a while CreatedAt says the same well enough.
func (r Run) resumed(now time.Time, o Object) Run {
	switch again := r.Reason == ReasonAdmission || r.Reason == ReasonSuspended; {
	case o.Suspended:
	case again:
		r.ResumedAt = now
	case r.ResumedAt.IsZero() && now.Sub(r.CreatedAt) <= 2*settle:
		r.ResumedAt = r.CreatedAt
	case r.ResumedAt.IsZero():
		r.ResumedAt = now
	}
	return r
}

// settle is how long a record that says nothing new is left as it is: counts of a Job with many pods change all the time, and so do reasons that come and go, such as
// ErrImagePull and ImagePullBackOff.
const settle = 5 * time.Second

// due returns when the change to next is to be written: at once, which is the zero time, for another phase or a reason that is new in it.
func (r Run) due(next Run) time.Time {
	if next.Phase != r.Phase || !r.noted(next.Reason) {
		return time.Time{}
	}
	return r.UpdatedAt.Add(settle)
}

// noted reports whether the run has had the reason since it is in its phase.
func (r Run) noted(reason string) bool {
	for _, m := range slices.Backward(r.Moves) {
		if m.Phase != r.Phase {
			break
		}
		if m.Reason == reason {
			return true
		}
	}
	return reason == r.Reason
}

// sameAs reports whether nothing that is worth a write has changed. Pods change often: of them, how many have ended counts.
func (r Run) sameAs(other Run) bool {
	return r.Phase == other.Phase && r.Reason == other.Reason && r.Message == other.Message && r.Counts == other.Counts &&
		r.StartedAt.Equal(other.StartedAt) && r.ResumedAt.Equal(other.ResumedAt) && slices.Equal(podEnds(r.Pods), podEnds(other.Pods))
}

func podEnds(pods []Pod) (ends []string) {
	for _, p := range pods {
		ends = append(ends, p.Name+" "+p.Phase)
	}
	return ends
}
