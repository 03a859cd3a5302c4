package dispatcher

import (
	"context"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
)

const (
	// sweepInterval is how often all queues are looked at, for calls that no subscription has told of and for functions that are not known.
	sweepInterval = 5 * time.Second
	// buryBatch is how many calls of an unknown function are taken at a time.
	buryBatch = 100
)

// sweep looks at all queues every sweepInterval, and when asked to, until ctx ends: known functions are made awake, calls of
// unknown ones are given up after the grace time.
func (d *Dispatcher) sweep(ctx context.Context) {
	reconnects, stop := d.deps.Bus.Reconnects()
	defer stop()
	ticker := time.NewTicker(min(sweepInterval, max(d.config.UnknownGrace/4, 10*time.Millisecond)))
	defer ticker.Stop()
	unknown := map[string]time.Time{} // since when
	for {
		select {
		case <-ticker.C:
		case <-d.look:
		case <-reconnects:
		case <-ctx.Done():
			return
		}
		if d.revision.Load() == 0 {
			continue // nothing is known yet
		}
		if depths, err := d.deps.Bus.Depths(ctx); err == nil {
			d.sweepOnce(ctx, depths, unknown)
		}
	}
}

func (d *Dispatcher) sweepOnce(ctx context.Context, depths map[string]uint64, unknown map[string]time.Time) {
	for name := range unknown {
		if depths[name] == 0 {
			delete(unknown, name)
		}
	}
	for name := range depths {
		if d.start(name) {
			delete(unknown, name)
			continue
		}
		since, seen := unknown[name]
		if !seen {
			unknown[name] = time.Now()
			d.deps.Logger.Warn().Str("function", name).Dur("grace", d.config.UnknownGrace).Msg("calls are queued for a function that is not known")
		} else if time.Since(since) > d.config.UnknownGrace {
			d.buryUnknown(ctx, name)
		}
	}
}

// buryUnknown gives up what is queued for a function that is not known.
func (d *Dispatcher) buryUnknown(ctx context.Context, name string) {
	buried := 0
	for ctx.Err() == nil {
		deliveries, err := d.deps.Bus.Fetch(ctx, name, buryBatch)
		if err != nil {
			d.deps.Logger.Error().Err(err).Str("function", name).Msg("calls of an unknown function could not be read")
			break
		}
		if len(deliveries) == 0 {
			break
		}
		for _, delivery := range deliveries {
			if d.buryOne(ctx, name, delivery) {
				buried++
			}
		}
	}
	if buried > 0 {
		d.deps.Logger.Warn().Str("function", name).Int("calls", buried).Str("reason", "unknown_function").
			Str("show", "nats stream view "+d.deps.Bus.DeadStream()+" --subject "+d.deps.Bus.DeadSubject(name)).Msg("calls given up")
	}
}

func (d *Dispatcher) buryOne(ctx context.Context, name string, delivery *bus.Delivery) bool {
	result := outcome{verdict: bury, reason: "unknown_function", detail: "no function has the name " + name}
	death := bus.Death{Reason: result.reason, Detail: result.detail, At: time.Now()}
	_, err := d.deps.Bus.Bury(ctx, delivery, death)
	if err == nil {
		err = delivery.Done(ctx)
	}
	if err != nil {
		d.deps.Logger.Error().Err(err).Str("function", name).Str("call", delivery.ID).Msg("the call could not be given up: it will be tried again")
		return false
	}
	d.metrics.ended(unknownFunction, result, time.Since(delivery.Accepted))
	return true
}
