package local

import (
	"cmp"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/sluicefaas/sluice/pkg/function"
)

// replicaSet is the replicas of one workload. The cluster's mutex guards it.
type replicaSet struct {
	name     string // never changes
	workload Workload
	// version grows with each change of the workload that its processes cannot follow.
	version int
	// count is how many replicas there shall be when no process is being replaced.
	count  int
	slots  []*replica // by index; a slot stays when its replica is gone, for its back-off
	births int        // how many replicas have been asked for so far
	// removed says that no manifest has the workload any more, forgotten that the observer knows it.
	removed, forgotten bool
	address            address
}

// observe is the workload as it is now.
func (s *replicaSet) observe() function.Workload {
	w := s.workload
	observed := function.Workload{Function: w.Function, Watched: w.Watched, Problems: slices.Clone(w.Problems)}
	if w.URL != "" {
		observed.Fixed, observed.Replicas = true, 1
		observed.Pods = []function.Pod{{Name: s.name + "-0", Address: w.URL, Ready: !w.Watched || s.address.reached}}
		return observed
	}
	observed.Replicas = s.count
	if w.Watched {
		observed.Replicas = w.Replicas
	}
	for _, slot := range s.slots {
		if slot.wanted || slot.alive {
			observed.Pods = append(observed.Pods, slot.pod())
		}
	}
	return observed
}

func (s *replicaSet) wanted() []*replica {
	var wanted []*replica
	for _, slot := range s.slots {
		if slot.wanted {
			wanted = append(wanted, slot)
		}
	}
	return wanted
}

func (s *replicaSet) anyAlive() bool {
	return slices.ContainsFunc(s.slots, func(slot *replica) bool { return slot.alive })
}

// wantedByEnd returns the wanted replicas in the order in which they end: the victims first, then, of a Deployment, those that are
// not ready, then the newest.
func (s *replicaSet) wantedByEnd(victims []string) []*replica {
	rank := func(r *replica) int {
		switch {
		case slices.Contains(victims, r.name):
			return 0
		case !r.ready && !s.stateful():
			return 1
		}
		return 2
	}
	wanted := s.wanted()
	slices.SortStableFunc(wanted, func(a, b *replica) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(b.birth, a.birth))
	})
	return wanted
}

// want asks for one more replica and returns its slot, the one with the lowest index that can be used.
func (s *replicaSet) want() *replica {
	slot := s.unused()
	s.births++
	slot.wanted, slot.birth, slot.version, slot.name = true, s.births, s.version, s.nameOf(slot)
	return slot
}

func (s *replicaSet) unused() *replica {
	for _, slot := range s.slots {
		// A StatefulSet has each of its names once, so the next one of that name waits for the end of the last.
		// A Deployment's replica takes another slot rather than wait.
		if !slot.wanted && (!slot.alive || s.stateful()) {
			return slot
		}
	}
	slot := &replica{index: len(s.slots), set: s}
	s.slots = append(s.slots, slot)
	return slot
}

func (s *replicaSet) stateful() bool { return s.workload.Function.Kind == function.KindStatefulSet }

// nameOf is as in Kubernetes: an index for the pods of a StatefulSet, otherwise something short and random that no
// other replica of the set has.
func (s *replicaSet) nameOf(slot *replica) string {
	if s.stateful() {
		return s.name + "-" + strconv.Itoa(slot.index)
	}
	for {
		name := s.name + "-" + randomSuffix()
		if !slices.ContainsFunc(s.slots, func(other *replica) bool { return other.name == name }) {
			return name
		}
	}
}

// randomSuffix has no vowels, so that it spells nothing.
func randomSuffix() string {
	const letters = "bcdfghjklmnpqrstvwxz2456789"
	suffix := make([]byte, 5)
	for i := range suffix {
		suffix[i] = letters[rand.IntN(len(letters))] //nolint:gosec // a name, no secret
	}
	return string(suffix)
}

// replicaTools is what every replica of a cluster shares.
type replicaTools struct {
	processes    *processes
	ports        *ports
	client       *http.Client // of the probes
	env          []string     // on top of everything else
	untrustedEnv []string     // the same for those that are not trusted
	startTimeout time.Duration
}
