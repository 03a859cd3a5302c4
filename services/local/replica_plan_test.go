package local

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/sluicefaas/sluice/pkg/function"
)

// planned makes a set of replicas of a text: o and O are of the old version, f and F of the new one, the capitals ready.
func planned(kind string, count int, replicas string) *replicaSet {
	set := &replicaSet{name: "f", workload: Workload{Function: function.Function{Name: "f", Kind: kind}}, version: 1, count: count}
	for i, letter := range replicas {
		r := &replica{set: set, index: i, birth: i, name: fmt.Sprint("f-", i), wanted: true, alive: true}
		r.ready = letter == 'O' || letter == 'F'
		if letter == 'f' || letter == 'F' {
			r.version = 1
		}
		set.slots = append(set.slots, r)
	}
	return set
}

func (p plan) String() string {
	names := func(replicas []*replica) (names []string) {
		for _, r := range replicas {
			names = append(names, r.name[2:])
		}
		slices.Sort(names)
		return names
	}
	return fmt.Sprintf("end %v restart %v start %d", names(p.end), names(p.restart), p.start)
}

func TestPlan(t *testing.T) {
	t.Parallel()
	const deployment, stateful = function.KindDeployment, function.KindStatefulSet
	for _, c := range []struct {
		kind     string
		count    int
		replicas string
		victims  []string
		want     string
	}{
		{deployment, 2, "FF", nil, "end [] restart [] start 0"},
		{deployment, 3, "Ff", nil, "end [] restart [] start 1"},
		{deployment, 1, "FFF", []string{"f-0"}, "end [0 2] restart [] start 0"},
		{deployment, 0, "Fo", nil, "end [0 1] restart [] start 0"},
		// One more than the count, then an old one ends for each new one that is ready.
		{deployment, 1, "O", nil, "end [] restart [] start 1"},
		{deployment, 1, "Of", nil, "end [] restart [] start 0"},
		{deployment, 1, "OF", nil, "end [0] restart [] start 0"},
		{deployment, 3, "OOO", nil, "end [] restart [] start 1"},
		{deployment, 3, "OOOF", nil, "end [2] restart [] start 1"},
		{deployment, 3, "OOFf", nil, "end [] restart [] start 0"},
		{deployment, 3, "OFFF", nil, "end [0] restart [] start 0"},
		// What serves nobody ends at once, also what is new and not ready when a newer version comes.
		{deployment, 1, "o", nil, "end [0] restart [] start 1"},
		{deployment, 1, "Oo", nil, "end [1] restart [] start 1"},
		// Scaled while it rolls: the victims end, and the last old one stays until a new one is ready.
		{deployment, 1, "OOf", []string{"f-0"}, "end [0] restart [] start 0"},
		{deployment, 3, "Of", nil, "end [] restart [] start 1"},
		{deployment, 0, "OOf", nil, "end [0 1 2] restart [] start 0"},

		{stateful, 3, "FFF", nil, "end [] restart [] start 0"},
		{stateful, 2, "FFF", nil, "end [2] restart [] start 0"},
		{stateful, 3, "OOO", nil, "end [] restart [2] start 0"},
		{stateful, 3, "OOo", nil, "end [] restart [2] start 0"},
		{stateful, 3, "OOf", nil, "end [] restart [] start 0"},
		{stateful, 3, "OOF", nil, "end [] restart [1] start 0"},
		{stateful, 3, "oOO", nil, "end [] restart [0] start 0"},
		{stateful, 4, "OOO", nil, "end [] restart [] start 1"},
	} {
		if got := planned(c.kind, c.count, c.replicas).plan(c.victims).String(); got != c.want {
			t.Errorf("%s %d %s: %s, want %s", c.kind, c.count, c.replicas, got, c.want)
		}
	}
}

// Whatever the replicas do, a rollout never takes away more than one that is ready of a StatefulSet and none of a Deployment, and
// it ends with as many of the new version as there shall be.
func TestPlanReachesItsEnd(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom([]string{function.KindDeployment, function.KindStatefulSet}).Draw(t, "kind")
		replicas := rapid.StringMatching(`[oOfF]{0,6}`).Draw(t, "replicas")
		count := rapid.IntRange(0, 6).Draw(t, "count")
		set := planned(kind, count, replicas)
		for step := 0; ; step++ {
			if step > 60 {
				t.Fatalf("no end: %v", set.plan(nil))
			}
			readyBefore := countReady(set)
			if kind == function.KindStatefulSet && len(set.wanted()) > count {
				readyBefore = 0 // scaled down, it ends the last ones, ready or not
			}
			p := set.plan(nil)
			if len(p.end)+len(p.restart)+p.start == 0 && countReady(set) == len(set.wanted()) {
				break
			}
			follow(set, p)
			lost := max(min(readyBefore, set.count)-countReady(set), 0)
			if allowed := map[string]int{function.KindStatefulSet: 1}[kind]; lost > allowed {
				t.Fatalf("%s %d %s: %d ready ones were taken away", kind, count, replicas, lost)
			}
			if len(set.wanted()) > set.count+1 {
				t.Fatalf("%d replicas for %d", len(set.wanted()), set.count)
			}
			becomeReady(set)
		}
		for _, r := range set.wanted() {
			if r.version != set.version {
				t.Fatalf("%s is left of the old version", r.name)
			}
		}
		if len(set.wanted()) != count {
			t.Fatalf("%d are left, want %d", len(set.wanted()), count)
		}
	})
}

func countReady(set *replicaSet) (ready int) {
	for _, r := range set.wanted() {
		if r.ready {
			ready++
		}
	}
	return ready
}

// follow does what the plan says, at once.
func follow(set *replicaSet, p plan) {
	for _, r := range p.end {
		r.wanted, r.ready, r.alive = false, false, false
	}
	for _, r := range p.restart {
		r.ready, r.version = false, set.version
	}
	for range p.start {
		set.want()
	}
}

// becomeReady makes the first one ready that is not.
func becomeReady(set *replicaSet) {
	for _, r := range set.wanted() {
		if !r.ready {
			r.ready = true
			return
		}
	}
}
