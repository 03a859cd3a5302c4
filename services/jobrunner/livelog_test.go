package jobrunner

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/job"
)

// TestLiveOutputOfAStart: who follows a container that is restarted in its pod is told of which start the output is, and asks for the next one.
func TestLiveOutputOfAStart(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 1))
	f.startSynced()
	f.publish("fib", "r1", "")
	f.phase("fib", "r1", job.Running)
	f.writes("r1", "printed\n")
	read := func(start int) (int, error) {
		ctx, cancel := context.WithTimeout(t.Context(), long)
		defer cancel()
		r, err := f.bus.OpenLog(ctx, bus.LogRequest{Definition: "fib", RunID: "r1", Start: start})
		if err != nil {
			return 0, err
		}
		defer r.Close()
		if text, err := io.ReadAll(r); err != nil || string(text) != "printed\n" {
			t.Errorf("%q, %v", text, err)
		}
		return r.Start, nil
	}
	for _, start := range []int{0, 1} {
		if got, err := read(start); got != 1 || err != nil {
			t.Errorf("start %d is %d, %v", start, got, err)
		}
	}
	if _, err := read(2); !errors.Is(err, bus.ErrNoLog) {
		t.Errorf("a start that has not been: %v", err)
	}
	f.api.change("r1", func(o *object) { o.Pods[0].Containers[0].Restarts = 2 })
	eventually(t, "the restarts are known", func() bool { got, err := read(2); return got == 3 && err == nil })
}
