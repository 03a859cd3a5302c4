package jobrunner

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/job"
)

// ids are those of the records of a definition.
func (f *fixture) ids(definition string) map[string]job.Run {
	f.t.Helper()
	all := map[string]job.Run{}
	if err := f.runs.List(f.t.Context(), definition, func(r job.Run) bool { all[r.ID] = r; return true }); err != nil {
		f.t.Fatal(err)
	}
	return all
}

// TestRetention removes records with their output when they are old, or when there are too many, the oldest first, and spares those that are not over.
func TestRetention(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 1, func(d *job.Definition) { d.Logs.Save = "Always" }))
	f.timing.spared, f.config.HistoryLimit = time.Second, 2
	f.api.plan = func(o job.Object) plan {
		if o.RunID == "runs" {
			return plan{}
		}
		return plan{end: job.Succeeded}
	}
	r := f.startSynced()
	var parts []job.LogPart
	for i := range 4 {
		id := fmt.Sprint("r", i)
		f.publish("fib", id, "")
		parts = append(parts, f.closed("fib", id, job.Succeeded).Log...)
		<-time.After(1100 * time.Millisecond) // ends are kept in whole seconds
	}
	f.publish("fib", "runs", "")
	f.phase("fib", "runs", job.Running)
	f.publish("fib", "waits", "")
	eventually(t, "the oldest are removed", func() bool {
		all := f.ids("fib")
		_, first := all["r0"]
		_, second := all["r1"]
		return !first && !second
	})
	all := f.ids("fib")
	for _, id := range []string{"r2", "r3", "runs"} {
		if _, there := all[id]; !there {
			t.Errorf("%s is removed", id)
		}
	}
	for i, part := range parts {
		_, err := f.bus.GetLog(t.Context(), part.Object)
		if removed := errors.Is(err, bus.ErrNoLog); removed != (i < 2) {
			t.Errorf("output %d: %v", i, err)
		}
	}
	r.stop()
	f.config.History = 3 * time.Second
	f.startSynced()
	ended := func() (count int) {
		for _, run := range f.ids("fib") {
			if run.Phase.Final() { // a list may leave out one that changes meanwhile, which others do
				count++
			}
		}
		return count
	}
	eventually(t, "those that are old are removed", func() bool { return ended() == 0 })
	never(t, 200*time.Millisecond, "a run without a record is made again from its Job", func() bool { return ended() > 0 })
}

// TestYoungRecordsAreSpared: none goes within the hour, however many there are.
func TestYoungRecordsAreSpared(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 3))
	f.config.HistoryLimit, f.config.History = 1, time.Nanosecond
	f.api.plan = func(job.Object) plan { return plan{end: job.Succeeded} }
	f.startSynced()
	for i := range 3 {
		f.publish("fib", fmt.Sprint("r", i), "")
		f.closed("fib", fmt.Sprint("r", i), job.Succeeded)
	}
	never(t, 300*time.Millisecond, "one is removed", func() bool { return len(f.ids("fib")) < 3 })
}
