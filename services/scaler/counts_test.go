package scaler

import (
	"context"
	"maps"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/sluicefaas/sluice/pkg/function"
)

func TestLeaderLeavesAsDeployedUntilTheTimeoutHasPassed(t *testing.T) {
	t.Parallel()
	f := newFixture(t, deployed(spec("a", 0, 1), 2))
	started := time.Now()
	f.startSynced()
	f.isAsked(0, "a-1", "a-2")
	if after := f.cluster.of("a")[0].at.Sub(started); after < time.Second {
		t.Errorf("scaled down %v after the start", after)
	}
	if state, _ := f.reader.get("a"); len(state.Decisions) == 0 || state.Decisions[0].Reason == "" {
		t.Errorf("decisions are %v", state.Decisions)
	}
}

func TestCountsSetByOthersStayUntilIdle(t *testing.T) {
	t.Parallel()
	f := newFixture(t, deployed(spec("a", 1, 60), 1))
	c := f.caller("g", newest)
	f.startSynced().trusted()
	f.cluster.change("a", func(w *function.Workload) { *w = deployed(w.Function, 4) })
	eventually(t, "the count is taken over", func() bool { state, _ := f.reader.get("a"); return state.Replicas == 4 && len(state.Endpoints) == 4 })
	f.stays("others have set the count")
	c.heard()
	f.cluster.change("a", func(w *function.Workload) { w.Function.TimeoutSecondBeforeSetReplicasMin = 0 })
	f.isAsked(1, "a-2", "a-3", "a-4")
}

func TestStaleObservationIsNotTakenForOthers(t *testing.T) {
	t.Parallel()
	f := newFixture(t, deployed(spec("a", 0, 60), 0))
	f.timing.stale = 3 * time.Second
	f.cluster.keepSilent()
	f.startSynced()
	f.wake("a")
	f.isAsked(1)
	eventually(t, "the count is shared", func() bool { state, _ := f.reader.get("a"); return state.Replicas == 1 })
	asleep := func(o Observer) { o.Observe(deployed(spec("a", 0, 60), 0)) }
	f.cluster.events <- asleep
	never(t, f.timing.stale/4, "the old count is taken over", func() bool { state, _ := f.reader.get("a"); return state.Replicas == 0 })
	// When it is still so much later, somebody has set it: the function is in use, so it is asked for again.
	eventually(t, "it is asked for again", func() bool { return len(f.cluster.of("a")) > 1 })
	if call := f.cluster.of("a")[1]; call.count != 1 {
		t.Errorf("asked for %d", call.count)
	}
}

// A count that others set right after our own request is taken over later, without another observation.
func TestCountSetByOthersRightAfterOursIsTakenOverLater(t *testing.T) {
	t.Parallel()
	f := newFixture(t, deployed(spec("a", 0, 60), 0)).startSynced()
	f.wake("a")
	f.isAsked(1)
	f.cluster.change("a", func(w *function.Workload) { *w = deployed(w.Function, 3) })
	eventually(t, "the count is taken over", func() bool { state, _ := f.reader.get("a"); return state.Replicas == 3 })
}

func TestFailedRequestIsRepeated(t *testing.T) {
	t.Parallel()
	f := newFixture(t, deployed(spec("a", 0, 60), 0))
	f.cluster.script(func(context.Context, setCall) error {
		if len(f.cluster.of("a")) < 4 {
			return errCluster
		}
		return nil
	})
	f.startSynced()
	for range 20 {
		f.wake("a") // a failure is not repeated by each of them
	}
	eventually(t, "the endpoint is shared", func() bool { return len(f.reader.replicas("a")) == 1 })
	calls := f.cluster.of("a")
	if spread := calls[3].at.Sub(calls[0].at); len(calls) != 4 || spread < 3*quick.tick/2 {
		t.Errorf("%d requests within %v", len(calls), spread)
	}
	if lines := f.logs.with(`"level":"error"`, `"function":"a"`, errCluster.Error()); len(lines) != 3 {
		t.Errorf("%d lines tell of 3 failures", len(lines))
	}
}

// A scale-down that failed, but happened: the function is asked for again when it is needed, although nothing new is observed.
func TestFailedRequestThatHappened(t *testing.T) {
	t.Parallel()
	f := newFixture(t, deployed(spec("a", 0, 0), 1))
	f.cluster.keepSilent()
	f.cluster.script(func(_ context.Context, call setCall) error {
		if call.count == 0 {
			return errCluster
		}
		return nil
	})
	f.startSynced()
	f.isAsked(0, "a-1")
	f.publish("a")
	eventually(t, "it is asked for again", func() bool { calls := f.cluster.of("a"); return calls[len(calls)-1].count == 1 })
	eventually(t, "it is shared again", func() bool { return len(f.reader.replicas("a")) == 1 })
}

func TestSlowRequestDelaysNoOther(t *testing.T) {
	t.Parallel()
	f := newFixture(t, deployed(spec("a", 0, 60), 0), deployed(spec("b", 0, 60), 0))
	f.timing.set = time.Minute
	f.cluster.script(func(ctx context.Context, call setCall) error {
		if call.name == "a" {
			<-ctx.Done()
		}
		return ctx.Err()
	})
	f.startSynced()
	f.wake("a")
	eventually(t, "a is asked", func() bool { return len(f.cluster.of("a")) == 1 })
	f.wake("b")
	eventually(t, "b is shared", func() bool { return len(f.reader.replicas("b")) == 1 })
	stopping := time.Now()
	f.stop() // interrupts the request: who leads no more writes no more
	if took := time.Since(stopping); took > f.timing.set/3 {
		t.Errorf("the end took %v", took)
	}
}

