package autoscale_test

import (
	"math"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/autoscale"
	"github.com/sluicefaas/sluice/pkg/function"
)

// scaled is a function with triggers of a kind, each with the threshold 10, and no limit to the speed of changes.
func scaled(least, most int, kinds ...string) function.Function {
	f := spec(least, 1)
	f.Scale = &function.Scale{ReplicaMax: most, ScrapeIntervalMilliseconds: 5000}
	for _, kind := range kinds {
		f.Scale.Triggers = append(f.Scale.Triggers, function.Trigger{MetricType: kind, MetricName: "m", Threshold: 10})
	}
	return f
}

const (
	average = function.MetricAverageValue
	value   = function.MetricValue
)

// inUse are the signals of a function with a call in flight whose replicas are all ready, and the values of its triggers.
func inUse(replicas int, values ...float64) autoscale.Signals {
	s := autoscale.Signals{Replicas: replicas, Ready: replicas, InFlight: 1, DepthKnown: true, Since: ago(time.Hour), LastActivity: now}
	for _, v := range values {
		s.Readings = append(s.Readings, autoscale.Reading{Value: v})
	}
	return s
}

// idle is inUse without a call for an hour.
func idle(replicas int, values ...float64) autoscale.Signals {
	s := inUse(replicas, values...)
	s.InFlight, s.LastActivity = 0, ago(time.Hour)
	return s
}

func broken(s autoscale.Signals) autoscale.Signals {
	s.Readings = append(s.Readings, autoscale.Reading{Problem: "no data"})
	return s
}

func blocked(s autoscale.Signals) autoscale.Signals {
	s.Blocked = "a quota"
	return s
}

func unknown(s autoscale.Signals) autoscale.Signals {
	s.DepthKnown = false
	return s
}

// settled gives a function a history without a window that holds its count: the first look of a leader has passed.
func settled(f function.Function, s autoscale.Signals) autoscale.Signals {
	s.History = autoscale.Remember(ago(time.Hour), f, s, function.Decision{Replicas: s.Replicas})
	return s
}

func TestTriggersChooseTheCount(t *testing.T) {
	for _, c := range []struct {
		name     string
		f        function.Function
		s        autoscale.Signals
		replicas int
		reason   string
	}{
		{"AverageValue up", scaled(0, 10, average), inUse(1, 45), 5, "m is 45 (AverageValue, threshold 10): 5 replicas"},
		{"AverageValue exact", scaled(0, 10, average), inUse(1, 20), 2, "m is 20 (AverageValue, threshold 10): 2 replicas"},
		{"AverageValue has no tolerance", scaled(0, 10, average), inUse(2, 20.5), 3, "m is 20.5 (AverageValue, threshold 10): 3 replicas"},
		{"AverageValue down", scaled(0, 10, average), inUse(9, 25), 3, "m is 25 (AverageValue, threshold 10): down to 3"},
		{"Value up", scaled(0, 10, value), inUse(3, 15), 5, "m is 15 (Value, threshold 10): 5 replicas"},
		{"Value within tolerance", scaled(0, 10, value), inUse(3, 11), 3, "in use"},
		{"Value within tolerance below", scaled(0, 10, value), inUse(9, 9), 9, "in use"},
		{"Value above tolerance", scaled(0, 10, value), inUse(3, 11.01), 4, "m is 11.01 (Value, threshold 10): 4 replicas"},
		{"Value down", scaled(0, 10, value), inUse(8, 5), 4, "m is 5 (Value, threshold 10): down to 4"},
		{"the maximum of two", scaled(0, 10, average, average), inUse(1, 15, 35), 4, "m is 35 (AverageValue, threshold 10): 4 replicas"},
		{"ReplicaMax", scaled(0, 4, average), inUse(1, 9999), 4, "m is 9999 (AverageValue, threshold 10): 4 replicas"},
		{"no ReplicaMax", scaled(0, 0, average), inUse(1, math.MaxFloat64), function.MaxReplicas, "m is 1.79769e+308 (AverageValue, threshold 10): 10000 replicas"},
		{"others set more than ReplicaMax", scaled(0, 4, average), inUse(9, 80), 4, "ReplicaMax: down to 4"},
		{"not below ReplicasAtStart", scaled(0, 10, average), inUse(3, 0), 1, "m is 0 (AverageValue, threshold 10): down to 1, ReplicasAtStart"},
		{"not below ReplicasMin", scaled(2, 10, average), inUse(3, 0), 2, "m is 0 (AverageValue, threshold 10): 0 replicas wanted, 2 for now"},
		{"from zero", scaled(0, 10, average), inUse(0, 45), 5, "1 call is in flight: 5 replicas to start"},
		{"idle", scaled(0, 10, average), idle(3, 0), 0, "no call for 5m0s: down to 0"},
		{"idle, wanted", scaled(0, 10, average), idle(3, 15), 2, "m is 15 (AverageValue, threshold 10): down to 2"},
		{"idle, wanted as it is", scaled(0, 10, average), idle(2, 15), 2, "idle, but its triggers want it"},
		{"idle, wanted more", scaled(0, 10, average), idle(2, 35), 4, "m is 35 (AverageValue, threshold 10): 4 replicas"},
		{"only activity wakes", scaled(0, 10, average), idle(0, 35), 0, "idle"},
		{"one invalid, up", scaled(0, 10, average, average), broken(inUse(1, 25)), 3, "m is 25 (AverageValue, threshold 10): 3 replicas"},
		{"one invalid, not down", scaled(0, 10, average, average), broken(inUse(8, 25)), 8, "in use"},
		{"all invalid", scaled(0, 10, average), broken(inUse(8)), 8, "in use"},
		{"none read yet", scaled(0, 10, average, average), inUse(8, 1), 8, "in use"},
		{"all invalid, idle", scaled(1, 10, average), broken(idle(8)), 1, "no call for 5m0s: down to 1"},
		{"one invalid, idle", scaled(1, 10, average, average), broken(idle(8, 10)), 1, "no call for 5m0s: down to 1"},
		{"one invalid, idle, wanted", scaled(1, 10, average, average), broken(idle(8, 20)), 8, "idle, but its triggers want it"},
		{"negative", scaled(0, 10, average), inUse(8, -1), 8, "in use"},
		{"not a number", scaled(0, 10, average), inUse(8, math.NaN()), 8, "in use"},
		{"infinite", scaled(0, 10, average), inUse(2, math.Inf(1)), 2, "in use"},
		{"blocked, up", scaled(0, 10, average), blocked(inUse(2, 45)), 2, "in use"},
		{"blocked, down", scaled(0, 10, average), blocked(inUse(8, 45)), 5, "m is 45 (AverageValue, threshold 10): down to 5"},
		{"queue unknown, down", scaled(0, 10, average), unknown(inUse(8, 45)), 8, "in use"},
		{"queue unknown, up", scaled(0, 10, average), unknown(inUse(3, 45)), 5, "m is 45 (AverageValue, threshold 10): 5 replicas"},
		{"queue unknown, idle", scaled(0, 10, average), unknown(idle(3, 0)), 3, "the queue cannot be read: the count stays"},
	} {
		s := settled(c.f, c.s)
		got := autoscale.Decide(now, c.f, s)
		if got.Replicas != c.replicas || got.Reason != c.reason {
			t.Errorf("%s: got %d, %q; want %d, %q", c.name, got.Replicas, got.Reason, c.replicas, c.reason)
		}
	}
}

