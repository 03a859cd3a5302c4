package dispatcher

import (
	"context"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
)

// activityInterval is how often the scaler is told what is in flight.
const activityInterval = time.Second

// reportActivity tells the scaler each second what is in flight, and that we leave when ctx ends.
func (d *Dispatcher) reportActivity(ctx context.Context) {
	ticker := time.NewTicker(activityInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			d.send(d.activity())
		case <-ctx.Done():
			d.send(bus.Activity{Sender: d.deps.Name, Kind: bus.KindDispatcher, Leaving: true})
			return
		}
	}
}

func (d *Dispatcher) send(activity bus.Activity) {
	if err := d.deps.Bus.ReportActivity(activity); err != nil {
		d.deps.Logger.Debug().Err(err).Msg("activity was not reported")
	}
}

// activity is what runs now, and which functions were called since the last time. The revision is read first: what is counted after
// it is at least as new.
func (d *Dispatcher) activity() bus.Activity {
	report := bus.Activity{
		Sender: d.deps.Name, Kind: bus.KindDispatcher, Revision: d.revision.Load(), Functions: map[string]bus.FunctionActivity{},
	}
	for _, w := range d.workersNow() {
		entry := bus.FunctionActivity{Endpoints: w.endpoints.InFlight()}
		for _, count := range entry.Endpoints {
			entry.InFlight += count
		}
		if taken := w.taken.Load(); entry.InFlight > 0 || taken != w.reported {
			w.reported = taken
			report.Functions[w.name] = entry
		}
	}
	return report
}
