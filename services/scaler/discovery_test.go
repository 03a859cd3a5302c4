package scaler

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/sluicefaas/sluice/pkg/function"
)

func TestSyncedMeansThatAllStatesAreShared(t *testing.T) {
	t.Parallel()
	var workloads []function.Workload
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		workloads = append(workloads, deployed(spec(name, 1, 300), 1))
	}
	f := newFixture(t, workloads...).startSynced()
	store, err := f.bus.OpenFunctions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	states, err := store.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range workloads {
		if state := states[w.Function.Name]; state.Generation != 1 || state.Replicas != 1 || len(state.Endpoints) != 1 {
			t.Errorf("%s is shared as %+v", w.Function.Name, state)
		}
	}
}

func TestRemovedFunctionsAreDeleted(t *testing.T) {
	t.Parallel()
	f := newFixture(t, deployed(spec("a", 1, 300), 1), deployed(spec("b", 1, 300), 1), deployed(spec("c", 1, 300), 1)).startSynced()
	f.cluster.remove("a")
	eventually(t, "a is removed while the leader runs", func() bool { _, there := f.reader.get("a"); return !there })
	f.stop()

	f.cluster = newScripted(deployed(spec("c", 1, 300), 1))
	f.startSynced()
	eventually(t, "b is removed by the next leader", func() bool { _, there := f.reader.get("b"); return !there })
	if _, there := f.reader.get("c"); !there {
		t.Error("c is removed too")
	}
	f.cluster.change("a", func(w *function.Workload) { *w = deployed(spec("a", 1, 300), 1) })
	eventually(t, "a is back", func() bool { _, there := f.reader.get("a"); return there })
}

func TestRemovedAndBackAtOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t, deployed(spec("a", 1, 300), 1)).startSynced()
	for range 20 {
		f.cluster.remove("a")
		f.cluster.change("a", func(w *function.Workload) { *w = deployed(spec("a", 1, 300), 1) })
	}
	f.inside(func(time.Time) {})
	eventually(t, "a is shared as it is", func() bool {
		state, there := f.reader.get("a")
		settled := false
		f.inside(func(time.Time) {
			settled = len(f.scaler.sharing.dirty) == 0 && f.scaler.sharing.running == 0 && f.reader.applied() >= f.scaler.sharing.revision
		})
		return settled && there && len(state.Endpoints) == 1
	})
}

func TestGenerationGrowsWithTheSpecificationAlone(t *testing.T) {
	t.Parallel()
	f := newFixture(t, deployed(spec("a", 1, 300), 1)).startSynced()
	f.cluster.change("a", func(w *function.Workload) { w.Pods = append(w.Pods, pod("a", 7)) })
	eventually(t, "the second pod is shared", func() bool { return len(f.reader.replicas("a")) == 2 })
	if state, _ := f.reader.get("a"); state.Generation != 1 {
		t.Errorf("a pod made it generation %d", state.Generation)
	}
	f.cluster.change("a", func(w *function.Workload) {
		w.Function.NumberParallelRequest = 77
		// Nothing but a list that is empty instead of absent, as it comes back from JSON.
		w.Function.Configuration.DefaultSync.TimeoutRetries = []int{}
	})
	eventually(t, "the specification is shared", func() bool {
		state, _ := f.reader.get("a")
		return state.Generation == 2 && state.Function.NumberParallelRequest == 77
	})
	f.stop()
	f.startSynced()
	f.wake("a")
	f.cluster.change("a", func(w *function.Workload) { w.Pods = w.Pods[:1] })
	eventually(t, "the next leader has shared", func() bool { return len(f.reader.replicas("a")) == 1 })
	if state, _ := f.reader.get("a"); state.Generation != 2 {
		t.Errorf("the next leader made it generation %d", state.Generation)
	}
}

