package scaler

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/function"
)

// heldCluster watches nothing before hold is closed.
type heldCluster struct {
	*scripted
	hold chan struct{}
}

func (c *heldCluster) Watch(ctx context.Context, observer Observer) error {
	select {
	case <-c.hold:
		return c.scripted.Watch(ctx, observer)
	case <-ctx.Done():
		return nil
	}
}

// The bucket is written when something changed, however many calls are made.
func TestActivityWritesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t, deployed(spec("a", 1, 60), 2), deployed(spec("b", 0, 60), 0)).startSynced().trusted()
	f.wake("b")
	eventually(t, "b is up", func() bool { return len(f.reader.replicas("b")) == 1 })
	eventually(t, "the first decision about a is shared", func() bool { state, _ := f.reader.get("a"); return len(state.Decisions) == 1 })
	before := f.reader.applied()
	for i := range 500 {
		report := bus.Activity{Sender: "g", Functions: map[string]bus.FunctionActivity{
			"a": {InFlight: i, Endpoints: map[string]int{"a:8001": i}}, "b": {InFlight: 500 - i},
		}}
		if err := f.bus.ReportActivity(report); err != nil {
			t.Fatal(err)
		}
		f.wake("b")
	}
	eventually(t, "all reports are taken", func() (taken bool) {
		f.inside(func(time.Time) { taken = f.scaler.inFlight("a") == 499 })
		return taken
	})
	f.publish("a")
	never(t, 200*time.Millisecond, "the bucket is written", func() bool { return f.reader.applied() != before })
}

func TestDecisionsAreFewWithReasons(t *testing.T) {
	t.Parallel()
	f := newFixture(t, deployed(spec("a", 0, 60), 0)).startSynced()
	for i := range 2 * function.MaxDecisions {
		f.cluster.change("a", func(w *function.Workload) { w.Function.ReplicasMin = i + 1 })
		eventually(t, "it is scaled", func() bool {
			state, _ := f.reader.get("a")
			return state.Replicas == i+1 && len(state.Endpoints) == i+1
		})
	}
	state, _ := f.reader.get("a")
	if len(state.Decisions) != function.MaxDecisions {
		t.Errorf("%d decisions are kept", len(state.Decisions))
	}
	for i, d := range state.Decisions {
		if d.Reason == "" || d.At.IsZero() || d.Replicas != function.MaxDecisions+i+1 {
			t.Errorf("decision %d is %+v", i, d)
		}
	}
	if lines := f.logs.with(`"message":"scale"`, `"function":"a"`, `"reason":"ReplicasMin: `); len(lines) != 2*function.MaxDecisions {
		t.Errorf("%d lines tell of decisions", len(lines))
	}
}

// A reader whose watch went stale notices by the announcements.
func TestRevisionIsAnnounced(t *testing.T) {
	t.Parallel()
	f := newFixture(t, deployed(spec("a", 1, 60), 1)).startSynced()
	conn, err := nats.Connect(f.server.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	announced := make(chan *nats.Msg, 1000)
	if _, err := conn.ChanSubscribe(f.bus.RevisionSubject(), announced); err != nil {
		t.Fatal(err)
	}
	f.cluster.change("a", func(w *function.Workload) { w.Problems = []string{"x"} })
	deadline := time.After(patience)
	for {
		select {
		case msg := <-announced:
			state, _ := f.reader.get("a")
			if len(state.Problems) == 1 && string(msg.Data) == strconv.FormatUint(f.reader.applied(), 10) {
				return
			}
		case <-deadline:
			t.Fatal("the bucket's revision was not announced")
		}
	}
}
