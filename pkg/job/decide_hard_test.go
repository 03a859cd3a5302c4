package job_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/job"
)

func TestMessagesThatAreNotRun(t *testing.T) {
	rejected := modelRun()
	rejected.Phase, rejected.Reason = job.Rejected, "ImageNotAllowed"
	refused := runIn(job.Failed, onceQueued)
	refused.Reason = job.ReasonInvalidSpec
	requireDecisions(t, []decideTest{
		{"another request with the id of a run", saw(runIn(job.Running), running, inHand, conflict), "Bury IdempotencyConflict"},
		{"of a run that is over", saw(runIn(job.Succeeded), 0, inHand, conflict), "Bury IdempotencyConflict"},
		{"rejected", saw(rejected, 0, inHand), "Bury ImageNotAllowed"},
		{"rejected, and buried", saw(rejected, 0), "Announce"},
		{"refused by the API server", saw(refused, 0, inHand), "Bury InvalidSpec"},
		{"refused by the API server, but there is a Job", saw(refused, waiting), "Delete 1"},
	})
}

func TestGate(t *testing.T) {
	waits := runIn(job.Waiting)
	waits.Reason, waits.Message = job.ReasonDependencyNotReady, "db"
	requireDecisions(t, []decideTest{
		{"closed", saw(runIn(job.Queued), 0, inHand, gateClosed), "Store Waiting DependencyNotReady"},
		{"closed, as the record says", saw(waits, 0, inHand, gateClosed), "Rest"},
		{"open again", saw(waits, 0, inHand), "Store Creating Creating"},
		{"closed, and created already", saw(runIn(job.Creating), 0, inHand, gateClosed), "Create"},
		{"a phase of a newer version", saw(runIn("Paused"), 0, inHand), "Rest"},
	})
}

// TestRefusedCreations: a refusal counts when there is no Job, and a run that goes back into the queue remembers that there may be one.
func TestRefusedCreations(t *testing.T) {
	requireDecisions(t, []decideTest{
		{"no quota", saw(runIn(job.Creating), 0, inHand, noQuota), "Store Queued JobQuotaExceeded"},
		{"no quota, because the Job is there", saw(runIn(job.Creating), waiting, inHand, noQuota), "Store Pending Created 1"},
		{"queued again", saw(runIn(job.Queued, onceQueued), 0, inHand, noQuota), "Rest"},
		{"worth another try", saw(runIn(job.Queued, onceQueued), 0, inHand), "Store Creating Creating"},
		{"for good", saw(runIn(job.Creating), 0, inHand, invalid), "Store Failed InvalidSpec"},
	})
	if again := job.Decide(saw(runIn(job.Creating), 0, inHand, noQuota)).Record; again.JobName == "" || again.Message != "used 1" {
		t.Errorf("queued again: %+v", again)
	}
}

// TestH1TakenNames: a Job under our name that is somebody else's is never taken for ours, resumed or deleted.
func TestH1TakenNames(t *testing.T) {
	r := runIn(job.Creating)
	names := map[string]bool{}
	for range 10 {
		names[r.JobName] = true
		o := others.object(0)
		o.Name = r.JobName
		a := job.Decide(job.Sight{Now: protocolNow, Run: r, Known: true, Object: o, Looked: true})
		if a.Step != job.Store {
			t.Fatalf("%+v", a)
		}
		if r = a.Record; r.Phase.Final() {
			break
		}
		// The Job that was looked at has another name than the run's now: it is no answer any more.
		if a := job.Decide(job.Sight{Now: protocolNow, Run: r, Known: true, Object: o, Looked: true}); a.Step != job.Create {
			t.Fatalf("under the next name: %+v", a)
		}
	}
	if r.Phase != job.Failed || r.Reason != job.ReasonNameCollision || len(names) != 4 {
		t.Errorf("%s %s after %d names", r.Phase, r.Reason, len(names))
	}

	salted := runIn(job.Running)
	salted.Salt, salted.JobName = 1, jobNames[1]
	copied := late.object(0)
	copied.Name = "a-copy"
	requireDecisions(t, []decideTest{
		{"late, under the first name", saw(salted, late), "Delete 2"},
		{"late, under the first name, before there is a UID", saw(runIn(job.Creating, withoutUID, func(r *job.Run) { r.Salt, r.JobName = 1, jobNames[1] }), late), "Delete 2"},
		{"somebody else's in place of ours", saw(runIn(job.Running), others), "Store Failed JobDisappeared 1"},
		{"a copy that a person has made", saw(runIn(job.Running), 0, func(s *job.Sight) { s.Object = copied }), "Look"},
		{"deleted before its UID was recorded", saw(runIn(job.Creating), waiting|deleting), "Store Creating Creating ending JobDisappeared"},
		{"none, and deleted by a person", saw(runIn(job.Running), 0), "Store Failed JobDisappeared 1"},
		{"none, as the watch says", saw(runIn(job.Running), 0, unlooked), "Look"},
	})
}

