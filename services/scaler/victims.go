package scaler

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/sluicefaas/sluice/pkg/function"
)

// victims are the replicas to end so that the wanted count is left, beside those that are ending: those that drain already
// first, then those that are not ready, then those with the fewest calls in flight, the newest of equals. Replicas
// are counted as they exist: a rollout may have more of them than the workload asks for.
func (s *Scaler) victims(f *tracked) []function.Pod {
	pods := slices.DeleteFunc(slices.Clone(f.workload.Pods), func(p function.Pod) bool { return f.draining[p.Name].ending })
	if f.workload.Function.Kind == function.KindStatefulSet {
		return highest(pods, f.workload.FirstOrdinal+f.state.Replicas)
	}
	slices.Reverse(pods)
	rank := func(p function.Pod) int {
		_, draining := f.draining[p.Name]
		switch {
		case draining:
			return 0
		case !p.Ready:
			return 1
		}
		return 2
	}
	slices.SortStableFunc(pods, func(a, b function.Pod) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(s.inFlightAt(f.name, a.Address), s.inFlightAt(f.name, b.Address)))
	})
	return pods[:max(len(pods)-f.state.Replicas, 0)]
}

// highest returns the replicas of a StatefulSet with the number next or above: it ends those, also while a lower one is
// missing for the moment.
func highest(pods []function.Pod, next int) []function.Pod {
	return slices.DeleteFunc(pods, func(p function.Pod) bool { return ordinal(p) < next })
}

// ordinal is the number at the end of the name of a StatefulSet's pod.
func ordinal(p function.Pod) int {
	number, _ := strconv.Atoi(p.Name[strings.LastIndexByte(p.Name, '-')+1:]) // 0 for what no StatefulSet makes
	return number
}
