package gateway

import (
	"context"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
)

// activityInterval is how often the scaler is told what is in flight.
const activityInterval = time.Second

// begin counts a call, whose end is t.inFlight.Add(-1). It reports whether it is the first since the last report. A report
// clears called before it reads inFlight, and begin raises inFlight before it reads called: so a call that finds
// called set is in the report that clears it.
func (t *target) begin() (first bool) {
	t.inFlight.Add(1)
	return !t.called.Load() && t.called.CompareAndSwap(false, true)
}

// reportActivity sends a complete report each second, and that we leave when ctx ends.
func (g *Gateway) reportActivity(ctx context.Context) {
	ticker := time.NewTicker(g.interval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			g.sendActivity(g.fullActivity())
		case <-ctx.Done():
			g.sendActivity(bus.Activity{Leaving: true})
			return
		}
	}
}

// fullActivity is everything that runs, or was called since the last report. The revision is read first: what is counted after
// it is at least as new.
func (g *Gateway) fullActivity() bus.Activity {
	report := bus.Activity{Revision: g.functions.revision.Load(), Functions: map[string]bus.FunctionActivity{}}
	g.functions.mu.RLock()
	defer g.functions.mu.RUnlock()
	for name, t := range g.functions.targets {
		called, inFlight := t.called.Swap(false), int(t.inFlight.Load())
		if called || inFlight > 0 {
			report.Functions[name] = bus.FunctionActivity{InFlight: inFlight, Endpoints: t.endpoints.InFlight()}
		}
	}
	return report
}

// announce tells the scaler at once of the first call of a function.
func (g *Gateway) announce(t *target) {
	g.sendActivity(bus.Activity{Partial: true, Functions: map[string]bus.FunctionActivity{
		t.name: {InFlight: int(t.inFlight.Load()), Endpoints: t.endpoints.InFlight()},
	}})
}

// sendActivity completes a report and sends it. What one says that cannot be sent is said by the next.
func (g *Gateway) sendActivity(report bus.Activity) {
	report.Sender, report.Kind = g.deps.Name, bus.KindGateway
	err := g.deps.Bus.ReportActivity(report)
	if err == nil {
		return
	}
	g.deps.Logger.Debug().Err(err).Msg("activity was not reported")
	for name := range report.Functions {
		if t := g.functions.get(name); t != nil {
			t.called.Store(true)
		}
	}
}

// wakeGap is how close two wakes of one function may be: a thousand held calls need no thousand wakes.
const wakeGap = 100 * time.Millisecond

// wakeSoon asks for a start of the function, unless that was just done. It is repeated by whoever waits.
func (g *Gateway) wakeSoon(t *target) {
	if !t.mayWake(time.Now()) {
		return
	}
	if err := g.deps.Bus.Wake(t.name); err != nil {
		g.deps.Logger.Debug().Err(err).Str("function", t.name).Msg("the wake was not sent")
	}
}

func (t *target) mayWake(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.woken) < wakeGap {
		return false
	}
	t.woken = now
	return true
}
