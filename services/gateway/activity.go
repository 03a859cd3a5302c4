package gateway

import (
	"context"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
)

// activityInterval is how often the scaler is told what is in flight.
const activityInterval = time.Second

// activity counts calls for the scaler and reports them.
type activity struct {
	send func(bus.Activity)
}

func newActivity(send func(bus.Activity)) *activity { return &activity{send: send} }

// begin counts a call of t, whose end is t.inFlight.Add(-1). It reports whether it is the first in this second.
func (a *activity) begin(t *target) bool {
	t.inFlight.Add(1)
	return !t.called.Load() && t.called.CompareAndSwap(false, true)
}

// report sends a complete report each second, and that we leave when ctx ends.
func (a *activity) report(ctx context.Context, full func() bus.Activity) {
	ticker := time.NewTicker(activityInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			a.send(full())
		case <-ctx.Done():
			a.send(bus.Activity{Leaving: true})
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
		// The calls that were counted before this are in the report.
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

// sendActivity completes a report and sends it. One that is lost is made up for by the next: calls in flight are in each.
func (g *Gateway) sendActivity(report bus.Activity) {
	report.Sender, report.Kind = g.deps.Name, bus.KindGateway
	if err := g.deps.Bus.ReportActivity(report); err != nil {
		g.deps.Logger.Debug().Err(err).Msg("activity was not reported")
	}
}

func (g *Gateway) sendWake(t *target) {
	if err := g.deps.Bus.Wake(t.name); err != nil {
		g.deps.Logger.Debug().Err(err).Str("function", t.name).Msg("the wake was not sent")
	}
}
