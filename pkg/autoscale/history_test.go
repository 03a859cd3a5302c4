package autoscale_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/autoscale"
	"github.com/sluicefaas/sluice/pkg/function"
	"pgregory.net/rapid"
)

// run is a function in use over time, whose trigger (AverageValue, threshold 1) wants what step is told.
type run struct {
	f        function.Function
	at       time.Time
	replicas int
	history  autoscale.History
}

func newRun(replicas int, behavior function.Behavior) *run {
	f := scaled(0, 1000, average)
	f.Scale.Triggers[0].Threshold = 1
	f.Scale.Behavior = behavior
	return &run{f: f, at: now, replicas: replicas}
}

// step lets a time pass and returns the count when the trigger wants want then.
func (r *run) step(after time.Duration, want float64) int {
	r.at = r.at.Add(after)
	s := autoscale.Signals{Replicas: r.replicas, Ready: r.replicas, InFlight: 1, DepthKnown: true, Readings: []autoscale.Reading{{Value: want}}, History: r.history}
	d := autoscale.Decide(r.at, r.f, s)
	r.history = autoscale.Remember(r.at, r.f, s, d)
	r.replicas = d.Replicas
	return r.replicas
}

func percent(value, period int) function.ScalePolicy {
	return function.ScalePolicy{Type: function.PolicyPercent, Value: value, PeriodSeconds: period}
}

func pods(value, period int) function.ScalePolicy {
	return function.ScalePolicy{Type: function.PolicyPods, Value: value, PeriodSeconds: period}
}

func rules(window int, policies ...function.ScalePolicy) function.ScaleRules {
	return function.ScaleRules{StabilizationWindowSeconds: window, Policies: policies}
}

// standardBehavior is the default of Kubernetes.
var standardBehavior = function.Behavior{ScaleUp: rules(0, percent(100, 15), pods(4, 15)), ScaleDown: rules(300, percent(100, 15))}

// The tables are reckoned by hand from the documented rules of Kubernetes' HorizontalPodAutoscaler, autoscaling/v2.
func TestBehaviorIsThatOfKubernetes(t *testing.T) {
	type step struct {
		after time.Duration
		wants float64
		count int
	}
	const s15 = 15 * time.Second
	for name, c := range map[string]struct {
		from     int
		behavior function.Behavior
		steps    []step
	}{
		"the larger policy holds, up: 4 pods, later 100 %": {1, standardBehavior, []step{
			{0, 100, 5}, {time.Second, 100, 5}, {s15 - time.Second, 100, 10}, {s15, 100, 20}, {s15, 100, 40}, {s15, 100, 80}, {s15, 100, 100},
		}},
		"a period counts what was added within it": {10, function.Behavior{ScaleUp: rules(0, pods(4, 60))}, []step{
			{0, 12, 12}, {30 * time.Second, 50, 14}, {20 * time.Second, 50, 14}, {10 * time.Second, 50, 16}, {30 * time.Second, 50, 18},
		}},
		"percent rounds up": {1, function.Behavior{ScaleUp: rules(0, percent(10, 60))}, []step{{0, 50, 2}, {time.Minute, 50, 3}}},
		"down by 10 % rounds the change up": {80, function.Behavior{ScaleDown: rules(0, percent(10, 60))}, []step{
			{time.Second, 1, 72}, {59 * time.Second, 1, 72}, {time.Second, 1, 64}, {time.Minute, 1, 57},
		}},
		"the larger policy holds, down: 10 %, later 4 pods": {50, function.Behavior{ScaleDown: rules(0, percent(10, 60), pods(4, 60))}, []step{
			{time.Second, 1, 45}, {time.Minute, 1, 40}, {time.Minute, 1, 36}, {time.Minute, 1, 32},
		}},
		"what was lowered within the period may be raised again": {10, function.Behavior{ScaleUp: rules(0, pods(1, 60))}, []step{
			{time.Second, 10, 10}, {time.Minute, 4, 4}, {time.Second, 50, 11}, {time.Second, 50, 11},
		}},
		"down waits for the window to pass": {10, standardBehavior, []step{
			{0, 10, 10}, {time.Minute, 3, 10}, {time.Minute, 5, 10}, {3*time.Minute - 1, 2, 10}, {1, 2, 5}, {time.Minute, 2, 5}, {time.Minute, 2, 2},
		}},
		"a new high within the window begins it anew": {10, standardBehavior, []step{
			{0, 10, 10}, {4 * time.Minute, 3, 10}, {30 * time.Second, 9, 10}, {30 * time.Second, 3, 9}, {4*time.Minute + 30*time.Second, 3, 3},
		}},
		"a leader that is new lowers nothing at once": {10, standardBehavior, []step{{0, 2, 10}, {5*time.Minute - 1, 2, 10}, {1, 2, 2}}},
		"up waits for the window to pass": {2, function.Behavior{ScaleUp: rules(60)}, []step{
			{0, 2, 2}, {10 * time.Second, 8, 2}, {20 * time.Second, 6, 2}, {30*time.Second - 1, 9, 2}, {1, 9, 6}, {10 * time.Second, 9, 6}, {20 * time.Second, 9, 9},
		}},
		"no policy is no limit": {1, function.Behavior{}, []step{{time.Second, 1, 1}, {0, 700, 700}, {0, 3, 3}}},
		"stabilised first, then limited": {10, function.Behavior{ScaleDown: rules(60, pods(2, 60))}, []step{
			{0, 10, 10}, {30 * time.Second, 1, 10}, {30 * time.Second, 1, 8}, {30 * time.Second, 1, 8}, {30 * time.Second, 1, 6},
		}},
	} {
		r := newRun(c.from, c.behavior)
		for i, s := range c.steps {
			if got := r.step(s.after, s.wants); got != s.count {
				t.Errorf("%s: step %d: %d replicas, want %d", name, i, got, s.count)
				break
			}
		}
	}
}

