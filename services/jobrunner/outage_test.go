package jobrunner

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/job"
)

// TestNATSRestarts: NATS goes while Jobs run and end; the runs go on when it is back, and no request is lost.
func TestNATSRestarts(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 2))
	f.startSynced()
	for _, id := range []string{"r1", "r2", "r3", "r4"} {
		f.publish("fib", id, "")
	}
	f.phase("fib", "r1", job.Running)
	f.phase("fib", "r2", job.Running)
	f.server.Stop()
	f.api.end("r1", job.Succeeded)
	never(t, 500*time.Millisecond, "a Job is started that nobody has written down", func() bool { return f.api.of("r3") != nil })
	f.server.Start()
	f.closed("fib", "r1", job.Succeeded)
	f.phase("fib", "r3", job.Running)
	f.api.end("r2", job.Succeeded)
	f.api.end("r3", job.Failed)
	f.closed("fib", "r3", job.Failed)
	f.phase("fib", "r4", job.Running)
	f.api.end("r4", job.Succeeded)
	f.closed("fib", "r4", job.Succeeded)
	f.drained()
	if n := f.api.onceAll(); n != 4 {
		t.Errorf("%d runs had pods", n)
	}
}

// TestAPIServerAway: nothing is lost while the API server fails, the record says why nothing happens, and all goes on when it is back.
func TestAPIServerAway(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 2))
	r := f.startSynced()
	f.api.set(func() { f.api.script = func(request) error { return errServer } })
	for _, id := range []string{"r1", "r2", "r3"} {
		f.publish("fib", id, "")
	}
	f.await("fib", "r1", "waiting for the API server", func(r job.Run) bool {
		return r.Reason == job.ReasonAPIServerUnavailable && r.Phase == job.Creating && r.Message != ""
	})
	f.await("fib", "r3", "recorded", func(r job.Run) bool { return r.Sequence != 0 })
	eventually(t, "it is tried again", func() bool { return f.api.count("create") > 6 })
	if lines := r.logs.with("it will be tried again"); len(lines) != 1 {
		t.Errorf("%d lines tell of the failure: %v", len(lines), lines)
	}
	f.api.set(func() { f.api.script = nil })
	f.phase("fib", "r1", job.Running)
	f.phase("fib", "r2", job.Running)
	eventually(t, "its return is told", func() bool { return len(r.logs.with("works again")) == 1 })

	// Its answers are lost, but it does what it is asked for.
	f.api.set(func() { f.api.fate = func(request) error { return errServer } })
	f.api.end("r1", job.Succeeded)
	eventually(t, "the third Job is made", func() bool { return f.api.of("r3") != nil })
	never(t, 300*time.Millisecond, "it is started although nobody knows its UID", func() bool { return len(f.api.podSets("fib", "r3")) > 0 })
	f.api.set(func() { f.api.fate = nil })
	f.phase("fib", "r3", job.Running)
	for _, id := range []string{"r2", "r3"} {
		f.api.end(id, job.Succeeded)
		f.closed("fib", id, job.Succeeded)
	}
	f.drained()
	if n := f.api.onceAll(); n != 3 {
		t.Errorf("%d runs had pods", n)
	}
}

// TestRecoveryIsForAll: when one request succeeds again, the others do not wait for their time.
func TestRecoveryIsForAll(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 3), definition("other", 1))
	f.timing.least, f.timing.most = time.Hour, time.Hour
	f.startSynced()
	f.api.set(func() { f.api.script = refuse("create", errServer) })
	for _, id := range []string{"r1", "r2", "r3"} {
		f.publish("fib", id, "")
		f.await("fib", id, "waiting for the API server", func(r job.Run) bool { return r.Reason == job.ReasonAPIServerUnavailable })
	}
	f.api.set(func() { f.api.script = nil })
	never(t, 200*time.Millisecond, "it is tried again at once", func() bool { return f.api.of("r1") != nil })
	f.publish("other", "o1", "")
	for _, id := range []string{"r1", "r2", "r3"} {
		f.phase("fib", id, job.Running)
	}
}

