package job_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/job"
)

// protocolNow is a second after the runs of these tests were queued.
var protocolNow = modelNoon.Add(time.Second)

// The Jobs of these tests, all but the foreign one made for modelRun.
var (
	waiting = newJob(1, suspended)
	resumed = newJob(1, 0)
	running = newJob(1, started)
	done    = newJob(1, started|ended)
	late    = newJob(2, suspended)
	others  = newJob(3, foreign)
)

// runIn is a run in that phase, with Job 1 once it can have one.
func runIn(phase job.Phase, changes ...func(*job.Run)) job.Run {
	r := modelRun()
	if phase == job.Creating || phase == job.Pending || phase == job.Running || phase == job.Succeeded {
		r = r.Move(modelNoon, job.Creating, job.ReasonCreating, "")
		r.JobName = jobNames[0]
	}
	if phase == job.Pending || phase == job.Running || phase == job.Succeeded {
		r = r.Move(modelNoon, job.Pending, job.ReasonCreated, "")
		r.JobUID, r.CreatedAt = "1", modelNoon
	}
	if phase == job.Running || phase == job.Succeeded {
		r = r.Move(modelNoon, job.Running, job.ReasonActive, "")
		r.StartedAt, r.ResumedAt = modelNoon, modelNoon
	}
	r = r.Move(modelNoon, phase, r.Reason, "")
	for _, change := range changes {
		change(&r)
	}
	return r
}

func ending(r *job.Run)     { *r = r.Cancel(modelNoon, "somebody") }
func closed(r *job.Run)     { r.Closed = true }
func withoutTTL(r *job.Run) { r.TTL = nil }
func withoutUID(r *job.Run) { r.JobUID = "" }
func onceQueued(r *job.Run) { r.JobName = jobNames[0] }
func withResume(r *job.Run) { r.ResumedAt = modelNoon }

// saw is what a runner knows that has looked and found that Job.
func saw(r job.Run, j jobState, changes ...func(*job.Sight)) job.Sight {
	s := job.Sight{Now: protocolNow, Run: r, Known: true, Object: j.object(0), Looked: true}
	for _, change := range changes {
		change(&s)
	}
	return s
}

func inHand(s *job.Sight) {
	accepted := modelRun()
	s.Message, s.Accepted = &job.Message{}, &accepted
}
func unknown(s *job.Sight)  { s.Run, s.Known = job.Run{}, false }
func unlooked(s *job.Sight) { s.Looked = false }
func captured(s *job.Sight) {
	s.Kept, s.Result.Log = true, []job.LogPart{{Object: "log"}}
}
func toldEnd(s *job.Sight)  { s.Announced = true }
func conflict(s *job.Sight) { s.Accepted.SpecHash = "another" }
func noQuota(s *job.Sight) {
	s.Denied = &job.Denial{Reason: job.ReasonJobQuotaExceeded, Message: "used 1"}
}
func unlabelled(s *job.Sight) { s.Object.RunID = "" }
func hoursLater(s *job.Sight) { s.Now = s.Now.Add(5 * time.Hour) }
func invalid(s *job.Sight) {
	s.Denied = &job.Denial{ForGood: true, Reason: job.ReasonInvalidSpec, Message: "spec is wrong"}
}
func gateClosed(s *job.Sight) {
	s.Gate = job.Gate{Phase: job.Waiting, Reason: job.ReasonDependencyNotReady, Message: "db"}
}

// words are an action in short.
func words(a job.Action) string {
	switch a.Step {
	case job.Store:
		r := a.Record
		text := fmt.Sprintf("Store %s %s", r.Phase, r.Reason)
		for word, is := range map[string]bool{" 1": r.JobUID == "1", " 2": r.JobUID == "2"} {
			if is {
				text += word
			}
		}
		if r.Ending != nil && !r.Phase.Final() {
			text += " ending " + r.Ending.Reason
		}
		if r.Closed {
			text += " closed"
		}
		return text
	case job.Bury:
		return "Bury " + a.Reason
	}
	return strings.TrimSpace(a.Step.String() + " " + a.UID)
}

type decideTest struct {
	name  string
	sight job.Sight
	want  string
}

