package jobrunner

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/job"
)

// TestH5 (jobs.md): Jobs that are over and kept take no slot, those that retry do, and what has failed is told by the condition alone.
func TestH5(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 2, func(d *job.Definition) {
		d.Template = template(`"ttlSecondsAfterFinished":36000,"backoffLimit":3`, "Never", "x")
	}))
	f.startSynced()
	for _, id := range []string{"r1", "r2", "r3", "r4"} {
		f.publish("fib", id, "")
	}
	f.phase("fib", "r1", job.Running)
	f.phase("fib", "r2", job.Running)
	f.await("fib", "r3", "waiting for a slot", func(r job.Run) bool { return r.Phase == job.Queued && r.Reason == job.ReasonConcurrencyLimit })

	f.api.end("r1", job.Succeeded)
	f.phase("fib", "r3", job.Running)
	f.closed("fib", "r1", job.Succeeded)
	if f.api.of("r1") == nil {
		t.Fatal("the Job that is over is not kept: the test says nothing")
	}

	f.api.change("r2", func(o *object) { o.Counts = job.Counts{Failed: 1} })
	f.await("fib", "r2", "retrying", func(r job.Run) bool { return r.Phase == job.Running && r.Reason == job.ReasonRetrying })
	never(t, 200*time.Millisecond, "a Job that retries gives up its slot", func() bool { return f.api.of("r4") != nil })

	f.api.change("r2", func(o *object) {
		o.End, o.EndReason, o.Counts = job.Failed, "DeadlineExceeded", job.Counts{Succeeded: 1}
	})
	if run := f.closed("fib", "r2", job.Failed); run.Reason != "DeadlineExceeded" {
		t.Errorf("it has failed because of %s", run.Reason)
	}
	f.phase("fib", "r4", job.Running)
}

// Row 23 of the bugs of others: finished but kept Jobs took slots; an unknown dependency counted as ready.
func TestRow23(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 1))
	f.api.plan = func(job.Object) plan { return plan{end: job.Succeeded} }
	first := f.startSynced()
	for i := range 20 {
		f.publish("fib", fmt.Sprint("r", i), "")
	}
	for i := range 20 {
		f.closed("fib", fmt.Sprint("r", i), job.Succeeded)
	}
	// Nor do they for a runner that finds them there.
	first.stop()
	f.startSynced()
	f.publish("fib", "next", "")
	f.closed("fib", "next", job.Succeeded)
	if f.api.of("r0") == nil {
		t.Error("the Jobs are not kept: the test says nothing")
	}
	// Nor while what they have left is captured.
	hang := make(chan struct{})
	release := sync.OnceFunc(func() { close(hang) })
	defer release()
	f.api.set(func() {
		f.api.plan = func(job.Object) plan { return plan{end: job.Failed} }
		f.api.script = func(r request) error {
			if r.verb == "logs" {
				<-hang
			}
			return nil
		}
	})
	f.publish("fib", "fails", "")
	f.publish("fib", "starts", "")
	eventually(t, "the next one starts", func() bool { return len(f.api.podSets("fib", "starts")) == 1 })
	if f.run("fib", "fails").Phase.Final() {
		t.Error("its output is captured: the test says nothing")
	}
	release()
	f.closed("fib", "starts", job.Failed)
	f.api.set(func() { f.api.plan = func(job.Object) plan { return plan{end: job.Succeeded} } })

	f.publish("fib", "asks", `{"dependsOn":["StatefulSet/nobody"]}`)
	f.await("fib", "asks", "waiting for what is not there", func(r job.Run) bool {
		return r.Phase == job.Waiting && r.Reason == job.ReasonDependencyNotFound && strings.Contains(r.Message, "nobody")
	})
	never(t, 200*time.Millisecond, "it is started", func() bool { return f.api.of("asks") != nil })
	f.publish("fib", "does-not-ask", "") // what waits for a dependency takes no slot
	f.closed("fib", "does-not-ask", job.Succeeded)
	f.api.workload("Deployment/nobody", true) // it is of another kind
	never(t, 200*time.Millisecond, "it is started", func() bool { return f.api.of("asks") != nil })
	f.api.workload("StatefulSet/nobody", true)
	f.closed("fib", "asks", job.Succeeded)
}

// TestMaxRunning bounds the Jobs of all definitions together; who ends makes room for another definition.
func TestMaxRunning(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("a", 5), definition("b", 5))
	f.config.MaxRunning = 2
	f.startSynced()
	f.publish("a", "a1", "")
	f.publish("a", "a2", "")
	f.phase("a", "a1", job.Running)
	f.phase("a", "a2", job.Running)
	f.publish("b", "b1", "")
	f.await("b", "b1", "waiting for a slot", func(r job.Run) bool { return r.Phase == job.Queued && r.Reason == job.ReasonConcurrencyLimit })
	never(t, 200*time.Millisecond, "a third Job is made", func() bool { return f.api.of("b1") != nil })
	f.api.end("a1", job.Succeeded)
	f.phase("b", "b1", job.Running)
}

// TestCreateRate: creations are no faster than they may be, and go on by themselves.
func TestCreateRate(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 100))
	f.config.CreateRate = 20
	f.startSynced()
	start := time.Now()
	for i := range 12 {
		f.publish("fib", fmt.Sprint("r", i), "")
	}
	for i := range 12 {
		f.phase("fib", fmt.Sprint("r", i), job.Running)
	}
	if took := time.Since(start); took < 9*50*time.Millisecond { // two at once, the others one by one
		t.Errorf("12 Jobs were created in %v", took)
	}
}

// TestParallelChanges: a definition that allows more starts more at once.
func TestParallelChanges(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 1))
	f.startSynced()
	for _, id := range []string{"r1", "r2", "r3"} {
		f.publish("fib", id, "")
	}
	f.phase("fib", "r1", job.Running)
	f.api.define(definition("fib", 3, func(d *job.Definition) { d.Generation = "g2" }))
	f.phase("fib", "r2", job.Running)
	f.phase("fib", "r3", job.Running)
}

// TestThousandQueued: 1,000 requests with 20 slots; never more Jobs than slots, each run once, and all of them.
func TestThousandQueued(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it takes its time")
	}
	const queued, parallel = 1000, 20
	f := newFixture(t, definition("fib", parallel))
	f.timing = standardTiming
	f.api.plan = func(job.Object) plan { return plan{after: 5 * time.Millisecond, end: job.Succeeded} }
	for i := range queued {
		f.publish("fib", fmt.Sprint("r", i), "")
	}
	most := 0
	f.api.set(func() {
		f.api.script = func(request) error {
			unfinished := f.api.unfinished("fib")
			f.api.set(func() { most = max(most, unfinished) })
			return nil
		}
	})
	f.startSynced()
	within(t, 5*time.Minute, "all are over", func() bool {
		over := 0
		err := f.runs.List(t.Context(), "fib", func(r job.Run) bool {
			if r.Phase == job.Succeeded {
				over++
			}
			return true
		})
		return err == nil && over == queued
	})
	f.drained()
	if n := f.api.onceAll(); n != queued {
		t.Errorf("%d runs had pods", n)
	}
	f.api.set(func() {
		if most > parallel || most < 2 {
			t.Errorf("%d Jobs were unfinished at a time, %d may be", most, parallel)
		}
	})
}
