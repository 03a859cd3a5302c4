package autoscale_test

import (
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/autoscale"
	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/pkg/schedule"
)

// scheduled is a function that is woken at 7:00 in Paris, and idles for 20 s by day and 10 minutes from 22:00 on.
func scheduled() function.Function {
	f := spec(0, 1)
	f.Schedule = &schedule.Schedule{
		TimeZoneID:       "Europe/Paris",
		WakeUp:           []schedule.Clock{7 * 60},
		ScaleDownTimeout: []schedule.Timeout{{Time: 7 * 60, Value: 20}, {Time: 22 * 60, Value: 600}},
	}
	return f
}

// The clocks of Paris go from 2:00 to 3:00 within the night before: 7:00 is 5:00 UTC.
func TestScheduleWakesAndSetsTheTimeout(t *testing.T) {
	sunday := func(hour, minute, second int) time.Time {
		return time.Date(2026, 3, 29, hour, minute, second, 0, time.UTC)
	}
	f := scheduled()
	for _, c := range []struct {
		name      string
		at        time.Time
		s         autoscale.Signals
		replicas  int
		reason    string
		nextCheck time.Duration
	}{
		{"before", sunday(4, 59, 59), autoscale.Signals{}, 0, "idle", time.Second},
		{"at the time", sunday(5, 0, 0), autoscale.Signals{}, 1, "its schedule wakes it: 1 replica to start", 20*time.Second + 1},
		{"awake", sunday(5, 0, 20), autoscale.Signals{Replicas: 1}, 1, "in use", 1},
		{"idle", sunday(5, 0, 21), autoscale.Signals{Replicas: 1}, 0, "no call for 20s: down to 0", 15*time.Hour - 21*time.Second},
		{"called by day", sunday(12, 0, 0), autoscale.Signals{Replicas: 1, LastActivity: sunday(11, 59, 30)}, 0, "no call for 20s: down to 0", 8 * time.Hour},
		{"called by night", sunday(20, 10, 0), autoscale.Signals{Replicas: 1, LastActivity: sunday(20, 0, 0)}, 1, "in use", 1},
		{"idle by night", sunday(20, 10, 1), autoscale.Signals{Replicas: 1, LastActivity: sunday(20, 0, 0)}, 0, "no call for 10m0s: down to 0", 8*time.Hour + 49*time.Minute + 59*time.Second},
	} {
		c.s.DepthKnown = true
		got := autoscale.Decide(c.at, f, c.s)
		if got.Replicas != c.replicas || got.Reason != c.reason {
			t.Errorf("%s: got %d, %q; want %d, %q", c.name, got.Replicas, got.Reason, c.replicas, c.reason)
		}
		if next := autoscale.NextCheck(c.at, f, c.s); next != c.nextCheck {
			t.Errorf("%s: the next check is after %v, want %v", c.name, next, c.nextCheck)
		}
	}
	if got := autoscale.LastActivity(sunday(12, 0, 0), f, autoscale.Signals{}); !got.Equal(sunday(5, 0, 0)) {
		t.Errorf("what it depends on is woken by the activity of %v", got)
	}
}

func BenchmarkDecide(b *testing.B) {
	for name, f := range map[string]function.Function{"plain": spec(0, 1), "scheduled": scheduled(), "triggers": scaled(0, 10, average)} {
		b.Run(name, func(b *testing.B) {
			s := autoscale.Signals{Replicas: 1, DepthKnown: true, LastActivity: now, Readings: []autoscale.Reading{{Value: 5}}}
			b.ReportAllocs()
			for b.Loop() {
				d := autoscale.Decide(now, f, s)
				s.History = autoscale.Remember(now, f, s, d)
				autoscale.NextCheck(now, f, s)
				autoscale.InUse(now, f, s)
				autoscale.LastActivity(now, f, s)
			}
		})
	}
}
