package scaler

import (
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/function"
)

// draining starts a scaler with three replicas of a, and a caller that has applied nothing. When the scaler knows that caller, the replicas have been
// idle for long enough, of which one is to stay; it returns when the other two have left the endpoints.
func draining(t *testing.T, edit func(*fixture)) (*fixture, *caller) {
	t.Helper()
	f := newFixture(t, deployed(spec("a", 1, 60), 3))
	if edit != nil {
		edit(f)
	}
	c := f.caller("g", 0)
	f.startSynced()
	c.heard()
	f.cluster.change("a", func(w *function.Workload) { w.Function.TimeoutSecondBeforeSetReplicasMin = 0 })
	eventually(t, "two leave", func() bool { return slices.Equal(f.reader.replicas("a"), []string{"a-1"}) })
	if calls := f.cluster.of("a"); len(calls) != 0 {
		t.Fatalf("asked %v before the callers knew", calls)
	}
	return f, c
}

func (f *fixture) stays(what string) {
	f.t.Helper()
	never(f.t, 200*time.Millisecond, "the cluster is asked: "+what, func() bool { return len(f.cluster.of("a")) > 0 })
}

func (f *fixture) isAsked(count int, victims ...string) {
	f.t.Helper()
	eventually(f.t, "the cluster is asked", func() bool { return len(f.cluster.of("a")) > 0 })
	if call := f.cluster.of("a")[0]; call.count != count || !slices.Equal(call.victims, victims) {
		f.t.Errorf("asked for %d, victims %v; want %d, %v", call.count, call.victims, count, victims)
	}
}

func TestScaleDownWaitsForEverySender(t *testing.T) {
	t.Parallel()
	f, c := draining(t, nil)
	revision := f.reader.applied()
	c.at(revision - 1)
	c.heard()
	f.stays("a sender has an older revision")

	second := f.caller("d", 0)
	second.heard()
	c.at(revision)
	c.heard()
	f.stays("the second has an older one")

	second.busy("a", 3, 1)
	second.at(revision)
	second.heard()
	f.stays("the second has a call in flight")

	second.busy("a", 3, 0)
	f.isAsked(1, "a-2", "a-3")
}

// A jobrunner keeps functions awake and calls no replica: what it has applied of the bucket says nothing.
func TestJobrunnerKeepsAwakeAndIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	f, c := draining(t, nil)
	jobs := f.caller("j", 0)
	jobs.is(bus.KindJobrunner)
	jobs.heard()
	f.stays("a gateway has an older revision")
	c.at(newest)
	f.isAsked(1, "a-2", "a-3")

	f.cluster.change("a", func(w *function.Workload) { w.Function.ReplicasMin = 0 })
	eventually(t, "it sleeps", func() bool { return len(f.reader.replicas("a")) == 0 })
	jobs.needs("a")
	eventually(t, "a job wakes it", func() bool { return len(f.reader.replicas("a")) > 0 })
}

func TestLeavingSenderIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	f, c := draining(t, nil)
	c.busy("a", 3, 1)
	c.heard()
	f.stays("a call is in flight")
	c.quiet()
	if err := f.bus.ReportActivity(bus.Activity{Sender: "g", Leaving: true}); err != nil {
		t.Fatal(err)
	}
	f.isAsked(1, "a-2", "a-3")
}

func TestSilentSenderIsNotWaitedForForEver(t *testing.T) {
	t.Parallel()
	f, c := draining(t, nil)
	c.heard()
	c.quiet()
	silent := time.Now()
	f.isAsked(1, "a-2", "a-3")
	if after := f.cluster.of("a")[0].at.Sub(silent); after < f.timing.sender-100*time.Millisecond {
		t.Errorf("asked %v after the last report", after)
	}
}

func TestPartialReportIsNotComplete(t *testing.T) {
	t.Parallel()
	f, c := draining(t, nil)
	c.heard()
	c.quiet()
	send := func(report bus.Activity) {
		t.Helper()
		report.Sender, report.Revision = "g", newest
		if err := f.bus.ReportActivity(report); err != nil {
			t.Fatal(err)
		}
	}
	send(bus.Activity{Partial: true, Functions: map[string]bus.FunctionActivity{"b": {InFlight: 1}}})
	f.stays("a partial report says nothing of a")
	// The function's part comes first, the last part does not name it.
	send(bus.Activity{Partial: true, Functions: map[string]bus.FunctionActivity{"a": {InFlight: 1, Endpoints: map[string]int{"a:8002": 1}}}})
	send(bus.Activity{Functions: map[string]bus.FunctionActivity{"b": {InFlight: 1}}})
	f.stays("a call is in flight")
	send(bus.Activity{Functions: map[string]bus.FunctionActivity{"b": {InFlight: 1}}})
	f.isAsked(1, "a-2", "a-3")
}

func TestDrainTimeoutEndsTheWait(t *testing.T) {
	t.Parallel()
	begun := time.Now()
	f, c := draining(t, func(f *fixture) { f.drain = 4 * time.Second })
	c.at(newest)
	c.busy("a", 2, 2)
	f.isAsked(1, "a-2", "a-3")
	if after := f.cluster.of("a")[0].at.Sub(begun); after < f.drain {
		t.Errorf("asked %v after the start, want %v after the replicas left at least", after, f.drain)
	}
	if lines := f.logs.with("although it may have calls in flight", `"function":"a"`, `"replica":"a-2"`, `"calls":2`); len(lines) != 1 {
		t.Errorf("%d lines tell of a-2", len(lines))
	}
	if lines := f.logs.with("although it may have calls in flight", `"replica":"a-3"`); len(lines) != 0 {
		t.Errorf("a line tells of a-3: %v", lines)
	}
}

