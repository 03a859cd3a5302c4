package jobrunner

import (
	"slices"
	"testing"

	"github.com/sluicefaas/sluice/pkg/job"
)

// TestRun follows one run from its request to its end.
func TestRun(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 2))
	f.startSynced()
	f.publish("fib", "r1", `{"args":["42"]}`)
	f.phase("fib", "r1", job.Running)
	f.drained()
	if o := f.api.of("r1"); o == nil || o.Suspended || o.TTL != nil {
		t.Fatalf("the Job is %+v", o)
	}
	f.api.end("r1", job.Succeeded)
	run := f.closed("fib", "r1", job.Succeeded)
	if run.Reason != job.ReasonCompletionsReached || run.Spec != nil || len(run.Pods) != 1 || *run.Pods[0].Containers[0].ExitCode != 0 {
		t.Errorf("the record is %+v", run)
	}
	if o := f.api.of("r1"); o == nil || o.TTL == nil || *o.TTL != 60 {
		t.Errorf("the Job has not its TTL: %+v", o)
	}
	want := []string{"Queued/Accepted", "Pending/Created", "Running/Active", "Succeeded/CompletionsReached"}
	eventually(t, "all moves are told", func() bool { return len(f.ends.of("r1")) >= len(want) })
	if got := f.ends.of("r1"); !slices.Equal(got, want) {
		t.Errorf("the moves are %v, want %v", got, want)
	}
}
