package autoscale_test

import (
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/autoscale"
	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/pkg/schedule"
	"pgregory.net/rapid"
)

func drawFunction(t *rapid.T) function.Function {
	f := spec(rapid.IntRange(0, 5).Draw(t, "least"), rapid.IntRange(0, 5).Draw(t, "atStart"))
	if rapid.IntRange(0, 2).Draw(t, "scheduled") == 0 {
		f.Schedule = &schedule.Schedule{TimeZoneID: "Europe/Paris"}
		for _, clock := range rapid.SliceOfN(rapid.IntRange(2*60+30, 3*60+30), 0, 3).Draw(t, "wake up") {
			f.Schedule.WakeUp = append(f.Schedule.WakeUp, schedule.Clock(clock))
		}
		for _, clock := range rapid.SliceOfN(rapid.IntRange(0, 24*60-1), 0, 3).Draw(t, "timeouts") {
			f.Schedule.ScaleDownTimeout = append(f.Schedule.ScaleDownTimeout, schedule.Timeout{Time: schedule.Clock(clock), Value: clock})
		}
	}
	f.WakeWithAny = rapid.Bool().Draw(t, "wake with any")
	f.TimeoutSecondBeforeSetReplicasMin = rapid.SampledFrom([]int{0, 1, 30, 300}).Draw(t, "timeout")
	return f
}

func drawSignals(t *rapid.T) autoscale.Signals {
	return autoscale.Signals{
		Replicas:     rapid.IntRange(0, 8).Draw(t, "replicas"),
		Depth:        rapid.Int64Range(0, 3).Draw(t, "depth"),
		DepthKnown:   rapid.Bool().Draw(t, "known"),
		InFlight:     rapid.IntRange(0, 2).Draw(t, "inFlight"),
		LastActivity: drawTime(t, "last"),
		Since:        drawTime(t, "since"),
		Fixed:        rapid.IntRange(0, 9).Draw(t, "fixed") == 0,
		Blocked:      rapid.SampledFrom([]string{"", "", "a quota refuses more pods"}).Draw(t, "blocked"),
		NeverCalled:  rapid.IntRange(0, 3).Draw(t, "never called") == 0,
		Waits:        rapid.SliceOfN(rapid.Just("b (unknown)"), 0, 2).Draw(t, "waits"),
		Dependents:   drawOthers(t, "dependents"),
		Any:          drawOthers(t, "any"),
	}
}

func drawOthers(t *rapid.T, label string) autoscale.Others {
	if rapid.Bool().Draw(t, label+" are none") {
		return autoscale.Others{}
	}
	waiting := rapid.Bool().Draw(t, label+" wait")
	return autoscale.Others{InUse: waiting || rapid.Bool().Draw(t, label+" in use"), Waiting: waiting, LastActivity: drawTime(t, label)}
}

func drawTime(t *rapid.T, label string) time.Time {
	if rapid.Bool().Draw(t, label+" is zero") {
		return time.Time{}
	}
	return ago(time.Duration(rapid.IntRange(-5, 400).Draw(t, label)) * time.Second)
}

func TestDecisionsHoldTheirRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { requireRules(t, drawFunction(t), drawSignals(t)) })
}

type fataler interface {
	Fatalf(format string, args ...any)
}

// isActive says in another way than the package what activity is.
func isActive(f function.Function, s autoscale.Signals) bool {
	timeout, wakeUp := f.IdleTimeout(), time.Time{}
	if f.Schedule != nil {
		if inForce, ok := f.Schedule.IdleTimeout(now); ok {
			timeout = inForce
		}
		wakeUp, _ = f.Schedule.LatestWakeUp(now)
	}
	recent := func(at time.Time) bool { return !at.IsZero() && now.Sub(at) <= timeout }
	return s.InFlight > 0 || s.DepthKnown && s.Depth > 0 || recent(s.LastActivity) || recent(wakeUp) || s.Dependents.InUse || recent(s.Dependents.LastActivity) ||
		f.WakeWithAny && (s.Any.InUse || recent(s.Any.LastActivity)) || s.NeverCalled && recent(s.Since)
}

