package gateway

import (
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/job"
)

// What bus.RunsReader is told of a bucket that was rolled back makes the index show the older record, although it keeps the newest of those that it is told otherwise.
func TestIndexTakesAnOlderRecordOfARolledBackBucket(t *testing.T) {
	t.Parallel()
	x := newRunIndex()
	var reader bus.RunsReader = x
	run := job.Run{Definition: "a", ID: "1", Phase: job.Succeeded, QueuedAt: time.Now()}
	reader.ApplyRun(run, 9)
	reader.RemoveRun("a", "1")
	run.Phase = job.Running
	reader.ApplyRun(run, 5)
	all := x.of("a", func(*knownRun) bool { return true })
	if len(all) != 1 || all[0].Phase != job.Running || all[0].revision != 5 {
		t.Errorf("it shows %+v", all)
	}
}
