package jobrunner

import (
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/job"
)

// TestH4 (jobs.md): a cancel in the queue, during the creation, while pods run, and after the end.
func TestH4(t *testing.T) {
	t.Parallel()
	t.Run("in the queue, in our hands", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t, definition("fib", 1, func(d *job.Definition) { d.DependsOn = []string{"db"} }))
		f.api.workload("Deployment/db", false)
		f.startSynced()
		f.publish("fib", "r1", "")
		f.phase("fib", "r1", job.Waiting)
		f.cancel("fib", "r1")
		f.closed("fib", "r1", job.Cancelled)
		f.drained()
		f.api.workload("Deployment/db", true)
		f.publish("fib", "r2", "")
		f.phase("fib", "r2", job.Running)
		if f.api.count("create") != 1 {
			t.Error("a Job was created for the cancelled run")
		}
	})
	t.Run("in the queue, in nobody's hands", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t, definition("fib", 1))
		f.startSynced()
		f.publish("fib", "r1", "")
		f.phase("fib", "r1", job.Running)
		f.publish("fib", "r2", "")
		f.publish("fib", "r3", "")
		f.await("fib", "r2", "in the listing", func(r job.Run) bool { return r.Sequence != 0 })
		f.cancel("fib", "r2")
		if run := f.closed("fib", "r2", job.Cancelled); run.Reason != job.ReasonUserRequested || run.Ending == nil || run.Ending.By != "a person" {
			t.Errorf("the record is %+v", run)
		}
		depths, err := f.bus.JobDepths(t.Context())
		if err != nil || depths["fib"] != 1 {
			t.Errorf("%v requests are queued, want one: %v", depths, err)
		}
		f.api.end("r1", job.Succeeded)
		f.phase("fib", "r3", job.Running)
		if f.api.count("create") != 2 {
			t.Error("a Job was created for the cancelled run")
		}
	})
	t.Run("during the creation", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t, definition("fib", 1))
		reached, goOn := make(chan struct{}), make(chan struct{})
		f.startSynced(pauseAfter(job.Create, reached, goOn))
		f.publish("fib", "r1", "")
		<-reached
		f.cancel("fib", "r1")
		close(goOn)
		f.closed("fib", "r1", job.Cancelled)
		f.drained()
		eventually(t, "the Job is gone", func() bool { return f.api.of("r1") == nil })
		if n := f.api.onceAll(); n != 0 {
			t.Error("a pod was started")
		}
		f.publish("fib", "r2", "")
		f.phase("fib", "r2", job.Running)
	})
	t.Run("with five pods", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t, definition("fib", 1, func(d *job.Definition) { d.Template = template(`"parallelism":5,"completions":5`, "Never", "x") }))
		f.api.holdPods = true
		f.startSynced()
		f.publish("fib", "r1", "")
		f.phase("fib", "r1", job.Running)
		f.publish("fib", "r2", "")
		f.cancel("fib", "r1")
		eventually(t, "the Job is on its way out", func() bool { o := f.api.of("r1"); return o != nil && o.Deleting })
		never(t, 300*time.Millisecond, "it is over before its pods are", func() bool {
			return f.run("fib", "r1").Phase.Final() || f.api.of("r2") != nil
		})
		f.api.remove("r1")
		run := f.closed("fib", "r1", job.Cancelled)
		if len(run.Pods) != 5 || len(run.Log) != 5 {
			t.Errorf("%d pods and %d outputs are kept", len(run.Pods), len(run.Log))
		}
		f.phase("fib", "r2", job.Running)
	})
	t.Run("after the end", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t, definition("fib", 1))
		f.startSynced()
		f.publish("fib", "r1", "")
		f.phase("fib", "r1", job.Running)
		f.api.end("r1", job.Failed)
		before := f.closed("fib", "r1", job.Failed)
		f.cancel("fib", "r1")
		f.cancel("fib", "r1")
		never(t, 200*time.Millisecond, "the end is another one", func() bool { r := f.run("fib", "r1"); return r.Phase != job.Failed || r.Reason != before.Reason })
	})
	t.Run("when it has just ended", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t, definition("fib", 1))
		f.startSynced()
		f.publish("fib", "r1", "")
		f.phase("fib", "r1", job.Running)
		f.api.set(func() { f.api.script = refuse("delete", errServer) })
		f.cancel("fib", "r1")
		f.await("fib", "r1", "to end", func(r job.Run) bool { return r.Ending != nil })
		f.api.end("r1", job.Succeeded)
		if run := f.closed("fib", "r1", job.Succeeded); run.Reason != job.ReasonCompletionsReached {
			t.Errorf("the record is %+v", run)
		}
	})
	t.Run("of a Job that never got a pod", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t, definition("fib", 1))
		f.api.plan = func(job.Object) plan { return plan{end: stuck} }
		f.startSynced()
		f.publish("fib", "r1", "")
		f.phase("fib", "r1", job.Pending)
		f.drained()
		f.cancel("fib", "r1")
		f.closed("fib", "r1", job.Cancelled)
		if f.api.of("r1") != nil {
			t.Error("the Job is still there")
		}
	})
}

// refuse lets every request of a kind fail.
func refuse(verb string, err error) func(request) error {
	return func(r request) error {
		if r.verb == verb {
			return err
		}
		return nil
	}
}
