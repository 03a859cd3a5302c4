package jobrunner

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicefaas/sluice/pkg/job"
)

// namedFallback is the definition that stands for every name that has none.
func namedFallback(parallel int) job.Definition {
	return definition("default", parallel, func(d *job.Definition) { d.Fallback = true })
}

// queueBehind lets one run of the job start, and queues a request under a name of the job that waits behind it and is recorded so.
func (f *fixture) queueBehind(d job.Definition, word string) {
	f.t.Helper()
	f.publish(d.Name, "r0", "")
	f.phase(d.Name, "r0", job.Running)
	f.publishRaw(word, "r1", `{"args":["1"]}`, "")
	f.await(d.Name, "r1", "recorded", func(r job.Run) bool { return r.Sequence != 0 && r.Reason == job.ReasonConcurrencyLimit })
}

// TestNameThatMeansAnotherJobForAWhile: a request that was recorded for one job does not run for another one that its name means while the first is not defined, and runs once when
// that is back. A new request runs for the other one.
func TestNameThatMeansAnotherJobForAWhile(t *testing.T) {
	t.Parallel()
	for _, word := range []string{"fib", "fib_a", "Fib"} {
		t.Run(word, func(t *testing.T) {
			t.Parallel()
			d := definition("fib", 1, func(d *job.Definition) { d.Aliases = []string{"fib_a"} })
			f := newFixture(t, d, namedFallback(3))
			f.timing.unknown = time.Hour
			f.startSynced()
			f.queueBehind(d, word)
			f.api.undefine("fib")
			f.publishRaw(word, "r2", `{"args":["2"]}`, "")
			f.phase("default", "r2", job.Running)
			never(t, 300*time.Millisecond, "it runs for the other job", func() bool { return f.run("default", "r1") != nil })
			f.api.define(d)
			f.api.end("r0", job.Succeeded)
			f.phase("fib", "r1", job.Running)
			f.drained()
			if f.run("default", "r1") != nil || f.run("fib", "r2") != nil || len(f.dead()) != 0 {
				t.Errorf("default/r1 is %+v, fib/r2 %+v, dead letters %+v", f.run("default", "r1"), f.run("fib", "r2"), f.dead())
			}
			if n := f.api.onceAll(); n != 3 {
				t.Errorf("%d runs had pods", n)
			}
		})
	}
}

// TestNameThatMeansAnotherJobForGood: what was recorded for a job that is gone ends with it, and nothing of it runs for the job that the name means now.
func TestNameThatMeansAnotherJobForGood(t *testing.T) {
	t.Parallel()
	for _, word := range []string{"fib", "fib_a"} {
		t.Run(word, func(t *testing.T) {
			t.Parallel()
			d := definition("fib", 1, func(d *job.Definition) { d.Aliases = []string{"fib_a"} })
			f := newFixture(t, d, namedFallback(3))
			f.startSynced()
			f.queueBehind(d, word)
			f.api.undefine("fib")
			if run := f.closed("fib", "r1", job.Cancelled); run.Reason != job.ReasonDefinitionDeleted {
				t.Errorf("it ended because of %s", run.Reason)
			}
			f.drained()
			if dead := f.dead(); len(dead) != 1 || dead[0].reason != reasonUnknownJob || f.run("default", "r1") != nil {
				t.Errorf("the dead letters are %+v, default/r1 is %+v", dead, f.run("default", "r1"))
			}
			f.publishRaw(word, "r2", "", "")
			f.phase("default", "r2", job.Running)
		})
	}
}

// TestNameThatGetsAJobOfItsOwn: what was recorded for the fallback still runs for that.
func TestNameThatGetsAJobOfItsOwn(t *testing.T) {
	t.Parallel()
	f := newFixture(t, namedFallback(1))
	f.startSynced()
	f.queueBehind(namedFallback(1), "new")
	f.api.define(definition("new", 1))
	eventually(t, "it is defined", func() bool { return f.shared()["new"].Template != nil })
	f.publish("new", "r2", "")
	f.phase("new", "r2", job.Running)
	f.api.end("r0", job.Succeeded)
	f.phase("default", "r1", job.Running)
	f.drained()
	if run := f.run("new", "r1"); run != nil {
		t.Errorf("new/r1 is %+v", run)
	}
	if n := f.api.onceAll(); n != 3 {
		t.Errorf("%d runs had pods", n)
	}
}

// TestRecordThatIsBeingWritten counts: its request must not run for another job meanwhile.
func TestRecordThatIsBeingWritten(t *testing.T) {
	t.Parallel()
	r := graceRunner(t, 0)
	d := definition("fib", 1)
	r.catalog.shown["fib"], r.catalog.active["fib"] = d, d
	m := job.Message{Definition: "fib", RunID: "r1", Sequence: 7, Accepted: time.Now().Add(-time.Hour)}
	if missing, _ := r.unrecorded(&scan{}, []job.Message{m}, time.Now()); len(missing) != 1 {
		t.Fatalf("%d records are missing", len(missing))
	}
	if k := r.owner(m, "default"); k != (key{"fib", "r1"}) {
		t.Errorf("it belongs to %+v", k)
	}
	if r.unrecorded(&scan{}, nil, time.Now()); r.owner(m, "default") != (key{"fib", "r1"}) {
		t.Error("it belongs to another run before the watch has told of its record")
	}
	if r.unrecorded(&scan{}, nil, time.Now().Add(2*maxWriting)); r.owner(m, "default") != (key{"default", "r1"}) {
		t.Error("it belongs to a run for which nobody has written a record")
	}
	r.unrecorded(&scan{}, []job.Message{m}, time.Now())
	other := job.Accept(d, m, time.Now())
	other.Sequence = 8
	r.applyRun(other, 1)
	other.Sequence = m.Sequence
	if r.applyRun(other, 2); len(r.backlog.writing) != 0 || r.owner(m, "default") != (key{"fib", "r1"}) {
		t.Errorf("being written are %v, and it belongs to %+v", r.backlog.writing, r.owner(m, "default"))
	}
}