// Going to sleep and waking are no steps of the policies.
func TestSleepDoesNotCountForPolicies(t *testing.T) {
	r := newRun(8, function.Behavior{ScaleUp: rules(0, pods(2, 600))})
	r.step(0, 8)
	r.replicas = 0 // idle
	r.replicas = 1 // woken
	if got := r.step(time.Second, 50); got != 3 {
		t.Errorf("%d replicas after the first look, want 1 and 2 more", got)
	}
}

func drawBehavior(t *rapid.T) function.Behavior {
	draw := func(name string) function.ScaleRules {
		r := function.ScaleRules{StabilizationWindowSeconds: rapid.SampledFrom([]int{0, 0, 10, 60, 300}).Draw(t, name+" window")}
		for range rapid.IntRange(1, 3).Draw(t, name+" policies") {
			r.Policies = append(r.Policies, function.ScalePolicy{
				Type:          rapid.SampledFrom([]string{function.PolicyPercent, function.PolicyPods}).Draw(t, name+" type"),
				Value:         rapid.IntRange(1, 120).Draw(t, name+" value"),
				PeriodSeconds: rapid.SampledFrom([]int{1, 15, 60, 600}).Draw(t, name+" period"),
			})
		}
		return r
	}
	return function.Behavior{ScaleUp: draw("up"), ScaleDown: draw("down")}
}

// change is one that the test has seen.
type change struct {
	at time.Time
	by int
}

// allowed is the count that the policies allow at most (or at least), reckoned from all changes that were seen.
func allowed(r *run, changes []change, policies []function.ScalePolicy, direction int) int {
	best := math.MinInt
	for _, policy := range policies {
		from := r.replicas
		for _, c := range changes {
			if c.at.After(r.at.Add(-time.Duration(policy.PeriodSeconds) * time.Second)) {
				from -= c.by
			}
		}
		to := from + direction*policy.Value
		if policy.Type == function.PolicyPercent {
			to = from + direction*int(math.Ceil(float64(from*policy.Value)/100))
		}
		best = max(best, direction*to)
	}
	return direction * best
}

