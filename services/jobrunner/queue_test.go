package jobrunner

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
	"github.com/sluicefaas/sluice/pkg/job"
)

// TestBacklogHasRecords: requests that nobody has taken, because no slot is free, have records all the same, with their places.
func TestBacklogHasRecords(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 1))
	f.startSynced()
	f.publish("fib", "first", "")
	f.phase("fib", "first", job.Running)
	var places []uint64
	for i := range 3 {
		places = append(places, f.publish("fib", fmt.Sprint("r", i), `{"args":["1"]}`))
	}
	raw := f.publishRaw("fib", "", "", "somebody-1")
	// As a gateway does, which writes the record before it publishes.
	byGateway := job.Accept(definition("fib", 1), job.Message{Definition: "fib", RunID: "g1"}, time.Now())
	if _, err := f.runs.Put(t.Context(), byGateway, 0); err != nil {
		t.Fatal(err)
	}
	places = append(places, f.publish("fib", "g1", ""))
	for i, id := range []string{"r0", "r1", "r2", "g1"} {
		run := f.await("fib", id, "recorded with its place", func(r job.Run) bool { return r.Sequence == places[i] })
		if run.Phase != job.Queued || run.Reason != job.ReasonConcurrencyLimit || run.Message == "" || run.Spec == nil {
			t.Errorf("the record is %+v", run)
		}
	}
	f.await("fib", "somebody-1", "recorded with its place", func(r job.Run) bool { return r.Sequence == raw.Sequence })
	if f.api.count("create") != 1 {
		t.Error("another Job was created")
	}
}

// TestQueueDeadline: a request that waits for too long has failed, whether it is in our hands or not, and is out of the queue.
func TestQueueDeadline(t *testing.T) {
	t.Parallel()
	deadline := func(d *job.Definition) { d.QueueDeadline = 10 }
	f := newFixture(t, definition("fib", 1, deadline), definition("needs", 1, deadline, func(d *job.Definition) { d.DependsOn = []string{"db"} }))
	f.startSynced()
	f.publish("fib", "r1", "")
	f.phase("fib", "r1", job.Running)
	f.publish("fib", "r2", "")
	f.publish("needs", "n1", "")
	for name, id := range map[string]string{"fib": "r2", "needs": "n1"} {
		if run := f.closed(name, id, job.Failed); run.Reason != job.ReasonQueueDeadlineExceeded {
			t.Errorf("%s has failed because of %s", id, run.Reason)
		}
	}
	f.drained()
	if f.run("fib", "r1").Phase != job.Running {
		t.Error("the deadline of the queue ended a run that had started")
	}
}

// TestUnknownJob: requests for a job that nobody defines wait for its definition, then are kept as dead letters.
func TestUnknownJob(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 1))
	f.timing.unknown = 2 * time.Second
	f.startSynced()
	f.publishRaw("late", "", `{"args":["1"]}`, "")
	f.publishRaw("never", "n1", `{"args":["2"]}`, "")
	f.publishRaw("*", "", "", "")
	f.api.define(definition("late", 1))
	eventually(t, "the late one runs", func() bool { return f.api.unfinished("late") == 1 })
	eventually(t, "the other one is given up", func() bool { return len(f.dead()) == 1 })
	if dead := f.dead(); dead[0].reason != reasonUnknownJob || dead[0].body != `{"args":["2"]}` {
		t.Errorf("the dead letters are %+v", dead)
	}
	f.publish("fib", "r1", "")
	f.phase("fib", "r1", job.Running)
}

// TestNames: aliases, other cases and the fallback have subjects of their own.
func TestNames(t *testing.T) {
	t.Parallel()
	f := newFixture(t,
		definition("my-job", 3, func(d *job.Definition) { d.Aliases = []string{"my_job"} }),
		definition("default", 3, func(d *job.Definition) { d.Fallback = true }))
	f.startSynced()
	f.publishRaw("my_job", "r1", "", "")
	f.publishRaw("My-Job", "r2", "", "")
	f.publishRaw("anything", "r3", "", "")
	f.phase("my-job", "r1", job.Running)
	f.phase("my-job", "r2", job.Running)
	f.phase("default", "r3", job.Running)
	f.drained()
}

