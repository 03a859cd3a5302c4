package job_test

import (
	"encoding/json"
	"fmt"
	"math/bits"
	"strings"
	"time"

	"github.com/sluicefaas/sluice/pkg/job"
)

// The model is one run in a small world: the jobs stream with its message, the bucket with its record, the API server with the Jobs that it has, a watch that lags behind, Kubernetes,
// people, and two runners. Everything that a runner does is job.Decide on what it knows itself, followed by one effect; between any two effects anything else may happen.

// jobState is a Job as the API server has it: its UID, 0 for none, in the upper byte, and flags.
type jobState uint16

const (
	suspended jobState = 1 << iota
	started            // its pods ran
	ended              // it has the condition Complete
	armed              // it has a TTL
	deleting
	foreign // it is somebody else's
	userSuspended
	userResumed
)

func (j jobState) uid() int              { return int(j >> 8) }
func (j jobState) is(flag jobState) bool { return j&flag != 0 }
func (j jobState) unfinished() bool      { return j != 0 && !j.is(foreign|ended|deleting) }
func (j jobState) mayRun() bool          { return j.unfinished() && !j.is(suspended) }

// age grows with each change of a Job, as its resourceVersion does.
func (j jobState) age() int {
	age := bits.OnesCount16(uint16((j ^ suspended) & (suspended | started | ended | armed | deleting)))
	switch {
	case j.is(userResumed):
		age += 10
	case j.is(userSuspended):
		age += 5
	}
	return age
}

func newJob(uid int, f jobState) jobState { return jobState(uid)<<8 | f }

// Facts are what has happened in the world; the invariants are about them.
type facts uint32

const (
	queued         facts = 1 << iota // the message is in the stream
	announced                        // the end of the run was published at least once
	cancelAsked                      // somebody has cancelled the run
	endedTooLate                     // the run was to end, after its Job had ended
	personDeleted                    // a person has deleted a Job
	recordLost                       // the bucket has lost the record
	buried                           // the message is a dead letter
	timePassed                       // every deadline is over
	deniedForGood                    // the API server has refused the Job for good
	jobEnded                         // the Job of the record has completed
	startedRunning                   // wrong: a Job was created that is not suspended
	armedEarly                       // wrong: a Job got a TTL before the record was final with its result
	resumedAgain                     // wrong: we have resumed a Job that a person has suspended
	finalChanged                     // wrong: a final phase was left
	lostItsMessage                   // wrong: the message was taken out of the queue too early
)

// Budgets bound what may go wrong, so that there is an end to the states.
type budgets struct {
	crashes, lostAnswers, lateRequests, redeliveries, cancels, deletions, recordLosses, denials, suspensions, delays uint8
}

// request is one that has reached its server after the runner has given it up.
type request struct {
	kind   requestKind
	record recordID
	// fresh says that the record is still as it was when the request was sent; creates that there was none.
	fresh, creates bool
	job            jobState
	name           uint8
}

type requestKind uint8

const (
	noRequest requestKind = iota
	lateStore
	lateCreate
	lateResume
)

// runnerState is what one runner knows, and nothing of it is shared. The zero value is a process that has just started.
type runnerState struct {
	record recordID
	flags  runnerFlags
	// object is what it has last seen of a Job, under the first or the second name.
	object jobState
	name   uint8
}

type runnerFlags uint16

const (
	read     runnerFlags = 1 << iota // it has read the record, or that there is none
	fresh                            // what it has read is still so
	holds                            // the message is in its hands
	looked                           // Sight.Looked
	told                             // Sight.Announced
	mustRead                         // a write has failed: it reads the record next
	mustLook                         // a creation was refused: it looks next
	denied                           // Sight.Denied, for now
	refused                          // Sight.Denied, for good
	keptNone                         // Sight.Kept, of a Job that was gone
	keptSome                         // Sight.Kept, of one that had not ended
	keptAll                          // Sight.Kept
	kept     = keptNone | keptSome | keptAll
)

func (r *runnerState) has(f runnerFlags) bool { return r.flags&f != 0 }
func (r *runnerState) set(f runnerFlags)      { r.flags |= f }
func (r *runnerState) clear(f runnerFlags)    { r.flags &^= f }