func TestNextLeaderGoesOnWithDecisions(t *testing.T) {
	t.Parallel()
	f := newFixture(t, deployed(spec("a", 0, 300), 0)).startSynced()
	f.wake("a")
	eventually(t, "a is woken", func() bool { return len(f.reader.replicas("a")) == 1 })
	before, _ := f.reader.get("a")
	f.stop()

	revision := f.reader.applied()
	f.startSynced()
	f.inside(func(time.Time) {
		if f.scaler.sharing.revision != revision {
			t.Errorf("the next leader is at revision %d, the bucket at %d", f.scaler.sharing.revision, revision)
		}
	})
	f.cluster.change("a", func(w *function.Workload) { w.Function.ReplicasMin = 2 })
	eventually(t, "the next leader decides", func() bool { state, _ := f.reader.get("a"); return state.Replicas == 2 })
	after, _ := f.reader.get("a")
	if len(after.Decisions) <= len(before.Decisions) || !slices.EqualFunc(before.Decisions, after.Decisions[:len(before.Decisions)], sameDecision) {
		t.Errorf("decisions were %v, are %v", before.Decisions, after.Decisions)
	}
}

// A next leader that finds everything as it was has nothing to write, and says so.
func TestNextLeaderIsSyncedWithNothingToShare(t *testing.T) {
	t.Parallel()
	f := newFixture(t, deployed(spec("a", 1, 300), 1)).startSynced()
	eventually(t, "the first decision is shared", func() bool { state, _ := f.reader.get("a"); return len(state.Decisions) == 1 })
	f.stop()
	before := f.reader.applied()
	for range 5 {
		f.timing.settle = time.Hour // nothing is decided
		f.startSynced()
		f.stop()
	}
	if after := f.reader.applied(); after != before {
		t.Errorf("the bucket went from revision %d to %d", before, after)
	}
}

func TestProblemsAreShared(t *testing.T) {
	t.Parallel()
	f := newFixture(t, deployed(spec("a", 1, 300), 1)).startSynced()
	f.cluster.change("a", func(w *function.Workload) {
		w.Problems = []string{"ReplicasMin: x"}
		w.Pods[0].Ready, w.Pods[0].Problem = false, "exit status 3"
	})
	want := []string{"ReplicasMin: x", "a-1: exit status 3"}
	eventually(t, "problems are shared", func() bool { state, _ := f.reader.get("a"); return slices.Equal(state.Problems, want) })
}

func TestEndpointsFollowReadinessInOrder(t *testing.T) {
	t.Parallel()
	f := newFixture(t, deployed(spec("a", 3, 300), 3)).startSynced()
	eventually(t, "all are shared", func() bool { return slices.Equal(f.reader.replicas("a"), []string{"a-1", "a-2", "a-3"}) })
	f.cluster.change("a", func(w *function.Workload) { w.Pods[1].Ready = false })
	eventually(t, "the second leaves", func() bool { return slices.Equal(f.reader.replicas("a"), []string{"a-1", "a-3"}) })
	f.cluster.change("a", func(w *function.Workload) { w.Pods[1].Ready = true })
	eventually(t, "it comes back to its place", func() bool { return slices.Equal(f.reader.replicas("a"), []string{"a-1", "a-2", "a-3"}) })
	f.cluster.change("a", func(w *function.Workload) { w.Pods[0].Address = "" })
	eventually(t, "without an address it is none", func() bool { return slices.Equal(f.reader.replicas("a"), []string{"a-2", "a-3"}) })
}

func TestRunReturnsWhenTheWatchFails(t *testing.T) {
	t.Parallel()
	for _, failure := range []error{errCluster, nil} {
		f := newFixture(t, deployed(spec("a", 1, 300), 1))
		f.cluster.watchErr <- failure
		s := New(Config{}, Deps{Bus: f.connect("scaler"), Cluster: f.cluster, Registry: prometheus.NewRegistry(), Logger: zerolog.Nop()})
		err := s.Run(t.Context())
		if err == nil || !strings.HasPrefix(err.Error(), "watch the cluster: ") || failure != nil && !errors.Is(err, failure) {
			t.Errorf("the watch ended with %v, Run with %v", failure, err)
		}
	}
}

func TestRunEndsWhileNATSIsAway(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.server.Stop()
	t.Cleanup(f.server.Start) // so that the connections need not wait for it when they close
	s := New(Config{}, Deps{Bus: f.connect("scaler"), Cluster: f.cluster, Registry: prometheus.NewRegistry(), Logger: zerolog.Nop()})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Run(ctx); err != nil {
		t.Errorf("Run returned %v", err)
	}
}
