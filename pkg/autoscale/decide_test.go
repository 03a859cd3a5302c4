package autoscale_test

import (
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/autoscale"
	"github.com/sluicefaas/sluice/pkg/function"
)

var now = time.Date(2026, 3, 29, 1, 59, 0, 0, time.UTC)

// spec is a function with a timeout of five minutes.
func spec(least, atStart int) function.Function {
	f := function.Defaults("f", function.KindDeployment)
	f.ReplicasMin, f.ReplicasAtStart = least, atStart
	return f
}

func ago(d time.Duration) time.Time { return now.Add(-d) }

func TestDecide(t *testing.T) {
	long := ago(time.Hour)
	for _, c := range []struct {
		name     string
		f        function.Function
		s        autoscale.Signals
		replicas int
		reason   string
	}{
		{"queued wakes", spec(0, 1), autoscale.Signals{Depth: 3, DepthKnown: true, Since: long}, 1, "3 calls are queued: 1 replica to start"},
		{"held wakes", spec(0, 2), autoscale.Signals{InFlight: 1, DepthKnown: true, Since: long}, 2, "1 call is in flight: 2 replicas to start"},
		{"called wakes", spec(3, 2), autoscale.Signals{LastActivity: now, DepthKnown: true}, 3, "it was called: 3 replicas to start"},
		{"below the least, called", spec(2, 5), autoscale.Signals{Replicas: 1, Depth: 1, DepthKnown: true}, 5, "1 call is queued: 5 replicas to start"},
		{"below the least, idle", spec(2, 5), autoscale.Signals{DepthKnown: true, Since: long}, 2, "ReplicasMin: 2 replicas to start"},
		{"below the least, fresh", spec(2, 5), autoscale.Signals{Replicas: 1, DepthKnown: true, Since: now}, 2, "ReplicasMin: 2 replicas to start"},
		{"set higher by others, called", spec(1, 2), autoscale.Signals{Replicas: 9, LastActivity: ago(5 * time.Minute), DepthKnown: true}, 9, "in use"},
		{"set higher by others, idle", spec(1, 2), autoscale.Signals{Replicas: 9, LastActivity: ago(5*time.Minute + 1), DepthKnown: true}, 1, "no call for 5m0s: down to 1"},
		{"idle", spec(0, 1), autoscale.Signals{Replicas: 1, DepthKnown: true, Since: long}, 0, "no call for 5m0s: down to 0"},
		{"at the least", spec(1, 1), autoscale.Signals{Replicas: 1, DepthKnown: true, Since: long}, 1, "idle"},
		{"asleep", spec(0, 1), autoscale.Signals{DepthKnown: true, Since: now}, 0, "idle"},
		{"as deployed", spec(0, 1), autoscale.Signals{Replicas: 2, DepthKnown: true, Since: now}, 2, "left as deployed until its timeout of 5m0s has passed once"},
		{"a long call", spec(0, 1), autoscale.Signals{Replicas: 1, InFlight: 1, LastActivity: long, DepthKnown: true, Since: long}, 1, "in use"},
		{"fixed", spec(3, 3), autoscale.Signals{Replicas: 1, Fixed: true, Depth: 7, DepthKnown: true}, 1, "the count is fixed: the function runs elsewhere"},
		{"a clock that jumped back", spec(0, 1), autoscale.Signals{Replicas: 1, LastActivity: now.Add(time.Hour), DepthKnown: true}, 1, "in use"},
	} {
		got := autoscale.Decide(now, c.f, c.s)
		if got.Replicas != c.replicas || got.Reason != c.reason || !got.At.Equal(now) {
			t.Errorf("%s: got %d, %q; want %d, %q", c.name, got.Replicas, got.Reason, c.replicas, c.reason)
		}
	}
}