// TestRequestsOfADeadLeader come to the next one at once, not after the ack wait, which is a minute.
func TestRequestsOfADeadLeader(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 3, func(d *job.Definition) { d.DependsOn = []string{"db"} }))
	first := f.startSynced()
	f.publish("fib", "r1", "")
	f.phase("fib", "r1", job.Waiting)
	first.deps.Bus.Close() // it can hand nothing back
	first.cancel()
	f.api.workload("Deployment/db", true)
	f.startSynced()
	f.phase("fib", "r1", job.Running)
}

// TestSlowAPIServer: requests that hang hold up neither other definitions' records nor what NATS alone can do.
func TestSlowAPIServer(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 100), definition("other", 1, func(d *job.Definition) { d.DependsOn = []string{"db"} }))
	hang := make(chan struct{})
	f.startSynced()
	f.api.set(func() {
		f.api.script = func(request) error {
			<-hang
			return nil
		}
	})
	for i := range 100 {
		f.publish("fib", fmt.Sprint("r", i), "")
	}
	eventually(t, "all helpers hang", func() bool { return f.api.count("create") == most[onCluster] })
	f.publish("other", "o1", "")
	f.phase("other", "o1", job.Waiting)
	f.cancel("other", "o1")
	f.closed("other", "o1", job.Cancelled)
	close(hang)
	for i := range 100 {
		f.phase("fib", fmt.Sprint("r", i), job.Running)
	}
}

// TestQuota: a namespace without room fails nothing. One request finds out when there is room again.
func TestQuota(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 5), definition("other", 5))
	f.api.quota = 1
	f.startSynced()
	f.publish("fib", "r1", "")
	f.phase("fib", "r1", job.Running)
	f.publish("fib", "r2", "")
	f.await("fib", "r2", "waiting for room", func(r job.Run) bool {
		return r.Phase == job.Queued && r.Reason == job.ReasonJobQuotaExceeded && r.Message != ""
	})
	for i := range 5 {
		f.publish("other", fmt.Sprint("o", i), "")
	}
	f.await("other", "o0", "waiting for room", func(r job.Run) bool { return r.Phase == job.Queued && r.Reason == job.ReasonJobQuotaExceeded })
	before := f.api.count("create")
	never(t, 3*quick.quota, "every request tries", func() bool { return f.api.count("create")-before > 5 })

	f.api.end("r1", job.Succeeded)
	f.closed("fib", "r1", job.Succeeded)
	f.api.remove("r1")
	eventually(t, "another one has its room", func() bool { return f.api.unfinished("fib")+f.api.unfinished("other") == 1 })
	f.api.set(func() { f.api.quota = 0 }) // nobody tells
	f.phase("fib", "r2", job.Running)
	for i := range 5 {
		f.phase("other", fmt.Sprint("o", i), job.Running)
	}
	f.drained()
}

// TestQuotaFilledByOurOwnJob: the answer to a creation was lost, and the Job fills the quota.
func TestQuotaFilledByOurOwnJob(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 5))
	f.api.quota = 1
	lost := true
	f.api.fate = func(r request) error {
		if r.verb == "create" && lost {
			lost = false
			return errServer
		}
		return nil
	}
	r := f.startSynced()
	f.publish("fib", "r1", "")
	f.phase("fib", "r1", job.Running)
	if n := f.api.onceAll(); n != 1 {
		t.Errorf("%d runs had pods", n)
	}
	if lines := r.logs.with("no room for another Job"); len(lines) != 0 {
		t.Errorf("others are told to wait: %v", lines)
	}
}

// TestInvalid: what the API server refuses for good has failed, with its words, and is kept as a dead letter.
func TestInvalid(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 1, func(d *job.Definition) { d.Overrides.Images = []string{"*"} }))
	f.startSynced()
	f.publish("fib", "r1", `{"image":"refused/one"}`)
	run := f.closed("fib", "r1", job.Failed)
	if run.Reason != job.ReasonInvalidSpec || !strings.Contains(run.Message, "refused/one") {
		t.Errorf("it has failed because of %s: %s", run.Reason, run.Message)
	}
	f.drained()
	if dead := f.dead(); len(dead) != 1 || dead[0].reason != job.ReasonInvalidSpec || dead[0].body != `{"image":"refused/one"}` {
		t.Errorf("the dead letters are %+v", dead)
	}
	f.publish("fib", "r2", "")
	f.phase("fib", "r2", job.Running)
}
