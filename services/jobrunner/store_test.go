package jobrunner

import (
	"slices"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/job"
)

// TestRequestInThePlaceOfAnother: a cancelled run leaves alone what is in its place of a stream that was made anew.
func TestRequestInThePlaceOfAnother(t *testing.T) {
	t.Parallel()
	d := definition("fib", 1)
	f := newFixture(t, d)
	now := time.Now()
	cancelled := job.Accept(d, job.Message{Definition: "fib", RunID: "r1", Accepted: now}, now)
	cancelled.Sequence = f.publish("nobody", "r2", "")
	f.put(cancelled.Cancel(now, "a person"))
	f.timing.unknown = time.Hour // nobody takes it
	f.startSynced()
	f.closed("fib", "r1", job.Cancelled)
	if depths, err := f.bus.JobDepths(t.Context()); err != nil || depths["nobody"] != 1 {
		t.Errorf("the queues have %v, %v", depths, err)
	}
}

// TestMovesAreTold: each once, where nothing goes wrong.
func TestMovesAreTold(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 1))
	f.startSynced()
	f.publish("fib", "r1", "")
	f.phase("fib", "r1", job.Running)
	f.api.end("r1", job.Succeeded)
	f.closed("fib", "r1", job.Succeeded)
	last := "Succeeded/" + job.ReasonCompletionsReached
	eventually(t, "its end is told", func() bool { return slices.Contains(f.ends.of("r1"), last) })
	told := f.ends.of("r1")
	if want := []string{"Queued/Accepted", "Pending/Created", "Running/Active", last}; !slices.Equal(told, want) {
		t.Errorf("told is %v, want %v", told, want)
	}
}