// show puts a Job, or that there is none, into the sight.
func (w *world) show(r *runnerState, j jobState, name uint8, live bool) {
	if j == 0 && r.object != 0 {
		r.set(mustRead)
	}
	if j.is(ended) && !r.object.is(ended) && !w.rules.keepParts {
		r.clear(kept) // it was captured before it had ended
	}
	if r.object, r.name = j, name; j == 0 {
		r.name = 0
	}
	r.clear(looked)
	if live {
		r.set(looked)
	}
}

// worldState is the whole world at one moment.
type worldState struct {
	record recordID
	facts  facts
	// jobs are those under the run's first and second name; cache is what the watch knows of them.
	jobs, cache [2]jobState
	lastUID     uint8
	// ran and recorded are sets of UIDs: those whose pods ran, and those that a record has named.
	ran, recorded uint8
	left          budgets
	late          request
	runners       [2]runnerState
}

func (s *worldState) has(f facts) bool { return s.facts&f != 0 }

// recordID names a record of the table; 0 is none.
type recordID uint16

// records are those that came up, so that a state need hold a number alone. The moves of a record are left out: nothing is decided by them in the model, where no reason comes back.
type records struct {
	byText map[string]recordID
	runs   []job.Run
}

func (r *records) id(run job.Run) recordID {
	run.UpdatedAt, run.Moves = time.Time{}, nil
	text, err := json.Marshal(run)
	if err != nil {
		panic(err)
	}
	id, ok := r.byText[string(text)]
	if !ok {
		id = recordID(len(r.runs))
		r.byText[string(text)], r.runs = id, append(r.runs, run)
	}
	return id
}

// world is what a model explores: where it begins, what may happen, and by which rules the runners work.
type world struct {
	name string
	// queuedBefore says that the gateway has written the record before the message, and unpublished that it never came to publish it.
	queuedBefore, unpublished bool
	// taken says that somebody else has a Job of the run's name.
	taken bool
	left  budgets
	rules rules
	// lag says that what the watch tells may be old.
	lag bool

	records *records
	decided map[sightKey]decision
	// twins says that the two runners are interchangeable, which halves the states, and muddles traces.
	twins bool
}

var modelNoon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func modelRun() job.Run {
	ttl := int32(0)
	run := job.Run{ID: "r", Definition: "fibonacci", SpecHash: "h", Attempt: 1, Spec: []byte(`{}`), TTL: &ttl, StartDeadline: 600, QueuedAt: modelNoon}
	return run.Move(modelNoon, job.Queued, job.ReasonAccepted, "")
}

// jobName is the run's first or second name.
func jobName(name uint8) string {
	run := modelRun()
	run.Salt = int(name)
	return job.NameOf(run)
}

var jobNames = [2]string{jobName(0), jobName(1)}

// object is the Job as a cluster would tell it.
func (j jobState) object(name uint8) *job.Object {
	if j == 0 {
		return nil
	}
	o := &job.Object{Name: jobNames[name], UID: fmt.Sprint(j.uid()), Suspended: j.is(suspended), Deleting: j.is(deleting)}
	o.Resumed = !o.Suspended || j.is(userSuspended) // nobody else lets it run before us
	if !j.is(foreign) {
		seed := modelRun().Move(modelNoon, job.Creating, job.ReasonCreating, "")
		seed.Salt, seed.JobName, seed.Spec = int(name), o.Name, nil
		o.RunID, o.Definition, o.SpecHash, o.Attempt, o.Seed = seed.ID, seed.Definition, seed.SpecHash, seed.Attempt, &seed
	}
	if j.is(started) {
		o.StartedAt = modelNoon
	}
	if j.is(ended) {
		o.End, o.FinishedAt = job.Succeeded, modelNoon
	}
	if j.is(armed) {
		o.TTL = new(int32)
	}
	return o
}

// start is the world before anything has happened.
func (w *world) start() worldState {
	w.records = &records{byText: map[string]recordID{}, runs: []job.Run{{}}}
	w.decided = map[sightKey]decision{}
	if w.rules.decide == nil {
		w.rules.decide = job.Decide
	}
	s := worldState{left: w.left}
	if !w.unpublished {
		s.facts |= queued
	}
	if w.queuedBefore || w.unpublished {
		s.record = w.records.id(modelRun())
	}
	if w.taken {
		s.lastUID++
		s.jobs[0] = newJob(int(s.lastUID), foreign)
		s.cache = s.jobs
	}
	return s
}

func (w *world) run(id recordID) *job.Run { return &w.records.runs[id] }

