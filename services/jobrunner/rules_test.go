package jobrunner

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicefaas/sluice/pkg/job"
)

// These tests hold the rules that are at job.Step: the protocol is proved under them.

// endsUnseen lets the Job of a run end, of which no watch tells.
func (s *apiServer) endsUnseen(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.ofLocked(id)
	s.version++
	o.End, o.FinishedAt, o.Counts = job.Succeeded, time.Now(), job.Counts{Succeeded: 1}
}

// TestLookBeforeTheEnd: a run that is to end for a reason of ours has the end of its Job, if that was there before.
func TestLookBeforeTheEnd(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 1, func(d *job.Definition) { d.StartDeadline = 1 }))
	f.api.plan = func(job.Object) plan { return plan{end: stuck} }
	f.api.fate = func(r request) error {
		if r.verb == "resume" {
			f.api.endsUnseen("r1")
		}
		return nil
	}
	f.startSynced()
	f.publish("fib", "r1", "")
	if run := f.closed("fib", "r1", job.Succeeded); run.Reason != job.ReasonCompletionsReached {
		t.Errorf("it has succeeded because of %s", run.Reason)
	}
}

// TestSuspendedAtOnce: a person suspends the Job before anybody has noted that it was resumed, and lets it run later.
func TestSuspendedAtOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 1))
	f.api.plan = func(job.Object) plan { return plan{end: stuck} }
	f.api.fate = func(r request) error {
		if r.verb == "resume" {
			f.api.change("r1", func(o *object) { o.Suspended = true })
		}
		return nil
	}
	f.startSynced()
	f.publish("fib", "r1", "")
	f.await("fib", "r1", "suspended", func(r job.Run) bool { return r.Phase == job.Pending && r.Reason == job.ReasonSuspended })
	never(t, 300*time.Millisecond, "it is resumed again", func() bool { return f.api.count("resume") > 1 })
	f.api.set(func() { f.api.plan = nil })
	f.api.change("r1", func(o *object) {
		o.Suspended = false
		f.api.startLocked(o)
	})
	f.phase("fib", "r1", job.Running)
}

// creating is the record of a run whose Job is about to be made.
func creating(d job.Definition, id string) job.Run {
	now := time.Now()
	run := job.Accept(d, job.Message{Definition: d.Name, RunID: id, Accepted: now}, now)
	run.JobName = job.NameOf(run)
	return run.Move(now, job.Creating, job.ReasonCreating, "")
}

func (f *fixture) put(run job.Run) {
	f.t.Helper()
	if _, err := f.runs.Put(f.t.Context(), run, 0); err != nil {
		f.t.Fatal(err)
	}
}

// TestJobIsThereAlready: a record of which we can make no Job, as another version might write one, does not fail if there is one.
func TestJobIsThereAlready(t *testing.T) {
	t.Parallel()
	d := definition("fib", 1)
	f := newFixture(t, d)
	for _, id := range []string{"there", "missing"} {
		run := creating(d, id)
		run.Spec = json.RawMessage(`{"spec":"newer"}`)
		f.put(run)
	}
	f.api.put(foundJob(t, d, "there"))
	f.startSynced()
	f.phase("fib", "there", job.Running)
	if run := f.closed("fib", "missing", job.Failed); run.Reason != job.ReasonInvalidSpec {
		t.Errorf("it has failed because of %s", run.Reason)
	}
}

// TestLostRecordWhileTheAPIServerFails: the record is made again when it answers.
func TestLostRecordWhileTheAPIServerFails(t *testing.T) {
	t.Parallel()
	d := definition("fib", 1)
	f := newFixture(t, d)
	o := foundJob(t, d, "runs")
	o.Suspended, o.StartedAt, o.Counts = false, time.Now(), job.Counts{Active: 1, Ready: 1}
	f.api.put(o)
	f.api.script = refuse("get", errServer)
	f.startSynced()
	eventually(t, "the Job is looked at", func() bool { return f.api.count("get") > 1 })
	f.api.set(func() { f.api.script = nil })
	f.phase("fib", "runs", job.Running)
}

