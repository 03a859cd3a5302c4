package dispatcher

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
)

// reports collects what the dispatcher tells the scaler.
func (r *rig) reports() func() []bus.Activity {
	r.t.Helper()
	var mu sync.Mutex
	var all []bus.Activity
	stop, err := r.bus.OnActivity(func(a bus.Activity) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, a)
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(stop)
	return func() []bus.Activity {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}

// The hand-shake of a scale-down: a report that knows the removal of an endpoint counts that endpoint's calls until they have ended.
func TestActivityReports(t *testing.T) {
	t.Parallel()
	r, g := newRig(t), make(gate)
	reports := r.reports()
	old, young := newBackend(t, nil, g.hold), newBackend(t, nil, g.hold)
	first := r.put(spec("f", parallel(3, 2)), old)
	r.put(spec("idle"))
	s := r.dispatch()
	r.publishMany("f", 3)
	last := func() (bus.Activity, bus.FunctionActivity) {
		all := reports()
		if len(all) == 0 {
			return bus.Activity{}, bus.FunctionActivity{}
		}
		return all[len(all)-1], all[len(all)-1].Functions["f"]
	}
	eventually(t, "two calls are reported", func() bool {
		report, f := last()
		return report.Revision >= first && f.InFlight == 2 && f.Endpoints[old.address] == 2
	})
	removed := r.put(spec("f", parallel(3, 2)), young)
	eventually(t, "the removal is reported", func() bool {
		report, f := last()
		return report.Revision >= removed && f.InFlight == 3 && f.Endpoints[young.address] == 1
	})
	g <- struct{}{}
	g <- struct{}{}
	g <- struct{}{}
	eventually(t, "the end of all is reported", func() bool {
		report, f := last()
		return report.Revision >= removed && f.InFlight == 0
	})
	if old.count() != 2 {
		t.Fatalf("%d calls on the old replica", old.count())
	}
	ended := []time.Time{old.calls()[0].until, old.calls()[1].until}
	s.stop()
	eventually(t, "it says that it leaves", func() bool { report, _ := last(); return report.Leaving })
	for _, report := range reports() {
		if report.Sender != "dispatcher" || report.Kind != bus.KindDispatcher {
			t.Errorf("sender %q, kind %q", report.Sender, report.Kind)
		}
		if _, ok := report.Functions["idle"]; ok {
			t.Errorf("an idle function is reported: %+v", report)
		}
	}
	if ended[0].IsZero() || ended[1].IsZero() {
		t.Error("the calls have not ended")
	}
}

// The calls of a function that was removed are reported until they have ended, and a call that began and ended between two reports is
// in the next one.
func TestActivityOfShortCallsAndRemovedFunctions(t *testing.T) {
	t.Parallel()
	r, g := newRig(t), make(gate)
	reports := r.reports()
	b := newBackend(t, nil, g.hold)
	short := newBackend(t, nil, answer(200))
	r.put(spec("f"), b)
	r.put(spec("short"), short)
	r.dispatch()
	r.publish("f", "")
	r.publish("short", "")
	eventually(t, "the calls", func() bool { return b.own.current() == 1 && short.count() == 1 })
	if err := r.functions.Delete(t.Context(), "f"); err != nil {
		t.Fatal(err)
	}
	seen := func(name string, from int) (in, times int) {
		for _, report := range reports()[from:] {
			if f, ok := report.Functions[name]; ok {
				in, times = f.InFlight, times+1
			}
		}
		return in, times
	}
	eventually(t, "the short call is reported", func() bool { _, times := seen("short", 0); return times > 0 })
	from := len(reports())
	eventually(t, "the removed function is reported", func() bool { in, times := seen("f", from); return times > 0 && in == 1 })
	if _, times := seen("short", 0); times != 1 {
		t.Errorf("the short call is reported %d times", times)
	}
	close(g)
	from = len(reports())
	eventually(t, "and not any more", func() bool {
		all := reports()
		_, ok := all[len(all)-1].Functions["f"]
		return len(all) > from && !ok
	})
}