func TestRateIsNeverAboveThePolicies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRun(rapid.IntRange(1, 50).Draw(t, "from"), drawBehavior(t))
		var changes []change
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			after := time.Duration(rapid.SampledFrom([]int{0, 1, 5, 15, 100}).Draw(t, "after")) * time.Second
			r.at = r.at.Add(after)
			before := r.replicas
			most, least := allowed(r, changes, r.f.Scale.Behavior.ScaleUp.Policies, 1), allowed(r, changes, r.f.Scale.Behavior.ScaleDown.Policies, -1)
			count := r.step(0, rapid.Float64Range(1, 200).Draw(t, "wants"))
			if count > before && count > most || count < before && count < least {
				t.Fatalf("from %d to %d, allowed are %d to %d; changes %v", before, count, least, most, changes)
			}
			if count != before {
				changes = append(changes, change{r.at, count - before})
			}
		}
	})
}

// The count is lowered no further than to the largest count that was wanted within the window, and raised no further than the least.
func TestWindowsHold(t *testing.T) {
	type sample struct {
		at   time.Time
		want int
	}
	rapid.Check(t, func(t *rapid.T) {
		r := newRun(rapid.IntRange(1, 50).Draw(t, "from"), drawBehavior(t))
		wants := []sample{{r.at, r.replicas}}
		for range rapid.IntRange(1, 150).Draw(t, "steps") {
			after, want := rapid.IntRange(0, 30).Draw(t, "after"), rapid.IntRange(1, 60).Draw(t, "wants")
			before := r.replicas
			count := r.step(time.Duration(after)*time.Second, float64(want))
			wants = append(wants, sample{r.at, want})
			least, most := want, want
			for _, w := range wants {
				if w.at.After(r.at.Add(-time.Duration(r.f.Scale.Behavior.ScaleDown.StabilizationWindowSeconds) * time.Second)) {
					most = max(most, w.want)
				}
				if w.at.After(r.at.Add(-time.Duration(r.f.Scale.Behavior.ScaleUp.StabilizationWindowSeconds) * time.Second)) {
					least = min(least, w.want)
				}
			}
			if count < before && count < most || count > before && count > least {
				t.Fatalf("from %d to %d, wanted were %v", before, count, wants)
			}
		}
	})
}

func drawReading(t *rapid.T) autoscale.Reading {
	if rapid.IntRange(0, 3).Draw(t, "broken") == 0 {
		return rapid.SampledFrom([]autoscale.Reading{{Problem: "no data"}, {Value: math.NaN()}, {Value: -1}, {Value: math.Inf(1)}}).Draw(t, "reading")
	}
	return autoscale.Reading{Value: rapid.Float64Range(0, 500).Draw(t, "value")}
}

// drawScaled is a function with triggers and signals for it.
func drawScaled(t *rapid.T) (function.Function, autoscale.Signals) {
	kinds := rapid.SliceOfN(rapid.SampledFrom([]string{average, value}), 1, 3).Draw(t, "kinds")
	f := scaled(rapid.IntRange(0, 5).Draw(t, "least"), rapid.IntRange(0, 40).Draw(t, "most"), kinds...)
	f.ReplicasAtStart = rapid.IntRange(1, 5).Draw(t, "atStart")
	f.Scale.WakeFromZero = rapid.Bool().Draw(t, "wakes")
	f.Scale.Behavior = drawBehavior(t)
	s := drawSignals(t)
	s.Ready = rapid.IntRange(0, s.Replicas).Draw(t, "ready")
	for range kinds {
		s.Readings = append(s.Readings, drawReading(t))
	}
	for range rapid.IntRange(0, 5).Draw(t, "before") {
		earlier := s
		earlier.Replicas, earlier.Readings = rapid.IntRange(1, 20).Draw(t, "earlier"), []autoscale.Reading{drawReading(t)}
		at := ago(time.Duration(rapid.IntRange(1, 100).Draw(t, "ago")) * time.Second)
		s.History = autoscale.Remember(at, f, earlier, autoscale.Decide(at, f, earlier))
	}
	return f, s
}

func TestTriggersHoldTheirRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f, s := drawScaled(t)
		d := autoscale.Decide(now, f, s)
		valid := !slices.ContainsFunc(s.Readings, func(r autoscale.Reading) bool { return r.Check() != "" })
		most := max(f.Scale.ReplicaMax, f.ReplicasMin)
		if f.Scale.ReplicaMax == 0 {
			most = function.MaxReplicas
		}
		active := isActive(f, s)
		switch {
		case d.Reason == "":
			t.Fatalf("no reason: %+v", d)
		case s.Fixed:
			return
		case d.Replicas > most && d.Replicas > s.Replicas || d.Replicas > most && s.DepthKnown && active:
			t.Fatalf("%+v is more than %d", d, most)
		case d.Replicas < f.ReplicasMin && s.Blocked == "":
			t.Fatalf("%+v is less than ReplicasMin %d", d, f.ReplicasMin)
		case active && !valid && d.Replicas < min(s.Replicas, most):
			t.Fatalf("from %d down to %+v with an invalid trigger", s.Replicas, d)
		case active && d.Replicas < min(s.Replicas, f.ReplicasAtStart, most):
			t.Fatalf("from %d down to %+v, below ReplicasAtStart", s.Replicas, d)
		case !s.DepthKnown && d.Replicas < s.Replicas:
			t.Fatalf("from %d down to %+v while NATS is away", s.Replicas, d)
		case s.Blocked != "" && s.Replicas > 0 && d.Replicas > s.Replicas:
			t.Fatalf("from %d up to %+v although blocked", s.Replicas, d)
		case s.Replicas == 0 && d.Replicas > f.ReplicasMin && !active && !f.Scale.WakeFromZero:
			t.Fatalf("woken by a trigger: %+v", d)
		}
	})
}

func TestMoreIsNeverLess(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f, s := drawScaled(t)
		before := autoscale.Decide(now, f, s)
		s.Readings = slices.Clone(s.Readings)
		i := rapid.IntRange(0, len(s.Readings)-1).Draw(t, "trigger")
		if s.Readings[i].Check() != "" {
			return
		}
		s.Readings[i].Value += rapid.Float64Range(0, 300).Draw(t, "more")
		if after := autoscale.Decide(now, f, s); after.Replicas < before.Replicas {
			t.Fatalf("%+v became %+v with a larger figure", before, after)
		}
	})
}

func FuzzTriggers(f *testing.F) {
	f.Add(3, 3, 10, 45.0, 10.0, 100, 15, 300, int64(1))
	f.Add(-1, 99, -5, math.Inf(1), 0.0, -7, -1, -1, int64(-1))
	f.Fuzz(func(t *testing.T, replicas, ready, most int, figure, threshold float64, policy, period, window int, after int64) {
		f := scaled(0, most%function.MaxReplicas, average, value)
		for i := range f.Scale.Triggers {
			f.Scale.Triggers[i].Threshold = threshold
		}
		f.Scale.Behavior = function.Behavior{ScaleUp: rules(window, pods(policy%1e6, period), percent(policy%1e6, period)), ScaleDown: rules(window, percent(policy%1e6, period))}
		s := inUse(replicas%function.MaxReplicas, figure, figure)
		s.Ready = ready
		at := now
		for range 3 {
			d := autoscale.Decide(at, f, s)
			if d.Replicas < 0 || d.Replicas > function.MaxReplicas || d.Reason == "" {
				t.Fatalf("%+v", d)
			}
			s.History = autoscale.Remember(at, f, s, d)
			s.Replicas = d.Replicas
			at = at.Add(time.Duration(after))
		}
	})
}
