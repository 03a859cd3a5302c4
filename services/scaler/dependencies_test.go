package scaler

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/sluicefaas/sluice/pkg/function"
)

// dependent is a sleeping function that depends on others.
func dependent(name string, on ...string) function.Workload {
	f := spec(name, 0, 300)
	f.DependsOn = on
	return deployed(f, 0)
}

// watched is a workload that is no function, with count ready pods.
func watched(name string, count int) function.Workload {
	w := deployed(function.Function{Name: name, Kind: function.KindStatefulSet}, count)
	w.Watched = true
	return w
}

// first is the first count above zero that a function was asked for.
func (c *scripted) first(name string) (setCall, bool) {
	for _, call := range c.of(name) {
		if call.count > 0 {
			return call, true
		}
	}
	return setCall{}, false
}

func (f *fixture) waits(name string, want ...string) {
	f.t.Helper()
	var state function.State
	eventually(f.t, fmt.Sprintf("%s waits for %q", name, want), func() bool {
		state, _ = f.reader.get(name)
		return slices.Equal(state.Waits, want)
	})
}

// A call of the first of a chain wakes the last one first, and no polling interval stands in the way.
func TestDependenciesStartBeforeTheirDependents(t *testing.T) {
	t.Parallel()
	f := newFixture(t, dependent("a", "b"), dependent("b", "c"), dependent("c"))
	f.timing.tick = time.Hour
	f.startSynced()
	started := time.Now()
	f.wake("a")
	eventually(t, "a is up", func() bool { return len(f.reader.replicas("a")) == 1 })
	a, _ := f.cluster.first("a")
	b, _ := f.cluster.first("b")
	c, _ := f.cluster.first("c")
	if !c.at.Before(b.at) || !b.at.Before(a.at) {
		t.Errorf("after the wake c was asked for at %v, b at %v, a at %v", c.at.Sub(started), b.at.Sub(started), a.at.Sub(started))
	}
	f.waits("a")
	state, _ := f.reader.get("a")
	if reason := state.Decisions[0].Reason; reason != "waits for b (0 of 1 ready), c (0 of 1 ready)" {
		t.Errorf("the first decision is %q", reason)
	}
	if lines := f.logs.with("not started yet", `"function":"a"`); len(lines) == 0 {
		t.Error("no line tells that a waits")
	}
}

func TestWaitingFunctionSaysWhatItWaitsFor(t *testing.T) {
	t.Parallel()
	b := dependent("b")
	b.Function.ReplicasAtStart = 2
	f := newFixture(t, dependent("a", "b", "mysql"), b, watched("mysql", 0))
	f.cluster.script(func(_ context.Context, call setCall) error {
		if call.name == "b" {
			return errCluster
		}
		return nil
	})
	f.startSynced()
	f.wake("a")
	f.waits("a", "b (0 of 2 ready)", "mysql (0 of 1 ready)")
	f.cluster.change("mysql", func(w *function.Workload) { *w = watched("mysql", 1) })
	f.waits("a", "b (0 of 2 ready)")
	f.cluster.change("b", func(w *function.Workload) { *w = deployed(w.Function, 1) })
	f.waits("a", "b (1 of 2 ready)")
	if calls := f.cluster.of("a"); len(calls) != 0 {
		t.Fatalf("a was asked for: %v", calls)
	}
	f.cluster.change("b", func(w *function.Workload) { *w = deployed(w.Function, 2) })
	eventually(t, "a is up", func() bool { return len(f.reader.replicas("a")) == 1 })
	f.waits("a")
	// What is up stays up when what it depends on is not ready any more.
	f.cluster.change("mysql", func(w *function.Workload) { w.Pods[0].Ready = false })
	never(t, 200*time.Millisecond, "a is scaled down", func() bool { return len(f.reader.replicas("a")) == 0 })
	if calls := f.cluster.of("mysql"); len(calls) != 0 {
		t.Errorf("what is no function was scaled: %v", calls)
	}
	if _, shared := f.reader.get("mysql"); shared {
		t.Error("what is no function was shared")
	}
}

