package jobrunner

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/sluicefaas/sluice/pkg/job"
)

// foundJob is a Job as a run of the definition has it.
func foundJob(t testing.TB, d job.Definition, id string) *object {
	t.Helper()
	run := job.Accept(d, job.Message{Definition: d.Name, RunID: id}, time.Now())
	run.JobName = job.NameOf(run)
	manifest, err := job.Manifest(run, "default")
	if err != nil {
		t.Fatal(err)
	}
	o, err := newAPIServer(t).parse(manifest)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// TestSuspendedStrayIsDeleted: a Job that was created too late, by whoever, runs nothing, and is deleted when no record has it for long.
func TestSuspendedStrayIsDeleted(t *testing.T) {
	t.Parallel()
	d := definition("fib", 1)
	f := newFixture(t, d)
	f.timing.stray = 3 * time.Second
	f.startSynced()
	f.api.put(foundJob(t, d, "late"))
	held := foundJob(t, d, "held")
	held.Held = true
	f.api.put(held)
	if f.api.of("late") == nil {
		t.Fatal("it is deleted at once: its record may be on its way")
	}
	eventually(t, "it is deleted", func() bool { return f.api.of("late") == nil })
	never(t, f.timing.stray, "one that somebody else holds is deleted", func() bool { return f.api.of("held") == nil })
	if f.run("fib", "late") != nil || f.api.onceAll() != 0 {
		t.Error("it has made a run")
	}
}

// TestLostRecord: a Job that runs, or has just ended, has its record again, and a slot; one that is over for long has not.
func TestLostRecord(t *testing.T) {
	t.Parallel()
	d := definition("fib", 1)
	f := newFixture(t, d)
	runs, ended, old, armed := foundJob(t, d, "runs"), foundJob(t, d, "ended"), foundJob(t, d, "old"), foundJob(t, d, "armed")
	ttl := int32(60)
	for o, edit := range map[*object]func(*object){
		runs:  func(o *object) { o.StartedAt, o.Counts = time.Now(), job.Counts{Active: 1, Ready: 1} },
		ended: func(o *object) { o.End, o.FinishedAt = job.Succeeded, time.Now().Add(-time.Minute) },
		old:   func(o *object) { o.End, o.FinishedAt = job.Succeeded, time.Now().Add(-2*time.Hour) },
		armed: func(o *object) { o.End, o.FinishedAt, o.TTL = job.Succeeded, time.Now(), &ttl },
	} {
		o.Suspended = false
		edit(o)
		f.api.put(o)
	}
	f.startSynced()
	f.phase("fib", "runs", job.Running)
	f.closed("fib", "ended", job.Succeeded)
	f.publish("fib", "next", "")
	f.await("fib", "next", "waiting for the slot", func(r job.Run) bool { return r.Reason == job.ReasonConcurrencyLimit })
	if f.run("fib", "old") != nil || f.run("fib", "armed") != nil {
		t.Error("a run whose record was removed in its time has one again")
	}
	f.api.end("runs", job.Succeeded)
	f.closed("fib", "runs", job.Succeeded)
	f.phase("fib", "next", job.Running)
}

// TestRecordRemovedWhileItRuns: somebody empties the bucket; the run goes on.
func TestRecordRemovedWhileItRuns(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 1))
	f.startSynced()
	f.publish("fib", "r1", "")
	f.phase("fib", "r1", job.Running)
	f.drained()
	_, revision, err := f.runs.Get(t.Context(), "fib", "r1")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.runs.Remove(t.Context(), "fib", "r1", revision); err != nil {
		t.Fatal(err)
	}
	f.phase("fib", "r1", job.Running)
	f.api.end("r1", job.Succeeded)
	f.closed("fib", "r1", job.Succeeded)
	if n := f.api.onceAll(); n != 1 {
		t.Errorf("%d runs had pods", n)
	}
}

// TestJobDeletedByAPerson ends the run, whatever it was doing.
func TestJobDeletedByAPerson(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 1))
	f.startSynced()
	f.publish("fib", "r1", "")
	f.phase("fib", "r1", job.Running)
	f.publish("fib", "r2", "")
	f.api.remove("r1")
	if run := f.closed("fib", "r1", job.Failed); run.Reason != job.ReasonJobDisappeared {
		t.Errorf("it has failed because of %s", run.Reason)
	}
	f.phase("fib", "r2", job.Running)
}

// TestForeignJob: somebody else's Job has the name; the run takes another one.
func TestForeignJob(t *testing.T) {
	t.Parallel()
	d := definition("fib", 1)
	f := newFixture(t, d)
	foreign := foundJob(t, d, "r1")
	foreign.Definition, foreign.RunID, foreign.SpecHash, foreign.Seed = "", "", "", nil
	f.api.put(foreign)
	f.startSynced()
	f.publish("fib", "r1", "")
	if run := f.phase("fib", "r1", job.Running); run.Salt != 1 || run.JobName == foreign.Name {
		t.Errorf("the record is %+v", run)
	}
}

// TestReapSparesWhatHasChanged: a run may take the Job while its record, which did not name it, is read.
func TestReapSparesWhatHasChanged(t *testing.T) {
	t.Parallel()
	d := definition("fib", 1)
	f := newFixture(t, d)
	f.api.put(foundJob(t, d, "r1"))
	seen := *f.api.of("r1")
	if _, err := f.api.Resume(t.Context(), seen.Name, seen.UID, seen.Version); err != nil {
		t.Fatal(err)
	}
	if err := f.idle().reapUnlessRecorded(t.Context(), seen); err != nil {
		t.Error(err)
	}
	if now := f.api.of("r1"); now == nil || now.Deleting {
		t.Errorf("it is deleted: %+v", now)
	}
}

// TestReap: a suspended Job is deleted unless its record names it, or is about to: another runner may be at work.
func TestReap(t *testing.T) {
	t.Parallel()
	d := definition("fib", 1)
	f := newFixture(t, d)
	r := New(f.config, Deps{Bus: f.bus, Cluster: f.api, Logger: zerolog.Nop(), Registry: prometheus.NewRegistry()})
	r.runs = f.runs
	for id, c := range map[string]struct {
		record func(*job.Run, string)
		spared bool
	}{
		"made":    {func(*job.Run, string) {}, true},
		"named":   {func(r *job.Run, uid string) { r.Phase, r.JobUID = job.Pending, uid }, true},
		"another": {func(r *job.Run, _ string) { r.Phase, r.JobUID = job.Pending, "another" }, false},
		"over":    {func(r *job.Run, _ string) { r.Phase = job.Cancelled }, false},
		"none":    {nil, false},
	} {
		f.api.put(foundJob(t, d, id))
		o := f.api.of(id)
		if c.record != nil {
			run := creating(d, id)
			c.record(&run, o.UID)
			f.put(run)
		}
		if err := r.reapUnlessRecorded(t.Context(), *o); err != nil {
			t.Error(err)
		}
		if now := f.api.of(id); (now != nil && !now.Deleting) != c.spared {
			t.Errorf("%s: spared is %v", id, !c.spared)
		}
	}
}
