package scaler

import (
	"context"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/function"
)

// No polling interval stands in the way of a wake: the next tick is an hour away.
func TestWakeIsActedOnAtOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t, deployed(spec("a", 0, 300), 0))
	f.timing.tick = time.Hour
	f.startSynced()
	started := time.Now()
	f.wake("a")
	eventually(t, "the cluster is asked", func() bool { return len(f.cluster.of("a")) == 1 })
	call := f.cluster.of("a")[0]
	took := call.at.Sub(started)
	t.Logf("wake to SetReplicas: %v", took)
	if call.count != 1 || len(call.victims) != 0 {
		t.Errorf("asked %+v after %v", call, took)
	}
	eventually(t, "the endpoint is shared", func() bool { return len(f.reader.replicas("a")) == 1 })
}

func TestRepeatedWakesAreOneRequest(t *testing.T) {
	t.Parallel()
	f := newFixture(t, deployed(spec("a", 0, 300), 0))
	carryOn := make(chan struct{})
	f.cluster.script(func(ctx context.Context, _ setCall) error {
		select {
		case <-carryOn:
		case <-ctx.Done():
		}
		return ctx.Err()
	})
	f.startSynced()
	for range 50 {
		f.wake("a")
	}
	eventually(t, "the cluster is asked", func() bool { return len(f.cluster.of("a")) > 0 })
	f.wake("a")
	close(carryOn)
	eventually(t, "the endpoint is shared", func() bool { return len(f.reader.replicas("a")) == 1 })
	f.wake("a")
	never(t, 100*time.Millisecond, "it is asked again", func() bool { return len(f.cluster.of("a")) != 1 })
}

// With every gateway and dispatcher away, a message in the queue wakes its function.
func TestQueuedCallWakes(t *testing.T) {
	t.Parallel()
	f := newFixture(t, deployed(spec("a", 0, 0), 0), deployed(spec("b", 0, 0), 0)).startSynced()
	f.publish("a")
	eventually(t, "the endpoint is shared", func() bool { return len(f.reader.replicas("a")) == 1 })
	never(t, 300*time.Millisecond, "it is asked for fewer, or for b", func() bool { return len(f.cluster.of("a")) != 1 || len(f.cluster.of("b")) != 0 })
}

func TestUnknownFunctionsAreIgnored(t *testing.T) {
	t.Parallel()
	f := newFixture(t, deployed(spec("a", 0, 300), 0)).startSynced()
	f.wake("stranger")
	f.publish("stranger")
	if err := f.bus.ReportActivity(bus.Activity{Sender: "s", Functions: map[string]bus.FunctionActivity{"stranger": {InFlight: 1}}}); err != nil {
		t.Fatal(err)
	}
	f.wake("a")
	eventually(t, "a is shared", func() bool { return len(f.reader.replicas("a")) == 1 })
	f.trusted()
	f.inside(func(time.Time) {
		if len(f.scaler.functions) != 1 || len(f.cluster.of("stranger")) != 0 {
			t.Error("the stranger has become a function")
		}
	})
}

// Row 17 of the bugs of others, and the function runs elsewhere: nothing is ever asked for it.
func TestFixedWorkloadsAreNeverScaled(t *testing.T) {
	t.Parallel()
	w := deployed(spec("a", 3, 0), 1)
	w.Fixed = true
	f := newFixture(t, w, deployed(spec("b", 0, 60), 3))
	lagging := f.caller("g", 1)
	f.startSynced()
	lagging.heard()
	f.cluster.change("b", func(w *function.Workload) { w.Function.TimeoutSecondBeforeSetReplicasMin = 0 })
	f.publish("a")
	f.wake("a")
	eventually(t, "b drains", func() bool { return len(f.reader.replicas("b")) == 0 })
	f.cluster.change("b", func(w *function.Workload) { w.Fixed = true })
	eventually(t, "b is back", func() bool { return len(f.reader.replicas("b")) == 3 })
	lagging.at(newest)
	never(t, 300*time.Millisecond, "one of them is scaled", func() bool { return len(f.cluster.of("a"))+len(f.cluster.of("b")) != 0 })
}

// The first call of a function is reported at once, in a report that is not complete.
func TestActivityWakes(t *testing.T) {
	t.Parallel()
	f := newFixture(t, deployed(spec("a", 0, 300), 0))
	f.timing.tick = time.Hour
	f.startSynced()
	report := bus.Activity{Sender: "g", Partial: true, Functions: map[string]bus.FunctionActivity{"a": {InFlight: 1}}}
	if err := f.bus.ReportActivity(report); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the cluster is asked", func() bool { return len(f.cluster.of("a")) == 1 })
}
