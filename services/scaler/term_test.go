package scaler

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicefaas/sluice/pkg/function"
)

// A process that leads again runs another Scaler with the same connection and registry.
func TestOneProcessLeadsTwice(t *testing.T) {
	t.Parallel()
	f := newFixture(t, deployed(spec("a", 1, 60), 1))
	registry, b := prometheus.NewRegistry(), f.connect("scaler")
	for term := range 3 {
		f.startAgain(registry, b)
		eventually(t, "its metrics are there", func() bool { return f.values("a")["sluice_replicas_ready"] == 1 })
		f.cluster.change("a", func(w *function.Workload) { *w = deployed(w.Function, term+2) })
		eventually(t, "it works", func() bool { return len(f.reader.replicas("a")) == term+2 })
		f.stop()
		if families, err := registry.Gather(); err != nil || len(families) != 0 {
			t.Errorf("after term %d there are %d metrics, %v", term, len(families), err)
		}
		f.cluster.change("a", func(w *function.Workload) { *w = deployed(w.Function, 1) })
		for len(f.cluster.events) > 0 {
			<-f.cluster.events
		}
	}
}

// A quota, nodes or images in the way stop a further raise, and are the reason shown; when they are gone, the count is raised.
func TestBlockedRaiseWaits(t *testing.T) {
	t.Parallel()
	w := deployed(spec("a", 3, 60), 1)
	w.Blocked, w.Problems = "a quota refuses further pods", []string{"exceeded quota: q"}
	f := newFixture(t, w).startSynced()
	eventually(t, "the reason is shown", func() bool {
		state, _ := f.reader.get("a")
		return slices.ContainsFunc(state.Decisions, func(d function.Decision) bool { return d.Reason == "held at 1 replica: a quota refuses further pods" })
	})
	f.publish("a")
	never(t, 300e6, "it is raised", func() bool { return len(f.cluster.of("a")) > 0 })
	state, _ := f.reader.get("a")
	if len(state.Decisions) != 1 || len(f.logs.with(`"level":"warn"`, "not scaled", "a quota")) != 1 {
		t.Errorf("the reason is not told once: %+v", state.Decisions)
	}
	f.cluster.change("a", func(w *function.Workload) { w.Blocked, w.Problems = "", nil })
	f.isAsked(3)
}

func TestBlockedFunctionStartsFromZero(t *testing.T) {
	t.Parallel()
	w := deployed(spec("a", 0, 60), 0)
	w.Blocked = "no node takes its pods"
	f := newFixture(t, w).startSynced()
	f.wake("a")
	f.isAsked(1)
}

// Thousands of replicas may have a problem each: the state stays small.
func TestProblemsAreBounded(t *testing.T) {
	t.Parallel()
	w := deployed(spec("a", 0, 60), 1000)
	w.Problems = []string{"first"}
	for i := range w.Pods {
		w.Pods[i].Problem = "broken"
	}
	got := problems(w, nil)
	if len(got) != maxProblems+1 || got[0] != "first" || got[maxProblems] != fmt.Sprintf("and %d more", 1001-maxProblems) || !strings.HasSuffix(got[1], ": broken") {
		t.Errorf("the problems are %q", got)
	}
}

// A leader knows the specifications that the one before has shared, so that a wrong annotation keeps its last valid value.
func TestNextLeaderKnowsTheLastSpecifications(t *testing.T) {
	t.Parallel()
	f := newFixture(t, deployed(spec("a", 2, 300), 1)).startSynced()
	f.stop()
	f.startSynced()
	next := observer{f.scaler}
	if last, known := next.Last("a"); !known || last.ReplicasMin != 2 {
		t.Errorf("of a it knows %+v (%v)", last, known)
	}
	if last, known := next.Last("b"); known {
		t.Errorf("of b it knows %+v", last)
	}
}
