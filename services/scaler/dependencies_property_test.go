package scaler

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/function"
)

// TestDependenciesAreCountedRight lets workloads come, change and go and calls begin and end in any order. What is counted step by step
// is at each moment what there is, and nothing starts before what it depends on is ready.
func TestDependenciesAreCountedRight(t *testing.T) {
	t.Parallel()
	names := []string{"a", "b", "c", "d", "e"}
	rapid.Check(t, func(t *rapid.T) {
		s, now := quietScaler(), time.Unix(1e9, 0)
		s.onDepths(nil, nil, now)
		calls := map[string]bus.FunctionActivity{}
		name := func(t *rapid.T) string { return rapid.SampledFrom(names).Draw(t, "name") }
		observe := func(w function.Workload) { s.observe(w, now) }
		// A replica that is ready now was ready when the request was made: replicas change only here, and by what is observed.
		check := func(r request) {
			for _, dependency := range s.dependencies.of(r.f.name) {
				f, ready := s.functions[dependency], s.dependencies.watched[dependency] > 0
				if f != nil && f.present {
					ready = len(f.workload.ReadyEndpoints()) > 0
				}
				if r.count > 0 && r.f.workload.Replicas == 0 && r.f.present && !ready {
					t.Fatalf("%s was started before %s was ready", r.f.name, dependency)
				}
			}
		}
		carryOut := func(ready bool) {
			for checked := 0; len(s.requests) > 0; checked-- {
				for ; checked < len(s.requests); checked++ {
					check(s.requests[checked])
				}
				r := s.requests[0]
				s.requests = s.requests[1:]
				s.onSet(r, nil, now)
				if r.f.present {
					w := deployed(r.f.workload.Function, r.count)
					for i := range w.Pods {
						w.Pods[i].Ready = ready
					}
					observe(w)
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"a function": func(t *rapid.T) {
				f := spec(name(t), 0, rapid.SampledFrom([]int{0, 1, 100}).Draw(t, "timeout"))
				f.DependsOn = rapid.SliceOfNDistinct(rapid.SampledFrom(append(names, "x")), 0, 2, rapid.ID[string]).Draw(t, "depends on")
				f.WakeWithAny = rapid.Bool().Draw(t, "wakes with any")
				observe(deployed(f, rapid.IntRange(0, 2).Draw(t, "replicas")))
			},
			"a watched one": func(t *rapid.T) { observe(watched(name(t), rapid.IntRange(0, 1).Draw(t, "ready"))) },
			"one goes":      func(t *rapid.T) { s.forget(name(t)); s.settle(now) },
			"a wake":        func(t *rapid.T) { s.touch(name(t), now) },
			"a call": func(t *rapid.T) {
				calls[name(t)] = bus.FunctionActivity{InFlight: 1}
				s.onActivity(bus.Activity{Sender: "g", Functions: calls}, now)
			},
			"a call ends": func(t *rapid.T) {
				delete(calls, name(t))
				s.onActivity(bus.Activity{Sender: "g", Functions: calls}, now)
			},
			"time passes": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(1, 3000).Draw(t, "ms")) * time.Millisecond)
				s.onDepths(nil, nil, now)
				s.onActivity(bus.Activity{Sender: "g", Functions: calls}, now)
				s.onTick(now)
			},
			"all are synced": func(*rapid.T) { s.onSynced(now) },
			"replicas get ready": func(*rapid.T) {
				for _, name := range names {
					if f := s.functions[name]; f != nil && f.present {
						observe(deployed(f.workload.Function, f.workload.Replicas))
					}
				}
			},
			"": func(t *rapid.T) {
				carryOut(rapid.Bool().Draw(t, "ready"))
				requireCounts(t, s, names)
			},
		})
	})
}

// requireCounts compares what is counted step by step with what there is.
func requireCounts(t *rapid.T, s *Scaler, names []string) {
	if len(s.dependencies.stale) > 0 || len(s.dependencies.next) > 0 {
		t.Fatalf("left: %v, %v", s.dependencies.stale, s.dependencies.next)
	}
	busy, want := 0, map[string]users{}
	for _, name := range names {
		f := s.functions[name]
		if f == nil || !f.present {
			continue
		}
		if f.busy != (s.inFlight(name) > 0) {
			t.Fatalf("%s is busy: %v", name, f.busy)
		}
		busy += count(f.busy)
		for _, dependency := range s.dependencies.of(name) {
			u := want[dependency]
			u.inUse += count(f.asks.inUse)
			u.waiting += count(f.asks.waits)
			want[dependency] = u
		}
		if waits := s.waits(f); f.asks.waits && !slices.Equal(f.state.Waits, waits) {
			t.Fatalf("%s says that it waits for %q, and waits for %q", name, f.state.Waits, waits)
		}
		if (f.state.Replicas == 0 && f.busy && len(s.waits(f)) == 0) && !f.workload.Fixed {
			t.Fatalf("%s is called, waits for nothing and sleeps", name)
		}
	}
	if s.any.inUse != busy {
		t.Fatalf("%d are counted in use, %d are", s.any.inUse, busy)
	}
	for name, u := range s.dependencies.users {
		if w := want[name]; u.inUse != w.inUse || u.waiting != w.waiting {
			t.Fatalf("of %s, %d users are counted and %d waiting, want %d and %d", name, u.inUse, u.waiting, w.inUse, w.waiting)
		}
		delete(want, name)
	}
	for name, w := range want {
		if w.inUse > 0 || w.waiting > 0 {
			t.Fatalf("the users of %s are not counted", name)
		}
	}
}