// Row 23 of the bugs of others: an unknown dependency counted as ready.
func TestRow23UnknownDependencyIsNotReady(t *testing.T) {
	t.Parallel()
	f := newFixture(t, dependent("a", "typo")).startSynced()
	problem := func() bool {
		state, _ := f.reader.get("a")
		return slices.ContainsFunc(state.Problems, func(p string) bool {
			return strings.HasPrefix(p, "annotation DependsOn names typo, which is no workload here")
		})
	}
	eventually(t, "the problem is shown", problem)
	f.wake("a")
	f.waits("a", "typo (unknown)")
	never(t, 200*time.Millisecond, "a is asked for", func() bool { return len(f.cluster.of("a")) > 0 })
	f.cluster.change("typo", func(w *function.Workload) { *w = watched("typo", 1) })
	eventually(t, "a is up", func() bool { return len(f.reader.replicas("a")) == 1 })
	eventually(t, "the problem is gone", func() bool { return !problem() })
	f.cluster.remove("typo")
	eventually(t, "the problem is back", problem)
}

// Row 23 of the bugs of others: one level of dependencies only. What depends on another keeps all awake that it depends on.
func TestRow23CallsKeepAllDependenciesAwake(t *testing.T) {
	t.Parallel()
	a, b, c := dependent("a", "b"), dependent("b", "c"), dependent("c")
	b.Function.TimeoutSecondBeforeSetReplicasMin, c.Function.TimeoutSecondBeforeSetReplicasMin = 0, 0
	f := newFixture(t, a, b, c)
	g := f.caller("g", newest)
	g.busy("a", 1, 1)
	f.startSynced().trusted()
	eventually(t, "all are up", func() bool {
		return len(f.reader.replicas("a"))*len(f.reader.replicas("b"))*len(f.reader.replicas("c")) == 1
	})
	never(t, 500*time.Millisecond, "a dependency sleeps", func() bool { return len(f.reader.replicas("b"))*len(f.reader.replicas("c")) == 0 })
	g.busy("a", 1, 0)
	eventually(t, "both sleep", func() bool { return len(f.reader.replicas("b"))+len(f.reader.replicas("c")) == 0 })
	if len(f.reader.replicas("a")) != 1 {
		t.Error("a sleeps, before its timeout")
	}
}

// A dependency that has ReplicasMin, but fewer than ReplicasAtStart, would never be ready.
func TestDependencyIsRaisedForWhoWaits(t *testing.T) {
	t.Parallel()
	b := deployed(spec("b", 1, 300), 1)
	b.Function.ReplicasAtStart = 3
	f := newFixture(t, dependent("a", "b"), b).startSynced()
	f.wake("b")
	never(t, 100*time.Millisecond, "b is raised", func() bool { return len(f.cluster.of("b")) > 0 })
	f.wake("a")
	eventually(t, "a is up", func() bool { return len(f.reader.replicas("a")) == 1 })
	f.hasReplicas("b", 3)
}

func TestDependencyCycleIsRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t, dependent("a", "b"), dependent("b", "a"), dependent("c", "a")).startSynced()
	for _, name := range []string{"a", "b"} {
		eventually(t, "the cycle is shown", func() bool {
			state, _ := f.reader.get(name)
			return len(state.Problems) == 1 && strings.HasPrefix(state.Problems[0], "annotation DependsOn is a cycle: "+name+" → ")
		})
	}
	f.wake("c")
	eventually(t, "c is up", func() bool { return len(f.reader.replicas("c")) == 1 })
	f.cluster.change("b", func(w *function.Workload) { w.Function.DependsOn = nil })
	eventually(t, "the cycle is gone", func() bool { state, _ := f.reader.get("a"); return len(state.Problems) == 0 })
}