func requireDecisions(t *testing.T, tests []decideTest) {
	t.Helper()
	for _, test := range tests {
		if got := words(job.Decide(test.sight)); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// TestH1EveryCrashIsGoneOnFrom has a row for each of the table of crashes (jobs.md 3.7): what was done last, and what somebody who finds it so does next.
func TestH1EveryCrashIsGoneOnFrom(t *testing.T) {
	requireDecisions(t, []decideTest{
		{"received", saw(job.Run{}, 0, inHand, unknown, unlooked), "Store Queued Accepted"},
		{"queued", saw(runIn(job.Queued), 0, inHand, unlooked), "Store Creating Creating"},
		{"queued, the message is elsewhere", saw(runIn(job.Queued), 0, unlooked), "Rest"},
		{"creating", saw(runIn(job.Creating), 0, inHand, unlooked), "Create"},
		{"creating, the message is elsewhere", saw(runIn(job.Creating), 0, unlooked), "Create"},
		{"created, and found by that", saw(runIn(job.Creating), waiting, inHand), "Store Pending Created 1"},
		{"UID recorded", saw(runIn(job.Pending), 0, inHand, unlooked), "Look"},
		{"UID recorded, and looked", saw(runIn(job.Pending), waiting, inHand), "Resume 1"},
		{"UID recorded, the message is elsewhere", saw(runIn(job.Pending), waiting), "Resume 1"},
		{"resumed", saw(runIn(job.Pending), resumed, inHand), "Ack"},
		{"acknowledged", saw(runIn(job.Pending), running), "Store Running Active 1"},
		{"redelivered while it runs", saw(runIn(job.Running), running, inHand), "Ack"},
		{"finished before it was captured", saw(runIn(job.Running), done), "Capture"},
		{"captured", saw(runIn(job.Running), done, captured), "Store Succeeded CompletionsReached 1"},
		{"final before it was armed", saw(runIn(job.Succeeded), done), "Arm 1"},
		{"final before it was armed, as it was seen before its end", saw(runIn(job.Succeeded), running), "Arm 1"},
		{"armed before it was announced", saw(runIn(job.Succeeded), done|armed), "Announce"},
		{"announced", saw(runIn(job.Succeeded), done|armed, toldEnd), "Store Succeeded Active 1 closed"},
		{"closed", saw(runIn(job.Succeeded, closed), done|armed), "Rest"},
		{"announced, without TTL", saw(runIn(job.Succeeded, withoutTTL), done, toldEnd), "Store Succeeded Active 1 closed"},
		{"record lost while the Job runs", saw(job.Run{}, running, unknown), "Store Pending Created 1"},
		{"record lost, as the watch says", saw(job.Run{}, running, unknown, inHand, unlooked), "Look"},
		{"record lost before the Job ran: the message leads on", saw(job.Run{}, waiting, unknown, inHand), "Store Queued Accepted"},
		{"record lost before the Job ran, without message", saw(job.Run{}, waiting, unknown), "Rest"},
		{"record lost and queued again while the Job runs", saw(runIn(job.Creating), running, inHand), "Store Pending Created 1"},
	})
}

// TestH2NothingRunsTwice: the run is over and its Job gone, and a message or a Job comes late.
func TestH2NothingRunsTwice(t *testing.T) {
	requireDecisions(t, []decideTest{
		{"message", saw(runIn(job.Succeeded, closed), 0, inHand), "Ack"},
		{"message, before the Job was armed", saw(runIn(job.Succeeded), done, inHand), "Ack"},
		{"Job", saw(runIn(job.Succeeded, closed), late), "Delete 2"},
		{"Job, as the watch says", saw(runIn(job.Succeeded, closed), late, unlooked), "Delete 2"},
		{"Job, while another one runs", saw(runIn(job.Running), late, unlooked), "Delete 2"},
		{"Job, in place of one that was deleted", saw(runIn(job.Running), late), "Delete 2"},
		{"Job that is being deleted already", saw(runIn(job.Succeeded, closed), late|deleting), "Rest"},
		{"Job that is being deleted, as the watch says", saw(runIn(job.Running), late|deleting, unlooked), "Look"},
		{"Job of somebody else under the name, before the end is told", saw(runIn(job.Succeeded), others), "Announce"},
		{"Job that a person has made under the name, and runs", saw(runIn(job.Succeeded, closed), newJob(2, started)), "Rest"},
	})
}

// TestH4CancelAnywhere: the cancel comes in the queue, during the creation, while pods run, or after the end.
func TestH4CancelAnywhere(t *testing.T) {
	requireDecisions(t, []decideTest{
		{"in the queue", saw(runIn(job.Queued, ending), 0, inHand, unlooked), "Store Cancelled UserRequested"},
		{"in the queue, the message is elsewhere", saw(runIn(job.Queued, ending), 0, unlooked), "Store Cancelled UserRequested"},
		{"in the queue, after a refusal", saw(runIn(job.Queued, ending, onceQueued), 0, unlooked), "Look"},
		{"consumed", saw(runIn(job.Cancelled), 0, inHand, unlooked), "Ack"},
		{"during the creation", saw(runIn(job.Creating, ending), 0, unlooked), "Look"},
		{"before the creation", saw(runIn(job.Creating, ending), 0), "Store Cancelled UserRequested"},
		{"after the creation", saw(runIn(job.Creating, ending), waiting), "Delete 1"},
		{"after the UID was recorded", saw(runIn(job.Pending, ending), waiting), "Delete 1"},
		{"the record leads on", saw(runIn(job.Pending, ending), waiting, inHand), "Ack"},
		{"the creation came after the end", saw(runIn(job.Cancelled, onceQueued), waiting), "Delete 1"},
		{"the creation may come after the end", saw(runIn(job.Cancelled, onceQueued), 0, unlooked), "Look"},
		{"running", saw(runIn(job.Running, ending), running), "Capture"},
		{"captured", saw(runIn(job.Running, ending), running, captured), "Delete 1"},
		{"pods end", saw(runIn(job.Running, ending), running|deleting, captured), "Rest"},
		{"pods end well, because they are told to", saw(runIn(job.Running, ending), done|deleting, captured), "Rest"},
		{"pods are gone", saw(runIn(job.Running, ending), 0, captured), "Store Cancelled UserRequested 1"},
		{"the Job was faster", saw(runIn(job.Running, ending), done), "Capture"},
		{"the Job was faster, and captured", saw(runIn(job.Running, ending), done, captured), "Store Succeeded CompletionsReached 1"},
		{"looked before the cancel", saw(runIn(job.Running, ending), running, unlooked), "Look"},
		{"the Job was faster, and its UID never recorded", saw(runIn(job.Creating, ending), done, captured), "Store Succeeded CompletionsReached 1"},
		{"somebody has taken our labels off", saw(runIn(job.Pending, ending), resumed, unlabelled), "Delete 1"},
		{"somebody else's Job has the name", saw(runIn(job.Creating, ending), others), "Store Cancelled UserRequested"},
		{"a Job that a person has made has the name", saw(runIn(job.Pending, ending), newJob(2, started)), "Store Cancelled UserRequested 1"},
	})
}

// TestH4CancelIsNotedOnce: it never changes what is over, nor who has asked first.
func TestH4CancelIsNotedOnce(t *testing.T) {
	over := runIn(job.Succeeded)
	if again := over.Cancel(protocolNow, "somebody"); again.Ending != nil || again.Phase != job.Succeeded {
		t.Errorf("a run that is over: %+v", again)
	}
	first := runIn(job.Running).Cancel(modelNoon, "first")
	if second := first.Cancel(protocolNow, "second"); second.Ending.By != "first" || !second.Ending.At.Equal(modelNoon) {
		t.Errorf("cancelled twice: %+v", second.Ending)
	}
	cancelled := job.Decide(saw(first, 0)).Record
	if cancelled.Phase != job.Cancelled || cancelled.Ending.By != "first" || cancelled.Spec != nil || !cancelled.FinishedAt.Equal(protocolNow) {
		t.Errorf("cancelled: %+v", cancelled)
	}
	if faster := job.Decide(saw(first, done, captured)).Record; faster.Ending != nil || faster.Log == nil {
		t.Errorf("the Job was faster: %+v", faster)
	}
}
