package gateway

import (
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
)

// reports subscribes to what the gateway tells the scaler.
func (f *fixture) reports() <-chan bus.Activity {
	f.t.Helper()
	reports := make(chan bus.Activity, 1000)
	stop := must(f.bus.OnActivity(func(a bus.Activity) { reports <- a }))(f.t)
	f.t.Cleanup(stop)
	return reports
}

// next waits for a report that fits.
func next(t testing.TB, reports <-chan bus.Activity, what string, fits func(bus.Activity) bool) bus.Activity {
	t.Helper()
	deadline := time.After(testPatience)
	for {
		select {
		case report := <-reports:
			if fits(report) {
				return report
			}
		case <-deadline:
			t.Fatalf("waited in vain for a report: %s", what)
		}
	}
}

func full(a bus.Activity) bool { return !a.Partial && !a.Leaving }

// TestActivity: the first call is reported at once, then all that runs each second, with the revision, by endpoint.
func TestActivity(t *testing.T) {
	f := start(t)
	reports := f.reports()
	entered, leave := make(chan struct{}), make(chan struct{})
	address := f.serve("f", func(http.ResponseWriter, *http.Request) { entered <- struct{}{}; <-leave })
	f.put(state("idle"))
	idle := next(t, reports, "an empty one", full)
	if len(idle.Functions) > 0 || idle.Sender != "gateway-1" || idle.Kind != bus.KindGateway {
		t.Errorf("%+v", idle)
	}
	answers := f.later(f.request("GET", "/function/f", ""), f.request("GET", "/function/f", ""))
	// What is sent at once names what has just begun and nothing else, other than the report of each second, which may come before it.
	first := next(t, reports, "the first call", func(a bus.Activity) bool { return a.Partial && a.Functions["f"].InFlight > 0 })
	if len(first.Functions) != 1 {
		t.Errorf("first %+v", first)
	}
	<-entered
	<-entered
	running := next(t, reports, "two in flight", func(a bus.Activity) bool { return full(a) && a.Functions["f"].InFlight == 2 })
	if running.Functions["f"].Endpoints[address] != 2 || len(running.Functions) != 1 || running.Revision != f.functions.revision.Load() || running.Revision == 0 {
		t.Errorf("%+v", running)
	}
	close(leave)
	for range 2 {
		<-answers
	}
	next(t, reports, "nothing in flight", func(a bus.Activity) bool { return full(a) && len(a.Functions) == 0 })
}

// TestShortCallsAreReported although they are over by the next report; held calls are in flight, on no endpoint; a wake and
// nothing else is activity too.
func TestShortHeldAndWokenAreReported(t *testing.T) {
	f := start(t)
	f.serve("short", func(http.ResponseWriter, *http.Request) {})
	f.put(state("held"))
	f.put(state("woken"))
	reports := f.reports()
	answers := f.later(f.request("GET", "/function/held", ""))
	f.held("held", 1)
	f.send("GET", "/function/short", "")
	f.send("POST", "/wake-function/woken", "")
	seen := map[string]bus.FunctionActivity{}
	next(t, reports, "all three", func(a bus.Activity) bool {
		if full(a) {
			for name, activity := range a.Functions {
				seen[name] = activity
			}
		}
		return len(seen) == 3
	})
	next(t, reports, "the short call to be over", func(a bus.Activity) bool { return full(a) && a.Functions["short"].InFlight == 0 })
	if seen["woken"].InFlight != 0 || seen["held"].InFlight != 1 || len(seen["held"].Endpoints) > 0 {
		t.Errorf("%+v", seen)
	}
	f.serve("held", func(http.ResponseWriter, *http.Request) {})
	<-answers
}

// TestDrainedEndpointsAreReported: a replica taken out of the list counts until its last call has ended, and the revision
// says that the list is known. That is what a scale-down waits for.
func TestDrainedEndpointsAreReported(t *testing.T) {
	f := start(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	address := f.serve("f", func(http.ResponseWriter, *http.Request) { entered <- struct{}{}; <-leave })
	answers := f.later(f.request("GET", "/function/f", ""))
	<-entered
	reports := f.reports()
	s := state("f")
	s.Generation = 2
	revision := must(f.store.Put(t.Context(), s))(t)
	report := next(t, reports, "the new revision", func(a bus.Activity) bool { return full(a) && a.Revision >= revision })
	if report.Functions["f"].Endpoints[address] != 1 {
		t.Errorf("%+v", report)
	}
	close(leave)
	<-answers
	next(t, reports, "the end", func(a bus.Activity) bool { return full(a) && a.Functions["f"].Endpoints[address] == 0 })
}

// TestActivityIsNotLost: a call that came and went while NATS was away is reported afterwards.
func TestActivityIsNotLost(t *testing.T) {
	f := start(t)
	f.serve("f", func(http.ResponseWriter, *http.Request) {})
	reports := f.reports()
	f.nats.Stop()
	eventually(t, "the connection to be seen as lost", func() bool { return f.bus.Connected() != nil })
	f.send("GET", "/function/f", "")
	f.sendActivity(f.fullActivity())
	f.nats.Start()
	next(t, reports, "the call", func(a bus.Activity) bool { _, ok := a.Functions["f"]; return ok && full(a) })
}

// TestNoCallFallsBetweenReports: whatever the timing, a call is announced or in the next report.
func TestNoCallFallsBetweenReports(t *testing.T) {
	f := start(t)
	f.put(state("f"))
	target := f.functions.get("f")
	for range 2000 {
		var calls sync.WaitGroup
		announced := make(chan bool, 2)
		for range cap(announced) {
			calls.Go(func() {
				announced <- target.begin()
				target.inFlight.Add(-1)
			})
		}
		report := f.fullActivity()
		calls.Wait()
		_, reported := report.Functions["f"]
		_, reportedNext := f.fullActivity().Functions["f"]
		first, second := <-announced, <-announced
		if !first && !second && !reported && !reportedNext {
			t.Fatal("two calls were neither announced nor reported")
		}
	}
}

// TestLeaving: the last report says so, after the last call has ended.
func TestLeaving(t *testing.T) {
	f := start(t)
	reports := f.reports()
	entered, leave := make(chan struct{}), make(chan struct{})
	f.serve("f", func(w http.ResponseWriter, _ *http.Request) {
		entered <- struct{}{}
		<-leave
		_, _ = io.WriteString(w, "whole")
	})
	answers := f.later(f.request("GET", "/function/f", ""))
	<-entered
	f.stopTaking()
	next(t, reports, "the call goes on", func(a bus.Activity) bool { return full(a) && a.Functions["f"].InFlight == 1 })
	close(leave)
	if answer := <-answers; answer.body != "whole" || answer.err != nil {
		t.Errorf("%+v", answer)
	}
	last := next(t, reports, "leaving", func(a bus.Activity) bool { return a.Leaving })
	if last.Sender != "gateway-1" || len(last.Functions) > 0 {
		t.Errorf("%+v", last)
	}
	if err := wait(t, "Run to return", f.ended); err != nil {
		t.Error(err)
	}
}
