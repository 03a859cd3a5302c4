package autoscale

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/sluicefaas/sluice/pkg/function"
)

// Reading is the newest figure of one trigger.
type Reading struct {
	Value float64
	// Problem says in words why there is no value, "" if there is one.
	Problem string
}

// Check says in words what is wrong with the reading, "" if it is valid. Nothing is done about a value that is not a number, infinite or
// negative: it stands for a source that is broken, not for load.
func (r Reading) Check() string {
	switch {
	case r.Problem != "":
		return r.Problem
	case math.IsNaN(r.Value):
		return "its value is not a number"
	case math.IsInf(r.Value, 0):
		return "its value is infinite"
	case r.Value < 0:
		return "its value is negative"
	}
	return ""
}

// tolerance is how far from the threshold a figure of the kind Value may be without any change, as a part of it: that of Kubernetes.
const tolerance = 0.1

// Triggered reports whether the triggers of f are worth reading now: without replicas only those that may wake it are.
func Triggered(f function.Function, s Signals) bool {
	return len(triggers(f)) > 0 && !s.Fixed && (s.Replicas > 0 || wakesFromZero(f))
}

func triggers(f function.Function) []function.Trigger {
	if f.Scale == nil {
		return nil
	}
	return f.Scale.Triggers
}

func wakesFromZero(f function.Function) bool {
	return f.Scale != nil && f.Scale.WakeFromZero && len(f.Scale.Triggers) > 0
}

// most is the largest count that f may have.
func most(f function.Function) int {
	if f.Scale == nil {
		return math.MaxInt
	}
	if f.Scale.ReplicaMax <= 0 {
		return max(function.MaxReplicas, f.ReplicasMin)
	}
	return max(f.Scale.ReplicaMax, f.ReplicasMin)
}

// wish is what the triggers want.
type wish struct {
	// count is the maximum over the valid triggers, limited what the behavior of f makes of it now.
	count, limited int
	// trigger is the one that wants most, value its figure.
	trigger function.Trigger
	value   float64
	// whole says that every trigger is valid, so that the count may be lowered.
	whole bool
}

// wanted asks all triggers. One that is not valid never lowers the count, and raises it no more than the others do.
func wanted(now time.Time, f function.Function, s Signals) wish {
	w, current := wish{count: -1, whole: true}, max(s.Replicas, 0)
	for i, trigger := range triggers(f) {
		reading := Reading{Problem: "not read yet"}
		if i < len(s.Readings) {
			reading = s.Readings[i]
		}
		if reading.Check() != "" || !(trigger.Threshold > 0) {
			w.whole = false
			continue
		}
		if count := desired(trigger, reading.Value, s); count > w.count {
			w.count, w.trigger, w.value = count, trigger, reading.Value
		}
	}
	w.count = min(w.count, most(f))
	w.limited = current
	if w.recorded(current) {
		w.limited = s.History.behave(now, f, current, max(w.count, f.ReplicasMin))
	}
	w.limited = min(max(w.limited, f.ReplicasMin), most(f))
	return w
}

// desired is what one trigger wants. Of the kind Value it is in proportion to the count that there is. On the way up, replicas that are
// not ready yet do not count, as with Kubernetes: they would be multiplied again with each look while they start.
func desired(trigger function.Trigger, value float64, s Signals) int {
	ratio := value / trigger.Threshold
	if trigger.MetricType != function.MetricValue {
		return ceil(ratio)
	}
	current := max(s.Replicas, 1)
	switch {
	case s.Replicas <= 0:
		return ceil(ratio)
	case 1-tolerance <= ratio && ratio <= 1+tolerance:
		return current
	case ratio < 1:
		return ceil(float64(current) * ratio)
	}
	return max(current, ceil(float64(min(max(s.Ready, 1), current))*ratio))
}

// ceil rounds up, but for what is above a whole number only because binary fractions are not exact.
func ceil(x float64) int {
	const exactness = 1e-9
	return int(math.Ceil(min(x, function.MaxReplicas) * (1 - exactness)))
}

func number(x float64) string { return strconv.FormatFloat(x, 'g', 6, 64) }

// reason is the figure that wants most.
func (w wish) reason() string {
	return fmt.Sprintf("%s is %s (%s, threshold %s)", w.trigger.MetricName, number(w.value), w.trigger.MetricType, number(w.trigger.Threshold))
}

// says is the reason for the change from current to w.limited.
func (w wish) says(current int) string {
	switch {
	case w.limited == w.count && w.limited < current:
		return fmt.Sprintf("%s: down to %d", w.reason(), w.limited)
	case w.limited == w.count:
		return fmt.Sprintf("%s: %s", w.reason(), inReplicas(w.limited))
	}
	return fmt.Sprintf("%s: %s wanted, %d for now", w.reason(), inReplicas(w.count), w.limited)
}