// held lets somebody else decide when the Job runs.
func held(s *job.Sight) { s.Object.Held = true }

// TestHeldJobIsNeverResumed: neither one that is held by a queue such as Kueue, nor one whose definition says suspend.
func TestHeldJobIsNeverResumed(t *testing.T) {
	requireDecisions(t, []decideTest{
		{"with its message", saw(runIn(job.Pending), waiting, held, inHand), "Ack"},
		{"without", saw(runIn(job.Pending), waiting, held), "Store Pending Admission 1"},
		{"for hours", saw(runIn(job.Pending), waiting, held, hoursLater), "Store Pending Admission 1"},
		{"admitted", saw(runIn(job.Pending), running, held), "Store Running Active 1"},
		{"cancelled", saw(runIn(job.Pending, ending), waiting, held), "Delete 1"},
		{"too late, and admitted", saw(runIn(job.Succeeded), newJob(2, started), held), "Delete 2"},
		{"its record lost", saw(job.Run{}, waiting, held, unknown), "Store Pending Created 1"},
	})
}

// TestSuspendedByAPerson: we resume a Job once.
func TestSuspendedByAPerson(t *testing.T) {
	paused := job.Decide(saw(runIn(job.Running), waiting)).Record
	if paused.Phase != job.Running || paused.Reason != job.ReasonSuspended {
		t.Fatalf("%s %s", paused.Phase, paused.Reason)
	}
	requireDecisions(t, []decideTest{
		{"while it runs: Kubernetes forgets when it started", saw(paused, waiting), "Rest"},
		{"for hours", saw(paused, waiting, hoursLater), "Rest"},
		{"resumed", saw(paused, resumed, hoursLater), "Store Running Active 1"},
		{"before anybody has noted that it was resumed, but a pod ran", saw(runIn(job.Pending), newJob(1, suspended|started)), "Store Running Suspended 1"},
		{"before anybody has noted that it was resumed, or a pod ran", saw(runIn(job.Pending), waiting|userSuspended), "Store Pending Suspended 1"},
		{"in a record that does not say when it was resumed", saw(runIn(job.Running, func(r *job.Run) { r.ResumedAt = time.Time{} }), waiting), "Store Running Suspended 1"},
		{"before a pod ran", saw(runIn(job.Pending, withResume), waiting), "Store Pending Suspended 1"},
		{"before a pod ran, for hours", saw(runIn(job.Pending, withResume), waiting, hoursLater), "Store Pending Suspended 1"},
	})
	adopted := job.Decide(saw(runIn(job.Creating), resumed)).Record
	if adopted.JobUID != "1" || adopted.ResumedAt.IsZero() {
		t.Errorf("a Job that ran under a record that was lost: UID %q, resumed at %s", adopted.JobUID, adopted.ResumedAt)
	}
}