func TestWatchedWorkloadBecomesAFunctionAndBack(t *testing.T) {
	t.Parallel()
	f := newFixture(t, dependent("a", "b"), watched("b", 1)).startSynced()
	f.cluster.change("b", func(w *function.Workload) { *w = dependent("b") })
	eventually(t, "b is shared", func() bool { _, there := f.reader.get("b"); return there })
	f.wake("a")
	eventually(t, "a is up", func() bool { return len(f.reader.replicas("a")) == 1 })
	f.cluster.change("b", func(w *function.Workload) { *w = watched("b", 0) })
	eventually(t, "b is not shared any more", func() bool { _, there := f.reader.get("b"); return !there })
	if calls := f.cluster.of("b"); len(calls) != 1 {
		t.Errorf("b was asked for %v", calls)
	}
}

func TestAnyFunctionWakes(t *testing.T) {
	t.Parallel()
	a, b := dependent("a", "b"), dependent("b")
	a.Function.WakeWithAny = true
	f := newFixture(t, a, b, dependent("c"), dependent("d"))
	f.timing.tick = time.Hour
	f.startSynced()
	f.wake("c")
	for _, name := range []string{"a", "b", "c"} {
		eventually(t, name+" is up", func() bool { return len(f.reader.replicas(name)) == 1 })
	}
	if len(f.cluster.of("d")) > 0 {
		t.Error("d was woken")
	}
}

func TestAnyFunctionKeepsAwake(t *testing.T) {
	t.Parallel()
	a := deployed(spec("a", 0, 0), 1)
	a.Function.WakeWithAny = true
	f := newFixture(t, a, dependent("b"))
	g := f.caller("g", newest)
	g.busy("b", 1, 1)
	f.startSynced().trusted()
	never(t, 300*time.Millisecond, "a sleeps", func() bool { return len(f.cluster.of("a")) > 0 })
	g.busy("b", 1, 0)
	f.isAsked(0, "a-1")
}

// Functions of which nobody has known anything start awake, if that is wanted; a next leader knows them.
func TestNeverCalledFunctionsStart(t *testing.T) {
	t.Parallel()
	for _, wanted := range []bool{false, true} {
		f := newFixture(t, deployed(spec("a", 0, 1), 0), dependent("b", "a"))
		f.config.StartNeverCalled = wanted
		f.startSynced()
		if !wanted {
			never(t, 100*time.Millisecond, "a is started", func() bool { return len(f.cluster.of("a")) > 0 })
			continue
		}
		eventually(t, "b is up", func() bool { return len(f.reader.replicas("b")) == 1 })
		if state, _ := f.reader.get("a"); state.Decisions[0].Reason != "it was never called: 1 replica to start" {
			t.Errorf("the reason is %q", state.Decisions[0].Reason)
		}
		eventually(t, "a sleeps when its timeout has passed", func() bool { calls := f.cluster.of("a"); return calls[len(calls)-1].count == 0 })
		f.stop()
		before := len(f.cluster.of("a"))
		f.startSynced()
		never(t, 200*time.Millisecond, "the next leader starts it again", func() bool { return len(f.cluster.of("a")) > before })
	}
}

// quiet is a scaler without a bus, for tests that play everything themselves.
func quietScaler() *Scaler {
	return New(Config{}, Deps{Logger: zerolog.Nop(), Registry: prometheus.NewRegistry()})
}

// Ten thousand functions that depend on the same ones, in chains of ten: one call costs no more than with ten of them.
func BenchmarkDependencies(b *testing.B) {
	s, now := quietScaler(), time.Now()
	s.onDepths(nil, nil, now)
	s.dependencies.synced = true
	started := time.Now()
	for i := range many {
		f := spec(fmt.Sprintf("function-%d", i), 0, 300)
		f.DependsOn = []string{"mysql"}
		if i%10 > 0 {
			f.DependsOn = append(f.DependsOn, fmt.Sprintf("function-%d", i-1))
		}
		s.functions[f.Name] = &tracked{name: f.Name, present: true, workload: deployed(f, 0)}
		s.dependencies.stale[f.Name] = struct{}{}
	}
	s.observe(watched("mysql", 1), now)
	b.ReportMetric(time.Since(started).Seconds(), "s/graph")
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		now = now.Add(time.Millisecond)
		s.touch(fmt.Sprintf("function-%d", i*7919%many), now)
		s.requests, i = s.requests[:0], i+1
	}
}