// What is not ready yet is not multiplied: with the count in its place, a figure that stays at twice the threshold would double the
// count with every look while replicas start.
func TestStartingReplicasAreNotMultiplied(t *testing.T) {
	f := scaled(0, 100, value)
	for _, c := range []struct{ replicas, ready, want int }{{1, 1, 2}, {2, 1, 2}, {2, 0, 2}, {2, 2, 4}, {4, 3, 6}, {8, 3, 8}} {
		s := inUse(c.replicas, 20)
		s.Ready = c.ready
		if got := autoscale.Decide(now, f, s); got.Replicas != c.want {
			t.Errorf("%d of %d ready: %d replicas, want %d", c.ready, c.replicas, got.Replicas, c.want)
		}
	}
}

func TestTriggersWakeFromZeroIfAllowed(t *testing.T) {
	f := scaled(0, 10, average)
	f.Scale.WakeFromZero = true
	if got := autoscale.Decide(now, f, idle(0, 12)); got.Replicas != 2 || got.Reason != "m is 12 (AverageValue, threshold 10): 2 replicas to start" {
		t.Errorf("got %+v", got)
	}
	for name, s := range map[string]autoscale.Signals{"nothing wanted": idle(0, 0), "invalid": broken(idle(0))} {
		if got := autoscale.Decide(now, f, s); got.Replicas != 0 {
			t.Errorf("%s: got %+v", name, got)
		}
	}
	waiting := idle(0, 12)
	waiting.Waits = []string{"b (0 of 1 ready)"}
	if got := autoscale.Decide(now, f, waiting); got.Replicas != 0 || got.Reason != "waits for b (0 of 1 ready)" || !autoscale.Waits(now, f, waiting) {
		t.Errorf("got %+v", got)
	}
	if !autoscale.InUse(now, f, idle(1, 12)) || autoscale.InUse(now, f, idle(1, 0)) {
		t.Error("what it depends on sleeps although its triggers want it, or does not although they do not")
	}
}

// Binary fractions are not exact: 1.1/0.1 is above 11.
func TestThresholdsWithFractionsAreExact(t *testing.T) {
	f := scaled(0, 100, average)
	for v, want := range map[float64]int{1.1: 11, 0.7: 7, 0.3: 3, 0.31: 4} {
		f.Scale.Triggers[0].Threshold = 0.1
		if got := autoscale.Decide(now, f, inUse(1, v)); got.Replicas != want {
			t.Errorf("%v of 0.1: %d replicas, want %d", v, got.Replicas, want)
		}
	}
}

func TestNextCheckIsWhenFiguresAreDue(t *testing.T) {
	f := scaled(0, 10, average)
	for name, c := range map[string]struct {
		s    autoscale.Signals
		want time.Duration
	}{
		"in use": {inUse(1, 1), 5 * time.Second},
		"idle":   {idle(1, 1), 5 * time.Second},
		"asleep": {idle(0), 0},
	} {
		if got := autoscale.NextCheck(now, f, c.s); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	f.Scale.WakeFromZero = true
	if got := autoscale.NextCheck(now, f, idle(0)); got != 5*time.Second {
		t.Errorf("a function that its triggers may wake is looked at after %v", got)
	}
}

func TestReadingSaysWhatIsWrong(t *testing.T) {
	for want, r := range map[string]autoscale.Reading{
		"": {Value: 1}, "no data": {Problem: "no data"}, "its value is negative": {Value: -1},
		"its value is not a number": {Value: math.NaN()}, "its value is infinite": {Value: math.Inf(1)},
	} {
		if got := r.Check(); got != want {
			t.Errorf("%+v: %q, want %q", r, got, want)
		}
	}
}