// TestH6StartDeadline counts while the Job may run, and no pod has.
func TestH6StartDeadline(t *testing.T) {
	troubled := func(s *job.Sight) { s.Object.Trouble, s.Object.TroubleDetail = "ImagePullBackOff", "no such image" }
	pulling := job.Decide(saw(runIn(job.Pending), resumed, troubled)).Record
	if pulling.Phase != job.Pending || pulling.Reason != "ImagePullBackOff" || pulling.Message != "no such image" {
		t.Fatalf("%s %s %q", pulling.Phase, pulling.Reason, pulling.Message)
	}
	after := func(d time.Duration) func(*job.Sight) {
		return func(s *job.Sight) { s.Now = modelNoon.Add(d) }
	}
	limit := 600 * time.Second
	requireDecisions(t, []decideTest{
		{"not yet", saw(pulling, resumed, troubled, after(limit-1)), "Rest"},
		{"over", saw(pulling, resumed, troubled, after(limit)), "Store Pending ImagePullBackOff 1 ending StartDeadlineExceeded"},
		{"over, but a pod has run", saw(pulling, running, after(limit)), "Store Running Active 1"},
		{"over, but it has ended", saw(pulling, done, after(limit)), "Capture"},
		{"over, but somebody deletes it", saw(pulling, resumed|deleting, after(limit)), "Store Pending Terminating 1"},
		{"over, but Kueue holds it", saw(runIn(job.Pending), waiting, held, after(limit)), "Store Pending Admission 1"},
		{"over, but the Job was never resumed, because no runner was there", saw(runIn(job.Pending), waiting, after(limit)), "Resume 1"},
		{"resumed late", saw(runIn(job.Pending), resumed, after(limit)), "Store Pending Created 1"},
		{"ending", saw(job.Decide(saw(pulling, resumed, troubled, after(limit))).Record, resumed), "Delete 1"},
	})
	a := job.Decide(saw(pulling, resumed, troubled, after(limit)))
	if text := a.Record.Ending.Message; !strings.Contains(text, "600 s") || !strings.Contains(text, "ImagePullBackOff: no such image") {
		t.Errorf("the record says %q", text)
	}
	if rest := job.Decide(saw(pulling, resumed, troubled, after(limit-1))); !rest.Until.Equal(modelNoon.Add(limit)) {
		t.Errorf("asks again at %s", rest.Until)
	}
	counted := saw(pulling, resumed, troubled, after(limit-time.Second))
	counted.Run.UpdatedAt, counted.Object.Counts.Active = counted.Now, 1
	if rest := job.Decide(counted); rest.Step != job.Rest || !rest.Until.Equal(modelNoon.Add(limit)) {
		t.Errorf("with counts to write: %s until %s", rest.Step, rest.Until)
	}

	late := modelNoon.Add(time.Hour)
	admitted := job.Decide(saw(runIn(job.Pending), waiting, held)).Record
	admitted = job.Decide(saw(admitted, resumed, held, after(time.Hour))).Record
	if admitted.Phase != job.Pending || !admitted.ResumedAt.Equal(late) {
		t.Fatalf("admitted after an hour: %s, resumed at %s", admitted.Phase, admitted.ResumedAt)
	}
	requireDecisions(t, []decideTest{
		{"admitted after an hour", saw(admitted, resumed, held, after(time.Hour+limit-1)), "Rest"},
		{"admitted for longer than the limit", saw(admitted, resumed, held, after(time.Hour+limit)), "Store Pending Created 1 ending StartDeadlineExceeded"},
	})
}

// TestOutputOfADeletedJobIsKept: what was captured of a Job is not lost with it.
func TestOutputOfADeletedJobIsKept(t *testing.T) {
	for name, s := range map[string]job.Sight{
		"by a person": saw(runIn(job.Running), 0, captured), "by a cancel": saw(runIn(job.Running, ending), 0, captured), "not at all": saw(runIn(job.Running), done, captured),
	} {
		if a := job.Decide(s); len(a.Record.Log) != 1 || !a.Record.Phase.Final() {
			t.Errorf("deleted %s: %s, %d parts of output", name, words(a), len(a.Record.Log))
		}
	}
}