// wrong says what may never be, and is; empty if all is well.
func (w *world) wrong(s *worldState) string {
	run := w.run(s.record)
	over := s.record != 0 && run.Phase.Final()
	for _, j := range s.jobs {
		if over && j.mayRun() && !s.has(recordLost) {
			return fmt.Sprintf("the run is over, and Job %d may still run", j.uid())
		}
	}
	switch {
	case bits.OnesCount8(s.ran) > 1:
		return "two Jobs of one attempt have run"
	case s.ran&^s.recorded != 0:
		return "a Job has run whose UID was never in the record"
	case bits.OnesCount8(s.recorded) > 1:
		return "one attempt has had two UIDs"
	case s.has(finalChanged):
		return "a final phase has changed"
	case s.has(resumedAgain):
		return "a Job was resumed that a person has suspended"
	case w.rules.overlook:
		return ""
	case s.has(startedRunning):
		return "a Job was created that is not suspended"
	case s.has(armedEarly):
		return "a Job has a TTL before its result is in a final record"
	case s.has(lostItsMessage):
		return "the message is out of the queue, and no record says that the Job exists or the run is over"
	}
	return ""
}

// unsettled says what is left to do or came out wrong in a world in which nothing happens any more by itself.
func (w *world) unsettled(s *worldState) string {
	run := w.run(s.record)
	for _, j := range s.jobs {
		if j.unfinished() && j.is(suspended) {
			return "a suspended Job is left"
		} else if j.unfinished() {
			return "an unfinished Job is left"
		} else if j.is(ended) && !j.is(foreign|armed) {
			return "a Job without TTL is left"
		}
	}
	switch {
	case s.has(queued):
		return "the message is still in the queue"
	case s.record == 0:
		return "there is no record"
	case !run.Phase.Final() || !run.Closed:
		return "the record is not closed"
	case !s.has(announced):
		return "the end was never published"
	case s.has(buried) != (run.Reason == job.ReasonInvalidSpec):
		return "a dead letter is missing, or was written for nothing"
	}
	return w.outcome(s, run)
}

// outcome says why the run should not have ended as it did.
func (w *world) outcome(s *worldState, run *job.Run) string {
	did, varies := s.has(jobEnded), s.has(personDeleted)
	ending := s.has(cancelAsked) || s.has(timePassed)
	var wrong string
	switch {
	case run.Phase == job.Succeeded && !did:
		wrong = "its Job has not completed"
	case run.Phase != job.Succeeded && did && !varies && (!ending || s.has(endedTooLate) && !s.has(recordLost)):
		wrong = "its Job has completed"
	case run.Phase == job.Succeeded && !varies && !ending && (len(run.Log) != 1 || run.Log[0].Object != "all"):
		wrong = "its output was not kept as a whole"
	case run.Phase == job.Succeeded && len(run.Log) == 1 && run.Log[0].Object == "some":
		wrong = "its output was kept before it ended"
	case run.Phase == job.Cancelled && !s.has(cancelAsked) && !varies:
		wrong = "nobody has cancelled it"
	case run.Phase == job.Failed && !varies && !s.has(timePassed) && !s.has(deniedForGood):
		wrong = "nothing has gone wrong"
	}
	if wrong == "" {
		return ""
	}
	return fmt.Sprintf("the run is %s (%s), although %s", run.Phase, run.Reason, wrong)
}

// String describes a state in a trace.
func (w *world) String(s *worldState) string {
	var text strings.Builder
	run := w.run(s.record)
	if s.record == 0 {
		text.WriteString("no")
	} else if text.WriteString(string(run.Phase)); run.JobUID != "" {
		text.WriteString(" uid " + run.JobUID)
	}
	text.WriteString(" record")
	if run.Ending != nil && !run.Phase.Final() {
		text.WriteString(", ending")
	}
	if run.Closed {
		text.WriteString(", closed")
	}
	if s.has(queued) {
		text.WriteString(" · message queued")
	}
	for name, j := range s.jobs {
		if j != 0 {
			fmt.Fprintf(&text, " · %s = Job %d%s", [...]string{"first name", "second name"}[name], j.uid(), j.flags())
		}
	}
	return text.String()
}

func (j jobState) flags() (text string) {
	for i, name := range [...]string{"suspended", "started", "ended", "armed", "deleting", "foreign"} {
		if j.is(1 << i) {
			text += " " + name
		}
	}
	return text
}