// Quota, scheduling and images stop a further raise and are its reason; from zero the start is tried, and the way down stays free.
func TestBlockedWorkloadGetsNoMore(t *testing.T) {
	long := ago(time.Hour)
	const quota = "a quota refuses more pods"
	for _, c := range []struct {
		name     string
		f        function.Function
		s        autoscale.Signals
		replicas int
		reason   string
	}{
		{"below the least, idle", spec(3, 5), autoscale.Signals{Replicas: 2, DepthKnown: true, Blocked: quota}, 2, "held at 2 replicas: a quota refuses more pods"},
		{"below the least, called", spec(3, 5), autoscale.Signals{Replicas: 1, Depth: 9, DepthKnown: true, Blocked: quota}, 1, "held at 1 replica: a quota refuses more pods"},
		{"below the least, unknown", spec(3, 5), autoscale.Signals{Replicas: 1, Blocked: quota}, 1, "held at 1 replica: a quota refuses more pods"},
		{"from zero, called", spec(0, 2), autoscale.Signals{Depth: 1, DepthKnown: true, Blocked: quota}, 2, "1 call is queued: 2 replicas to start"},
		{"from zero, least", spec(2, 1), autoscale.Signals{DepthKnown: true, Blocked: quota}, 2, "ReplicasMin: 2 replicas to start"},
		{"enough, called", spec(0, 2), autoscale.Signals{Replicas: 4, Depth: 1, DepthKnown: true, Blocked: quota}, 4, "in use"},
		{"down", spec(1, 2), autoscale.Signals{Replicas: 4, DepthKnown: true, Since: long, Blocked: quota}, 1, "no call for 5m0s: down to 1"},
		{"fixed", spec(3, 3), autoscale.Signals{Replicas: 1, Fixed: true, Blocked: quota}, 1, "the count is fixed: the function runs elsewhere"},
		{"lifted", spec(3, 5), autoscale.Signals{Replicas: 2, DepthKnown: true}, 3, "ReplicasMin: 3 replicas to start"},
	} {
		got := autoscale.Decide(now, c.f, c.s)
		if got.Replicas != c.replicas || got.Reason != c.reason {
			t.Errorf("%s: got %d, %q; want %d, %q", c.name, got.Replicas, got.Reason, c.replicas, c.reason)
		}
	}
}

// Row 17 of the bugs of others: a source that was away was read as "to the maximum" or as "to zero".
func TestUnknownDepthHoldsTheCount(t *testing.T) {
	long := ago(time.Hour)
	for _, c := range []struct {
		s        autoscale.Signals
		replicas int
		reason   string
	}{
		{autoscale.Signals{Replicas: 4, LastActivity: long, Since: long}, 4, "the queue cannot be read: the count stays"},
		{autoscale.Signals{Replicas: 0, Depth: 9, Since: long}, 0, "the queue cannot be read: the count stays"},
		{autoscale.Signals{Replicas: 0, InFlight: 2, Since: long}, 1, "2 calls are in flight: 1 replica to start"},
		{autoscale.Signals{Replicas: 2, InFlight: 2, Since: long}, 2, "in use"},
	} {
		got := autoscale.Decide(now, spec(0, 1), c.s)
		if got.Replicas != c.replicas || got.Reason != c.reason {
			t.Errorf("%+v: got %d, %q", c.s, got.Replicas, got.Reason)
		}
	}
}

func TestNextCheck(t *testing.T) {
	for _, c := range []struct {
		name string
		s    autoscale.Signals
		want time.Duration
	}{
		{"called", autoscale.Signals{Replicas: 1, DepthKnown: true, LastActivity: ago(time.Minute)}, 4*time.Minute + 1},
		{"as deployed", autoscale.Signals{Replicas: 1, DepthKnown: true, Since: ago(2 * time.Minute)}, 3*time.Minute + 1},
		{"the earlier one", autoscale.Signals{Replicas: 1, DepthKnown: true, LastActivity: ago(3 * time.Minute), Since: now}, 2*time.Minute + 1},
		{"idle", autoscale.Signals{DepthKnown: true, LastActivity: ago(time.Hour), Since: ago(time.Hour)}, 0},
		{"queued", autoscale.Signals{Replicas: 1, DepthKnown: true, Depth: 1, LastActivity: now}, 0},
		{"in flight", autoscale.Signals{Replicas: 1, DepthKnown: true, InFlight: 1, LastActivity: now}, 0},
		{"fixed", autoscale.Signals{Replicas: 1, Fixed: true, LastActivity: now}, 0},
	} {
		if got := autoscale.NextCheck(now, spec(0, 1), c.s); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}