// TestBadMessages stop nothing else: each is kept as a dead letter, and its run is rejected.
func TestBadMessages(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 1))
	f.startSynced()
	js, err := jetstream.New(f.raw())
	if err != nil {
		t.Fatal(err)
	}
	bad := []nats.Header{{"Job-Run-Id": {"Not An Id"}}, {"Sluice-Job-Path": {"no slash"}}}
	for _, header := range bad {
		if _, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: "sluice.job.fib", Header: header}); err != nil {
			t.Fatal(err)
		}
	}
	f.publishRaw("fib", "r1", `{"image":"somebody/else"}`, "")
	f.publishRaw("fib", "r2", `no JSON`, "")
	f.publish("fib", "good", "")
	f.phase("fib", "good", job.Running)
	f.drained()
	reasons := map[string]int{}
	for _, d := range f.dead() {
		reasons[d.reason]++
	}
	if reasons[job.ReasonBadMessage] != 2 || len(f.dead()) != 4 {
		t.Errorf("the dead letters are %+v", f.dead())
	}
	var unread []string
	if err := f.runs.List(t.Context(), "fib", func(r job.Run) bool {
		if r.Reason == job.ReasonBadMessage {
			unread = append(unread, r.ID)
		}
		return true
	}); err != nil || len(unread) != 2 {
		t.Fatalf("the runs %v say that they cannot be read, %v", unread, err)
	}
	for _, id := range append(unread, "r1", "r2") {
		if run := f.closed("fib", id, job.Rejected); run.Message == "" {
			t.Errorf("%s does not say why it is rejected", id)
		}
	}
	if n := f.api.onceAll(); n != 1 {
		t.Errorf("%d runs had pods", n)
	}
}

// TestBadMessageInTheBacklog gets a record before anybody sees what is wrong with it, and never runs.
func TestBadMessageInTheBacklog(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 1))
	f.startSynced()
	f.publish("fib", "first", "")
	f.phase("fib", "first", job.Running)
	js, err := jetstream.New(f.raw())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: "sluice.job.fib", Header: nats.Header{"Job-Run-Id": {"Not An Id"}}}); err != nil {
		t.Fatal(err)
	}
	var id string
	eventually(t, "it has a record", func() bool {
		err := f.runs.List(t.Context(), "fib", func(r job.Run) bool {
			if r.ID != "first" {
				id = r.ID
			}
			return true
		})
		return err == nil && id != ""
	})
	f.api.end("first", job.Succeeded)
	if run := f.closed("fib", id, job.Rejected); run.Reason != job.ReasonBadMessage || !strings.Contains(run.Message, "Not An Id") {
		t.Errorf("the record is %+v", run)
	}
	f.drained()
	if n := f.api.onceAll(); n != 1 {
		t.Errorf("%d runs had pods", n)
	}
}

// TestRecordThatIsTooLarge: a request that fits into a message, and its Job does not with it, is rejected. It stops nothing else.
func TestRecordThatIsTooLarge(t *testing.T) {
	t.Parallel()
	small := bustest.Start(t, func(o *server.Options) { o.MaxPayload = 32 << 10 })
	f := newFixtureOn(t, small, definition("fib", 1))
	f.startSynced()
	f.publish("fib", "r1", `{"args":["`+strings.Repeat("x", 20<<10)+`"]}`)
	f.publish("fib", "good", "")
	if run := f.closed("fib", "r1", job.Rejected); run.Reason != job.ReasonTooLarge || !strings.HasPrefix(run.Message, "body: ") {
		t.Errorf("the record is %+v", run)
	}
	f.phase("fib", "good", job.Running)
	f.drained()
	if dead := f.dead(); len(dead) != 1 || dead[0].reason != job.ReasonTooLarge {
		t.Errorf("the dead letters are %+v", dead)
	}
}