func TestScaleDownInStepsNamesNoReplicaTwice(t *testing.T) {
	t.Parallel()
	f := newFixture(t, deployed(spec("a", 2, 0), 3))
	f.timing.stale = 3 * time.Second
	c := f.caller("g", newest)
	f.cluster.keepSilent() // the first victim stays for long
	f.startSynced()
	f.isAsked(2, "a-3")
	c.at(f.reader.applied())
	c.heard()
	f.cluster.change("a", func(w *function.Workload) {
		*w = deployed(w.Function, 3)
		w.Replicas, w.Function.ReplicasMin, w.Pods[2].Ready = 2, 1, false
	})
	eventually(t, "the next one leaves", func() bool { r := f.reader.replicas("a"); return len(r) == 1 && r[0] == "a-1" })
	if calls := f.cluster.of("a"); len(calls) != 1 {
		t.Fatalf("asked before the callers knew: %v", calls)
	}
	c.at(newest)
	eventually(t, "it may end", func() bool { return len(f.cluster.of("a")) == 2 })
	if call := f.cluster.of("a")[1]; call.count != 1 {
		t.Errorf("asked for %d", call.count)
	}
}

// A rollout has more replicas than the workload asks for: all of them drain.
func TestScaleToZeroDuringARollout(t *testing.T) {
	t.Parallel()
	w := deployed(spec("a", 0, 60), 2)
	w.Replicas = 1
	f := newFixture(t, w)
	c := f.caller("g", 0)
	f.startSynced()
	c.heard()
	f.cluster.change("a", func(w *function.Workload) { w.Function.TimeoutSecondBeforeSetReplicasMin = 0 })
	eventually(t, "both leave", func() bool { _, there := f.reader.get("a"); return there && len(f.reader.replicas("a")) == 0 })
	c.at(newest)
	f.isAsked(0, "a-1", "a-2")
}

// A request that failed leaves a count that is not known: what is observed then is the best there is, however soon.
func TestCountAfterAFailureIsTheObservedOne(t *testing.T) {
	t.Parallel()
	s := New(Config{}, Deps{Logger: zerolog.Nop(), Registry: prometheus.NewRegistry()})
	now := time.Now()
	s.observe(deployed(spec("a", 0, 60), 0), now)
	s.touch("a", now)
	s.onSet(s.requests[0], errCluster, now)
	s.requests = nil
	s.observe(deployed(spec("a", 0, 60), 4), now.Add(time.Millisecond)) // others have raised it
	s.onTick(now.Add(time.Second))
	if f := s.functions["a"]; f.state.Replicas != 4 || len(s.requests) != 1 || s.requests[0].count != 4 {
		t.Errorf("4 replicas are to be kept, wanted %d, asked %+v", f.state.Replicas, s.requests)
	}
}

// A StatefulSet's replica comes back with its name: until then, what was asked to end takes no call although it looks ready.
func TestEndingReplicaStaysOutUntilItIsReplaced(t *testing.T) {
	t.Parallel()
	s := New(Config{}, Deps{Logger: zerolog.Nop(), Registry: prometheus.NewRegistry()})
	start := time.Now()
	w := deployed(spec("a", 0, 0), 1)
	s.onDepths(nil, nil, start)
	s.observe(w, start.Add(-time.Second))
	s.onTick(start)
	for _, change := range s.nextShares(start) {
		change.revision = 1
		s.onShared(change, start)
	}
	if len(s.requests) != 1 || s.requests[0].count != 0 {
		t.Fatalf("asked %+v", s.requests)
	}
	s.onSet(s.requests[0], nil, start)
	f := s.functions["a"]
	serves := func(after time.Duration, edit func(*function.Pod)) bool {
		w.Pods = []function.Pod{w.Pods[0]}
		edit(&w.Pods[0])
		s.observe(w, start.Add(after))
		return len(f.state.Endpoints) == 1
	}
	if serves(1, func(*function.Pod) {}) || serves(2, func(p *function.Pod) { p.Ready = false }) || serves(3, func(p *function.Pod) { p.Ready = true }) {
		t.Error("it serves while it ends")
	}
	s.forget("a")
	if !serves(3, func(*function.Pod) {}) {
		t.Error("the replica of a workload that is new does not serve")
	}
}

func TestNextReplicaOfTheNameServes(t *testing.T) {
	t.Parallel()
	s := New(Config{}, Deps{Logger: zerolog.Nop(), Registry: prometheus.NewRegistry()})
	ending := map[string]drain{"a-1": {address: "a:8001", ending: true, down: true, count: 0}}
	for asked, drains := range map[int]bool{0: true, 1: false} {
		f := &tracked{name: "a", workload: deployed(spec("a", 0, 0), 1), draining: maps.Clone(ending), asked: asked, askedAt: time.Now()}
		s.forgetEnded(f, time.Now())
		if _, still := f.draining["a-1"]; still != drains {
			t.Errorf("after %d replicas were asked for, it drains: %v", asked, still)
		}
	}
}