func TestActivityBringsDrainingReplicasBack(t *testing.T) {
	t.Parallel()
	f := newFixture(t, deployed(spec("a", 0, 60), 1))
	c := f.caller("g", 0)
	f.startSynced()
	c.heard()
	f.cluster.change("a", func(w *function.Workload) { w.Function.TimeoutSecondBeforeSetReplicasMin = 0 })
	eventually(t, "it leaves", func() bool { return len(f.reader.replicas("a")) == 0 })
	f.cluster.change("a", func(w *function.Workload) { w.Function.TimeoutSecondBeforeSetReplicasMin = 60 })
	f.wake("a")
	eventually(t, "it is back", func() bool { return len(f.reader.replicas("a")) == 1 })
	c.at(newest)
	f.stays("the function is in use")
}

// A call for longer than the timeout keeps its function; its end is activity.
func TestLongCallKeepsItsFunction(t *testing.T) {
	t.Parallel()
	f := newFixture(t, deployed(spec("a", 0, 1), 1))
	c := f.caller("g", newest)
	c.busy("a", 1, 1)
	f.startSynced().trusted()
	never(t, 1500*time.Millisecond, "it is scaled down", func() bool { return len(f.cluster.of("a")) > 0 || len(f.reader.replicas("a")) == 0 })
	c.busy("a", 1, 0)
	ended := time.Now()
	f.isAsked(0, "a-1")
	if after := f.cluster.of("a")[0].at.Sub(ended); after < time.Second {
		t.Errorf("scaled down %v after the call", after)
	}
}

// The end of a call is activity, although the report that shows it does not name the function.
func TestIdleTimeCountsFromTheEndOfACall(t *testing.T) {
	t.Parallel()
	s := New(Config{}, Deps{Logger: zerolog.Nop(), Registry: prometheus.NewRegistry()})
	start := time.Now()
	s.observe(deployed(spec("a", 0, 60), 1), start)
	s.onActivity(bus.Activity{Sender: "g", Functions: map[string]bus.FunctionActivity{"a": {InFlight: 1}}}, start)
	s.onActivity(bus.Activity{Sender: "g", Partial: true, Functions: map[string]bus.FunctionActivity{"b": {}}}, start.Add(time.Second))
	if last := s.functions["a"].lastActivity; !last.Equal(start) {
		t.Errorf("a report that is not complete ended a call: %v", last.Sub(start))
	}
	s.onActivity(bus.Activity{Sender: "g"}, start.Add(2*time.Second))
	if last := s.functions["a"].lastActivity; !last.Equal(start.Add(2 * time.Second)) {
		t.Errorf("the last activity is %v after the start", last.Sub(start))
	}
}

func TestVictims(t *testing.T) {
	t.Parallel()
	busy := map[string]bus.FunctionActivity{"a": {InFlight: 3, Endpoints: map[string]int{"a:8004": 2, "a:8003": 1}}}
	for name, c := range map[string]struct {
		kind  string
		keep  int
		first int
		edit  func(pods []function.Pod) []function.Pod
		wants []string
	}{
		"newest of equals":      {kind: function.KindDeployment, keep: 3, wants: []string{"a-2"}},
		"fewest in flight":      {kind: function.KindDeployment, keep: 1, wants: []string{"a-1", "a-2", "a-3"}},
		"not ready first":       {kind: function.KindDeployment, keep: 3, edit: func(p []function.Pod) []function.Pod { p[3].Ready = false; return p }, wants: []string{"a-4"}},
		"counted as they exist": {kind: function.KindDeployment, keep: 2, edit: func(p []function.Pod) []function.Pod { return p[:2] }, wants: nil},
		"highest of a set":      {kind: function.KindStatefulSet, keep: 2, first: 1, wants: []string{"a-3", "a-4"}},
		"with one missing":      {kind: function.KindStatefulSet, keep: 3, first: 1, edit: func(p []function.Pod) []function.Pod { return slices.Delete(p, 1, 2) }, wants: []string{"a-4"}},
		"lowest missing":        {kind: function.KindStatefulSet, keep: 1, first: 1, edit: func(p []function.Pod) []function.Pod { return p[1:] }, wants: []string{"a-2", "a-3", "a-4"}},
		"by number": {kind: function.KindStatefulSet, keep: 2, first: 8, edit: func(p []function.Pod) []function.Pod {
			p[0].Name, p[1].Name, p[2].Name, p[3].Name = "a-10", "a-11", "a-8", "a-9"
			return p
		}, wants: []string{"a-10", "a-11"}},
	} {
		w := deployed(spec("a", 0, 0), 4)
		w.Function.Kind, w.FirstOrdinal = c.kind, c.first
		if c.edit != nil {
			w.Pods = c.edit(w.Pods)
		}
		s := &Scaler{senders: map[string]*sender{"g": {functions: busy}}}
		f := &tracked{name: "a", workload: w, state: function.State{Replicas: c.keep}}
		var got []string
		for _, p := range s.victims(f) {
			got = append(got, p.Name)
		}
		slices.Sort(got)
		slices.Sort(c.wants)
		if !slices.Equal(got, c.wants) {
			t.Errorf("%s: victims are %v, want %v", name, got, c.wants)
		}
	}
}