// TestRecordThatIsRead counts too, as it was when it was last known.
func TestRecordThatIsRead(t *testing.T) {
	t.Parallel()
	r := graceRunner(t, 1)
	m := job.Message{Definition: "fib_a", RunID: "r0", Sequence: 1}
	read := r.track(key{"fib", "r0"})
	if k := r.owner(m, "default"); k != read.key || !r.inQueue(k) {
		t.Errorf("while it is read the request belongs to %+v, which waits: %v", k, r.inQueue(k))
	}
	if r.lose(read); r.owner(m, "default") != (key{"default", "r0"}) {
		t.Error("it belongs to a run that has no record")
	}
}

// TestRequestBeforeItsJob: nothing is given up while the cluster has not said whether it takes the definition, however long ago somebody asked for it.
func TestRequestBeforeItsJob(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 1))
	asked := make(chan struct{})
	f.api.script = func(made request) error {
		if made.verb == "check" {
			<-asked
		}
		return nil
	}
	f.publishRaw("fib", "r1", "", "")
	f.publishRaw("nobody", "r2", "", "")
	f.start()
	answer := sync.OnceFunc(func() { close(asked) })
	t.Cleanup(answer)
	eventually(t, "the other one is given up", func() bool { return len(f.dead()) == 1 })
	never(t, 2*f.timing.unknown, "it is given up too", func() bool { return len(f.dead()) > 1 })
	answer()
	f.phase("fib", "r1", job.Running)
	f.drained()
}

// TestTwoRequestsOfOneID: the one of the record runs, the other one is a dead letter, whichever comes first.
func TestTwoRequestsOfOneID(t *testing.T) {
	t.Parallel()
	d := definition("fib", 3, func(d *job.Definition) { d.Aliases = []string{"fib_a"} })
	for _, word := range []string{"fib", "fib_a"} {
		for _, first := range []string{"right", "wrong"} {
			t.Run(fmt.Sprint(word, " ", first), func(t *testing.T) {
				t.Parallel()
				f := newFixture(t, d)
				f.timing.lost = time.Hour
				record := job.Accept(d, job.Message{Definition: word, RunID: "r1", Body: []byte(`{"args":["right"]}`)}, time.Now())
				publish := func(which string) {
					if which == "wrong" {
						f.publishRaw("fib", "r1", `{"args":["wrong"]}`, "")
						return
					}
					record.Sequence = f.publishRaw(word, "r1", `{"args":["right"]}`, "").Sequence
				}
				publish(first)
				publish(map[string]string{"right": "wrong", "wrong": "right"}[first])
				f.put(record)
				f.startSynced()
				f.phase("fib", "r1", job.Running)
				f.drained()
				if dead := f.dead(); len(dead) != 1 || dead[0].reason != reasonConflict {
					t.Errorf("the dead letters are %+v", dead)
				}
			})
		}
	}
}

// TestRecordThatCannotBeRead keeps neither others from their slots nor from their records, and its run goes on when somebody has removed it.
func TestRecordThatCannotBeRead(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 1), definition("other", 1))
	f.config.MaxRunning = 2
	r := f.startSynced()
	conn := f.raw()
	spoil := func(id string) {
		if err := conn.Publish("$KV.sluice-runs.fib."+id, []byte("{")); err != nil {
			t.Fatal(err)
		}
		if err := conn.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	spoil("r1")
	f.publish("fib", "r1", "")
	eventually(t, "it is told", func() bool { return len(r.logs.with("cannot be read", `"run":"r1"`)) == 1 })
	f.publish("fib", "r2", "")
	f.phase("fib", "r2", job.Running)
	// Nobody has a slot: the follower meets one too.
	spoil("r3")
	f.publish("fib", "r3", "")
	f.publish("fib", "r4", "")
	f.publish("other", "r5", "")
	f.await("fib", "r4", "recorded", func(run job.Run) bool { return run.Sequence != 0 })
	f.phase("other", "r5", job.Running)
	for _, id := range []string{"r1", "r3"} {
		f.removeRaw("fib." + id)
	}
	f.api.set(func() { f.api.plan = func(job.Object) plan { return plan{end: job.Succeeded} } })
	f.api.end("r2", job.Succeeded)
	for _, id := range []string{"r2", "r1", "r3", "r4"} {
		f.closed("fib", id, job.Succeeded)
	}
}

// removeRaw removes what is under a key of the runs bucket.
func (f *fixture) removeRaw(name string) {
	f.t.Helper()
	js, err := jetstream.New(f.raw())
	if err != nil {
		f.t.Fatal(err)
	}
	bucket, err := js.KeyValue(f.t.Context(), "sluice-runs")
	if err != nil {
		f.t.Fatal(err)
	}
	if err := bucket.Delete(f.t.Context(), name); err != nil {
		f.t.Fatal(err)
	}
}