// requireRules states what holds for every function and all signals.
func requireRules(t fataler, f function.Function, s autoscale.Signals) {
	d := autoscale.Decide(now, f, s)
	called := isActive(f, s)
	switch {
	case d.Replicas < 0 || d.Reason == "":
		t.Fatalf("negative or without a reason: %+v", d)
	case s.Fixed && d.Replicas != max(s.Replicas, 0):
		t.Fatalf("a fixed count was changed: %+v for %+v", d, s)
	case s.Fixed:
		return
	case s.Blocked != "" && s.Replicas > 0 && d.Replicas > s.Replicas:
		t.Fatalf("raised although blocked: %+v for %+v", d, s)
	case d.Replicas < f.ReplicasMin && (s.Blocked == "" || s.Replicas <= 0):
		t.Fatalf("below ReplicasMin: %+v for %+v", d, s)
	case s.Replicas <= 0 && f.ReplicasMin <= 0 && !called && d.Replicas > 0:
		t.Fatalf("woken without activity: %+v for %+v", d, s)
	case s.Replicas <= 0 && f.ReplicasMin <= 0 && len(s.Waits) > 0 && d.Replicas > 0:
		t.Fatalf("started before what it depends on: %+v for %+v", d, s)
	case called && d.Replicas == 0 && (s.Replicas > 0 || len(s.Waits) == 0):
		t.Fatalf("asleep with activity: %+v for %+v", d, s)
	case (called || !s.DepthKnown) && d.Replicas < s.Replicas:
		t.Fatalf("lowered while called or unknown: %+v for %+v", d, s)
	case s.Replicas > 0 && d.Replicas < s.Replicas && d.Replicas != max(f.ReplicasMin, 0):
		t.Fatalf("lowered to something else than ReplicasMin: %+v for %+v", d, s)
	}
	s.Replicas = d.Replicas
	if again := autoscale.Decide(now, f, s); again.Replicas != d.Replicas {
		t.Fatalf("%+v, then at once %+v", d, again)
	}
}

// Until NextCheck nothing changes; a check that would change the answer is never missed.
func TestTimeAloneChangesNothingBeforeNextCheck(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f, s := drawFunction(t), drawSignals(t)
		next := autoscale.NextCheck(now, f, s)
		if next < 0 {
			t.Fatalf("negative: %v", next)
		}
		horizon := next
		if next == 0 {
			horizon = 24 * time.Hour
		}
		at := now.Add(time.Duration(rapid.Int64Range(0, int64(horizon)-1).Draw(t, "at")))
		before, after := autoscale.Decide(now, f, s), autoscale.Decide(at, f, s)
		if before.Replicas != after.Replicas || before.Reason != after.Reason {
			t.Fatalf("%+v became %+v before %v had passed", before, after, next)
		}
	})
}

func FuzzDecide(f *testing.F) {
	f.Add(0, 1, 300, 0, int64(3), true, 0, int64(10), int64(0), false)
	f.Add(2, 1, 0, 5, int64(-1), false, -3, int64(-1<<62), int64(1<<62), true)
	f.Fuzz(func(t *testing.T, least, atStart, timeout, replicas int, depth int64, known bool, inFlight int, last, since int64, fixed bool) {
		spec := spec(least, atStart)
		spec.TimeoutSecondBeforeSetReplicasMin = timeout
		s := autoscale.Signals{Replicas: replicas, Depth: depth, DepthKnown: known, InFlight: inFlight, Fixed: fixed,
			LastActivity: now.Add(time.Duration(last)), Since: now.Add(time.Duration(since))}
		requireRules(t, spec, s)
		if next := autoscale.NextCheck(now, spec, s); next < 0 {
			t.Fatalf("negative wait %v", next)
		}
	})
}