// over lets a run end whose Job goes at once.
func (f *fixture) over(id string) {
	f.t.Helper()
	f.publish("fib", id, "")
	f.phase("fib", id, job.Running)
	f.api.end(id, job.Succeeded)
	f.closed("fib", id, job.Succeeded)
	eventually(f.t, "the TTL has removed the Job", func() bool { return f.api.of(id) == nil })
}

func withoutTTL(d *job.Definition) {
	d.Template = template(`"ttlSecondsAfterFinished":0`, "Never", "x")
}

// TestLateJobThatCannotBeDeleted is tried again, long before it counts as a stray.
func TestLateJobThatCannotBeDeleted(t *testing.T) {
	t.Parallel()
	d := definition("fib", 1, withoutTTL)
	f := newFixture(t, d)
	f.timing.stray = time.Hour
	f.startSynced()
	f.over("r1")
	f.api.set(func() { f.api.script = refuse("delete", errServer) })
	f.api.put(foundJob(t, d, "r1"))
	eventually(t, "it is tried", func() bool { return f.api.count("delete") > 1 })
	f.api.set(func() { f.api.script = nil })
	eventually(t, "it is deleted", func() bool { return f.api.of("r1") == nil })
}

// TestLateJobWhileItIsLookedFor: the API server has said that there is no Job, and the watch tells of one before that is heard. It is looked for again.
func TestLateJobWhileItIsLookedFor(t *testing.T) {
	t.Parallel()
	d := definition("fib", 1)
	f := newFixture(t, d)
	f.timing.stray = time.Hour
	run := creating(d, "r1")
	run.JobUID, run.Phase, run.FinishedAt, run.Spec = "gone", job.Succeeded, time.Now(), nil
	f.put(run)
	runners, seen := make(chan *running, 1), make(chan struct{})
	f.api.fate = func(made request) error {
		if made.verb == "get" && f.api.count("get") == 1 {
			r := <-runners
			f.api.put(foundJob(t, d, "r1"))
			eventually(t, "the runner has heard of it", func() (heard bool) {
				r.inside(func(time.Time) {
					known := r.tracked[key{"fib", "r1"}]
					heard = known != nil && known.object != nil
				})
				return heard
			})
			close(seen)
		}
		return nil
	}
	runners <- f.start()
	select {
	case <-seen:
	case <-time.After(long):
		t.Fatal("nobody looks for the Job")
	}
	eventually(t, "it is deleted", func() bool { return f.api.of("r1") == nil })
	f.closed("fib", "r1", job.Succeeded)
}

// reading is a runner that does not run, with a run whose record is doubtful, and what reads the record.
func reading(t *testing.T, revision uint64) (*tracked, func(context.Context) func(time.Time)) {
	f := newFixture(t)
	f.put(creating(definition("fib", 1), "r1"))
	r := New(f.config, Deps{Bus: f.bus, Cluster: f.api, Registry: prometheus.NewRegistry()})
	r.runs = f.runs
	known := r.track(key{"fib", "r1"})
	known.known, known.revision, known.doubts = true, revision, 1
	return known, r.readRecord(known).work
}

// TestDoubtWhileTheRecordIsRead: the record that was asked for may be older than what has happened since.
func TestDoubtWhileTheRecordIsRead(t *testing.T) {
	t.Parallel()
	known, read := reading(t, 0)
	then := read(t.Context())
	known.object = &job.Object{UID: "1"}
	known.vanished("1")
	if then(time.Now()); known.doubts != 1 {
		t.Errorf("there are %d doubts", known.doubts)
	}
}

// TestRecordsThatWereRolledBack: a bucket that was made again from a backup has lower revisions.
func TestRecordsThatWereRolledBack(t *testing.T) {
	t.Parallel()
	known, read := reading(t, 500)
	if read(t.Context())(time.Now()); known.revision != 1 || known.run.Phase != job.Creating || known.doubts != 0 {
		t.Errorf("the record is %+v of revision %d", known.run, known.revision)
	}
}