// TestLostRequests: records that wait for a request that is not in the queue get another one: after a gateway that ended in between, and after the stream was lost.
func TestLostRequests(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 1))
	r := f.startSynced()
	f.publish("fib", "first", "")
	f.phase("fib", "first", job.Running)
	unpublished := job.Accept(definition("fib", 1), job.Message{Definition: "fib", RunID: "g1", Path: "/x", Body: []byte(`{"args":["7"]}`)}, time.Now())
	if _, err := f.runs.Put(t.Context(), unpublished, 0); err != nil {
		t.Fatal(err)
	}
	f.await("fib", "g1", "in the queue", func(r job.Run) bool { return r.Sequence != 0 })

	f.publish("fib", "r2", `{"args":["8"]}`)
	f.await("fib", "r2", "recorded", func(r job.Run) bool { return r.Sequence != 0 })
	js, _ := jetstream.New(f.raw())
	if err := js.DeleteStream(t.Context(), "sluice-jobs"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "they are in the queue of a new stream", func() bool {
		depths, err := f.bus.JobDepths(t.Context())
		return err == nil && depths["fib"] == 2
	})
	f.api.end("first", job.Succeeded)
	for _, id := range []string{"g1", "r2"} { // the one that was lost first is queued first
		f.phase("fib", id, job.Running)
		f.api.end(id, job.Succeeded)
	}
	f.closed("fib", "g1", job.Succeeded)
	f.closed("fib", "r2", job.Succeeded)
	f.drained()
	if n := f.api.onceAll(); n != 3 {
		t.Errorf("%d runs had pods", n)
	}
	if lines := r.logs.with("it is queued again"); len(lines) != 3 {
		t.Errorf("%d lines tell of it: %v", len(lines), lines)
	}
}

// TestTwins: a request that was published twice while it waits is one run.
func TestTwins(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 3, func(d *job.Definition) { d.DependsOn = []string{"db"} }))
	f.startSynced()
	f.publishRaw("fib", "r1", `{"args":["1"]}`, "a")
	f.phase("fib", "r1", job.Waiting)
	f.publishRaw("fib", "r1", `{"args":["1"]}`, "b")
	f.publishRaw("fib", "r1", `{"args":["2"]}`, "c")
	eventually(t, "one request is left", func() bool {
		depths, err := f.bus.JobDepths(t.Context())
		return err == nil && depths["fib"] == 1
	})
	f.api.workload("Deployment/db", true)
	f.phase("fib", "r1", job.Running)
	f.drained()
	if dead := f.dead(); len(dead) != 1 || dead[0].reason != reasonConflict {
		t.Errorf("the dead letters are %+v", dead)
	}
	if n := f.api.onceAll(); n != 1 {
		t.Errorf("%d runs had pods", n)
	}
}

// TestIdleQueueIsLeft: a definition without requests costs no consumer's pull, and the next request is taken all the same.
func TestIdleQueueIsLeft(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 1))
	f.timing.idle = 100 * time.Millisecond
	r := f.startSynced()
	for i := range 3 {
		id := fmt.Sprint("r", i)
		f.publish("fib", id, "")
		f.phase("fib", id, job.Running)
		f.api.end(id, job.Succeeded)
		eventually(t, "the queue is left", func() (left bool) {
			r.inside(func(time.Time) { left = len(r.queues.all) == 0 })
			return left
		})
	}
}

// TestManyUnknownJobs: many names that nobody defines are given up some at a time, and stop nobody else.
func TestManyUnknownJobs(t *testing.T) {
	t.Parallel()
	const names = 30
	f := newFixture(t, definition("fib", 1))
	r := f.startSynced()
	for i := range names {
		f.publishRaw(fmt.Sprint("unknown-", i), "", "", "")
	}
	most := 0
	eventually(t, "all are given up", func() bool {
		r.inside(func(time.Time) {
			pullers := 0
			for _, q := range r.queues.all {
				if q.puller != nil {
					pullers++
				}
			}
			most = max(most, pullers)
		})
		depths, err := f.bus.JobDepths(t.Context())
		return err == nil && len(depths) == 0
	})
	if most > maxStrangers+1 || len(f.dead()) != names {
		t.Errorf("%d queues were emptied at a time, %d may be; there are %d dead letters", most, maxStrangers, len(f.dead()))
	}
	f.publish("fib", "r1", "")
	f.phase("fib", "r1", job.Running)
	eventually(t, "they are forgotten", func() (forgotten bool) {
		r.inside(func(time.Time) { forgotten = len(r.queues.all) <= 1 })
		return forgotten
	})
}
