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
	workload Workload
	slots    []*replica // by index; a slot stays when its replica is gone, for its back-off
	births   int        // how many replicas have been asked for so far
}

// observe is the workload as it is now.
func (s *replicaSet) observe() function.Workload {
	observed := function.Workload{Function: s.workload.Function, Problems: slices.Clone(s.workload.Problems)}
	if s.workload.URL != "" {
		observed.Fixed, observed.Replicas = true, 1
		observed.Pods = []function.Pod{{Name: s.workload.Function.Name + "-0", Address: s.workload.URL, Ready: true}}
		return observed
	}
	observed.Replicas = len(s.wanted())
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

// excess returns the replicas to end so that count are left: the victims first, then the newest.
func (s *replicaSet) excess(count int, victims []string) []*replica {
	wanted := s.wanted()
	slices.SortStableFunc(wanted, func(a, b *replica) int {
		if first := slices.Contains(victims, a.name); first != slices.Contains(victims, b.name) {
			if first {
				return -1
			}
			return 1
		}
		return cmp.Compare(b.birth, a.birth)
	})
	return wanted[:max(len(wanted)-count, 0)]
}

// want asks for one more replica and returns its slot, the one with the lowest index that can be used.
func (s *replicaSet) want() *replica {
	slot := s.unused()
	s.births++
	slot.wanted, slot.birth, slot.name = true, s.births, s.nameOf(slot)
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
		return s.workload.Function.Name + "-" + strconv.Itoa(slot.index)
	}
	for {
		name := s.workload.Function.Name + "-" + randomSuffix()
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
	startTimeout time.Duration
}
