package autoscale

import (
	"math"
	"slices"
	"time"

	"github.com/sluicefaas/sluice/pkg/function"
)

// History is what the behavior of a function needs to know of the past: what its triggers have wanted within the stabilisation
// windows, and the changes that they have made within the periods of the policies. It is a value: Remember makes a new one.
// Its size is bounded; where more happened, what is left out makes changes slower, never faster.
type History struct {
	// highs are the wants that no later one reaches, the oldest first; lows those that no later one falls below.
	highs, lows []sample
	// ups and downs are changes of the count, the oldest first.
	ups, downs []sample
}

// sample is a count, or the size of a change, at a time.
type sample struct {
	at    time.Time
	count int
}

// maxSamples bounds each list of a History.
const maxSamples = 64

// Remember returns the history after the decision d, which Decide has taken with the same arguments.
func Remember(now time.Time, f function.Function, s Signals, d function.Decision) History {
	if len(triggers(f)) == 0 {
		return History{}
	}
	h := s.History
	if !Triggered(f, s) {
		return h
	}
	if w := wanted(now, f, s); w.recorded(s.Replicas) {
		h = h.want(now, f, max(s.Replicas, 0), max(w.count, f.ReplicasMin))
	}
	if by := d.Replicas - max(s.Replicas, 0); by != 0 && choose(now, f, s).triggered {
		h = h.change(now, f, by)
	}
	return h
}

// recorded reports whether a wish is one for the history: a count that only holds because figures are missing is not.
func (w wish) recorded(current int) bool { return w.count >= 0 && (w.whole || w.count > current) }

// want adds what the triggers want now. The first one stands after the count that there is, as if they had wanted that until now: a
// new leader does not lower at once what it knows nothing about.
func (h History) want(now time.Time, f function.Function, current, count int) History {
	if len(h.highs) == 0 {
		h.highs, h.lows = []sample{{now, current}}, []sample{{now, current}}
	}
	highs := slices.DeleteFunc(slices.Clone(h.highs), func(old sample) bool {
		return old.count <= count || expired(now, old, f.Scale.Behavior.ScaleDown.StabilizationWindowSeconds)
	})
	lows := slices.DeleteFunc(slices.Clone(h.lows), func(old sample) bool {
		return old.count >= count || expired(now, old, f.Scale.Behavior.ScaleUp.StabilizationWindowSeconds)
	})
	h.highs, h.lows = bounded(append(highs, sample{now, count}), larger), bounded(append(lows, sample{now, count}), smaller)
	return h
}

// change adds a change of the count.
func (h History) change(now time.Time, f function.Function, by int) History {
	h.ups, h.downs = fresh(now, h.ups, f), fresh(now, h.downs, f)
	if by > 0 {
		h.ups = bounded(append(h.ups, sample{now, by}), sum)
	} else {
		h.downs = bounded(append(h.downs, sample{now, -by}), sum)
	}
	return h
}

// fresh are the changes that a policy may still look at.
func fresh(now time.Time, changes []sample, f function.Function) []sample {
	longest := 0
	for _, rules := range []function.ScaleRules{f.Scale.Behavior.ScaleUp, f.Scale.Behavior.ScaleDown} {
		for _, policy := range rules.Policies {
			longest = max(longest, policy.PeriodSeconds)
		}
	}
	return slices.DeleteFunc(slices.Clone(changes), func(old sample) bool { return expired(now, old, longest) })
}

func sum(a, b int) int     { return a + b }
func larger(a, b int) int  { return max(a, b) }
func smaller(a, b int) int { return min(a, b) }

// bounded joins the two oldest samples while there are too many. What they become holds for as long as the newer one does.
func bounded(samples []sample, join func(a, b int) int) []sample {
	for len(samples) > maxSamples {
		samples[1].count = join(samples[0].count, samples[1].count)
		samples = samples[1:]
	}
	return samples
}

// expired reports whether a sample is outside of the seconds before now.
func expired(now time.Time, old sample, seconds int) bool {
	return !old.at.After(now.Add(-time.Duration(seconds) * time.Second))
}

// behave makes of a wanted count the one to have now: first stabilised, then limited by the policies, as Kubernetes does.
func (h History) behave(now time.Time, f function.Function, current, want int) int {
	if current == 0 {
		return h.limit(now, f, current, want) // nothing was wanted while it slept
	}
	return h.limit(now, f, current, h.stabilise(now, f, current, want))
}

// stabilise raises the count no further than to the least that was wanted in the window of ScaleUp, and lowers it no further than to
// the most that was wanted in that of ScaleDown.
func (h History) stabilise(now time.Time, f function.Function, current, want int) int {
	up, down := want, want
	highs, lows := h.highs, h.lows
	if len(highs) == 0 {
		highs, lows = []sample{{now, current}}, []sample{{now, current}}
	}
	for _, old := range lows {
		if !expired(now, old, f.Scale.Behavior.ScaleUp.StabilizationWindowSeconds) {
			up = min(up, old.count)
		}
	}
	for _, old := range highs {
		if !expired(now, old, f.Scale.Behavior.ScaleDown.StabilizationWindowSeconds) {
			down = max(down, old.count)
		}
	}
	return min(max(current, up), down)
}

// limit keeps the change within the policies of its direction, of which the one that allows the larger change holds; none is no
// limit.
func (h History) limit(now time.Time, f function.Function, current, want int) int {
	switch {
	case want > current && len(f.Scale.Behavior.ScaleUp.Policies) > 0:
		limit := math.MinInt
		for _, policy := range f.Scale.Behavior.ScaleUp.Policies {
			limit = max(limit, raised(policy, h.atPeriodStart(now, policy, current)))
		}
		return min(want, max(limit, current))
	case want < current && len(f.Scale.Behavior.ScaleDown.Policies) > 0:
		limit := math.MaxInt
		for _, policy := range f.Scale.Behavior.ScaleDown.Policies {
			limit = min(limit, lowered(policy, h.atPeriodStart(now, policy, current)))
		}
		return max(want, min(limit, current))
	}
	return want
}

// atPeriodStart is the count as it was before the changes within the policy's period.
func (h History) atPeriodStart(now time.Time, policy function.ScalePolicy, current int) int {
	for _, up := range h.ups {
		if !expired(now, up, policy.PeriodSeconds) {
			current -= up.count
		}
	}
	for _, down := range h.downs {
		if !expired(now, down, policy.PeriodSeconds) {
			current += down.count
		}
	}
	return current
}

func raised(policy function.ScalePolicy, from int) int {
	if policy.Type == function.PolicyPods {
		return from + policy.Value
	}
	return from + (from*policy.Value+99)/100
}

func lowered(policy function.ScalePolicy, from int) int {
	if policy.Type == function.PolicyPods {
		return from - policy.Value
	}
	return from * max(100-policy.Value, 0) / 100
}