// TestPodsOfARunThatIsOver: how they end is told also where they are deleted, and none seems to run for ever.
func TestPodsOfARunThatIsOver(t *testing.T) {
	code := 143
	runs := job.Pod{Name: "p", Phase: "Running", Containers: []job.Container{{Name: "c"}}}
	ended := job.Pod{Name: "p", Phase: "Failed", Containers: []job.Container{{Name: "c", ExitCode: &code}}}
	unseen := job.Pod{Name: "q", Phase: "Pending", Reason: "ContainerCreating"}
	cancelled := runIn(job.Running, ending, func(r *job.Run) { r.Pods = []job.Pod{runs, unseen} })
	for name, c := range map[string]struct {
		result job.Result
		want   []job.Pod
	}{
		"their end was seen": {job.Result{Pods: []job.Pod{runs, unseen}}.Ends([]job.Pod{ended}), []job.Pod{ended, {Name: "q", Phase: "Failed", Reason: "ContainerCreating"}}},
		"it was not":         {job.Result{Pods: []job.Pod{runs}}.Ends(nil), []job.Pod{{Name: "p", Phase: "Failed", Reason: "Deleted", Containers: runs.Containers}}},
	} {
		s := saw(cancelled, 0, captured)
		s.Result = c.result
		if got := job.Decide(s).Record.Pods; !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestQueueDeadline(t *testing.T) {
	r := runIn(job.Queued, func(r *job.Run) { r.QueueDeadline = 60 })
	deadline := modelNoon.Add(time.Minute)
	before := saw(r, 0, unlooked)
	if a := job.Decide(before); a.Step != job.Rest || !a.Until.Equal(deadline) {
		t.Errorf("before: %s until %s", a.Step, a.Until)
	}
	over := before
	over.Now = deadline
	requireDecisions(t, []decideTest{{"over", over, "Store Failed QueueDeadlineExceeded"}})
}

// TestRestoredRecords: a record is made again from the Seed of our own Job alone, and not from that of a run whose record has been removed in its time.
func TestRestoredRecords(t *testing.T) {
	seedOf := func(change func(*job.Object)) func(*job.Sight) {
		return func(s *job.Sight) { change(s.Object) }
	}
	requireDecisions(t, []decideTest{
		{"ended a moment ago", saw(job.Run{}, done, unknown), "Store Pending Created 1"},
		{"ended long ago", saw(job.Run{}, done, unknown, hoursLater), "Rest"},
		{"ended, and armed", saw(job.Run{}, done|armed, unknown), "Rest"},
		{"suspended by a person", saw(job.Run{}, waiting|userSuspended, unknown), "Store Pending Created 1"},
		{"being deleted", saw(job.Run{}, running|deleting, unknown), "Store Pending Created 1"},
		{"no Seed", saw(job.Run{}, running, unknown, seedOf(func(o *job.Object) { o.Seed = nil })), "Rest"},
		{"the Seed of another run", saw(job.Run{}, running, unknown, seedOf(func(o *job.Object) { o.Seed.ID = "r2" })), "Rest"},
		{"a copy that a person has made", saw(job.Run{}, running, unknown, seedOf(func(o *job.Object) { o.Name = "a-copy" })), "Rest"},
		{"somebody else's", saw(job.Run{}, others, unknown), "Rest"},
	})
	r := job.Decide(saw(job.Run{}, running, unknown)).Record
	if r.JobName != jobNames[0] || r.JobUID != "1" || len(r.Warnings) != 1 || !r.CreatedAt.Equal(modelNoon) || r.Attempt != 1 || r.TTL == nil || r.ResumedAt.IsZero() {
		t.Errorf("made again: %+v", r)
	}
}
