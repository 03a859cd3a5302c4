package autoscale_test

import (
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/autoscale"
	"github.com/sluicefaas/sluice/pkg/function"
)

func with(s autoscale.Signals, edit func(*autoscale.Signals)) autoscale.Signals {
	edit(&s)
	return s
}

func TestOtherFunctionsWake(t *testing.T) {
	asleep := autoscale.Signals{DepthKnown: true, Since: ago(time.Hour)}
	up := with(asleep, func(s *autoscale.Signals) { s.Replicas = 1 })
	withAny := spec(0, 1)
	withAny.WakeWithAny = true
	waits := []string{"b (0 of 1 ready)", "c (unknown)"}
	for _, c := range []struct {
		name     string
		f        function.Function
		s        autoscale.Signals
		replicas int
		reason   string
	}{
		{"a dependent is in use", spec(0, 2), with(asleep, func(s *autoscale.Signals) { s.Dependents.InUse = true }), 2, "a function that depends on it is called: 2 replicas to start"},
		{"a dependent was called", spec(0, 1), with(asleep, func(s *autoscale.Signals) { s.Dependents.LastActivity = ago(5 * time.Minute) }), 1, "a function that depends on it is called: 1 replica to start"},
		{"a dependent was called long ago", spec(0, 1), with(up, func(s *autoscale.Signals) { s.Dependents.LastActivity = ago(5*time.Minute + 1) }), 0, "no call for 5m0s: down to 0"},
		{"a dependent keeps it", spec(0, 1), with(up, func(s *autoscale.Signals) { s.Dependents.InUse = true }), 1, "in use"},
		{"a dependent waits for more", spec(1, 3), with(up, func(s *autoscale.Signals) { s.Dependents = autoscale.Others{InUse: true, Waiting: true} }), 3, "a function that depends on it waits: 3 replicas to start"},
		{"a dependent waits, blocked", spec(1, 3), with(up, func(s *autoscale.Signals) {
			s.Dependents, s.Blocked = autoscale.Others{InUse: true, Waiting: true}, "a quota"
		}), 1, "in use"},
		{"any call wakes", withAny, with(asleep, func(s *autoscale.Signals) { s.Any.LastActivity = now }), 1, "another function is called: 1 replica to start"},
		{"any call in flight wakes", withAny, with(asleep, func(s *autoscale.Signals) { s.Any.InUse = true }), 1, "another function is called: 1 replica to start"},
		{"any call is nothing to others", spec(0, 1), with(asleep, func(s *autoscale.Signals) { s.Any = autoscale.Others{InUse: true, LastActivity: now} }), 0, "idle"},
		{"never called", spec(0, 1), with(asleep, func(s *autoscale.Signals) { s.NeverCalled, s.Since = true, now }), 1, "it was never called: 1 replica to start"},
		{"never called, for long", spec(0, 1), with(up, func(s *autoscale.Signals) { s.NeverCalled = true }), 0, "no call for 5m0s: down to 0"},
		{"it waits", spec(0, 1), with(asleep, func(s *autoscale.Signals) { s.InFlight, s.Waits = 1, waits }), 0, "waits for b (0 of 1 ready), c (unknown)"},
		{"it waits for nothing while it is idle", spec(0, 1), with(asleep, func(s *autoscale.Signals) { s.Waits = waits }), 0, "idle"},
		{"what is up stays up", spec(0, 2), with(up, func(s *autoscale.Signals) { s.InFlight, s.Waits = 1, waits }), 1, "in use"},
		{"what is up goes down", spec(0, 2), with(up, func(s *autoscale.Signals) { s.Waits = waits }), 0, "no call for 5m0s: down to 0"},
		{"ReplicasMin does not wait", spec(2, 3), with(asleep, func(s *autoscale.Signals) { s.InFlight, s.Waits = 1, waits }), 2, "ReplicasMin: 2 replicas to start"},
		{"part of ReplicasMin does not wait", spec(2, 3), with(up, func(s *autoscale.Signals) { s.InFlight, s.Waits = 1, waits }), 3, "1 call is in flight: 3 replicas to start"},
	} {
		got := autoscale.Decide(now, c.f, c.s)
		if got.Replicas != c.replicas || got.Reason != c.reason {
			t.Errorf("%s: got %d, %q; want %d, %q", c.name, got.Replicas, got.Reason, c.replicas, c.reason)
		}
	}
}

func TestLongListsAreShortened(t *testing.T) {
	s := autoscale.Signals{InFlight: 1, Waits: []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}}
	if got := autoscale.Decide(now, spec(0, 1), s).Reason; got != "waits for a, b, c, d, e, f, g, h and 2 more" {
		t.Error(got)
	}
}

// What a function asks of those it depends on.
func TestInUseAndWaits(t *testing.T) {
	waits := []string{"b (unknown)"}
	for name, c := range map[string]struct {
		f            function.Function
		s            autoscale.Signals
		inUse, waits bool
	}{
		"idle":                    {spec(0, 1), autoscale.Signals{DepthKnown: true}, false, false},
		"called a moment ago":     {spec(0, 1), autoscale.Signals{DepthKnown: true, Replicas: 1, LastActivity: now}, false, false},
		"in flight":               {spec(0, 1), autoscale.Signals{Replicas: 1, InFlight: 1}, true, false},
		"queued":                  {spec(0, 1), autoscale.Signals{Replicas: 1, Depth: 1, DepthKnown: true}, true, false},
		"unknown":                 {spec(0, 1), autoscale.Signals{Replicas: 1, Depth: 1}, false, false},
		"waits":                   {spec(0, 1), autoscale.Signals{LastActivity: now, Waits: waits}, true, true},
		"would wait":              {spec(0, 1), autoscale.Signals{Waits: waits}, false, false},
		"up, so it does not wait": {spec(0, 1), autoscale.Signals{Replicas: 1, LastActivity: now, Waits: waits}, false, false},
		"starts by ReplicasMin":   {spec(1, 1), autoscale.Signals{LastActivity: now, Waits: waits}, false, false},
		"runs elsewhere":          {spec(0, 1), autoscale.Signals{LastActivity: now, Waits: waits, Fixed: true}, false, false},
	} {
		if inUse, waits := autoscale.InUse(now, c.f, c.s), autoscale.Waits(now, c.f, c.s); inUse != c.inUse || waits != c.waits {
			t.Errorf("%s: in use %v, waits %v", name, inUse, waits)
		}
	}
}

func TestLastActivityIsTheNewest(t *testing.T) {
	f := spec(0, 1)
	s := autoscale.Signals{LastActivity: ago(3 * time.Minute), Since: ago(time.Minute), Any: autoscale.Others{LastActivity: ago(2 * time.Minute)}}
	for want, edit := range map[time.Time]func(){
		ago(3 * time.Minute): func() {},
		ago(2 * time.Minute): func() { f.WakeWithAny = true },
		ago(time.Minute):     func() { s.NeverCalled = true },
	} {
		f.WakeWithAny, s.NeverCalled = false, false
		edit()
		if got := autoscale.LastActivity(now, f, s); !got.Equal(want) {
			t.Errorf("got %v ago, want %v", now.Sub(got), now.Sub(want))
		}
	}
}
