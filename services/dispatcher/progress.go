package dispatcher

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// progress finds functions whose calls wait although nothing keeps them: the sign of a shift that has died in silence.
type progress struct {
	mu sync.Mutex
	// stuck is for how long, as of the last look; guarded by mu.
	stuck map[string]time.Duration
	since map[string]time.Time // guarded by mu
}

// watchProgress looks at every awake function several times in StuckAfter, until ctx ends.
func (d *Dispatcher) watchProgress(ctx context.Context) {
	ticker := time.NewTicker(max(d.config.StuckAfter/5, 10*time.Millisecond))
	defer ticker.Stop()
	before := map[*worker]uint64{}
	for {
		select {
		case <-ticker.C:
			before = d.lookForStuck(ctx, before)
		case <-ctx.Done():
			return
		}
	}
}

// lookForStuck notes which functions have a ready replica, a free slot and work, and have taken none since the look before.
func (d *Dispatcher) lookForStuck(ctx context.Context, before map[*worker]uint64) map[*worker]uint64 {
	taken := map[*worker]uint64{}
	var stuck []string
	for _, w := range d.workersNow() {
		taken[w] = w.taken.Load()
		last, seen := before[w]
		if !seen || last != taken[w] || w.endpoints.Ready() == 0 || w.endpoints.Free(w.limits()) == 0 {
			continue
		}
		pending, err := d.deps.Bus.Pending(ctx, w.name)
		if err == nil && pending > 0 && w.taken.Load() == last {
			stuck = append(stuck, w.name)
		}
	}
	d.progress.set(stuck, time.Now())
	return taken
}

func (p *progress) set(stuck []string, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.since
	p.stuck, p.since = map[string]time.Duration{}, map[string]time.Time{}
	for _, name := range stuck {
		since, already := before[name]
		if !already {
			since = now
		}
		p.since[name], p.stuck[name] = since, now.Sub(since)
	}
}

// Live reports functions whose calls have waited for StuckAfter beside a ready replica and a free slot. It has the form of
// an ops.Check's Probe.
func (d *Dispatcher) Live(context.Context) error {
	d.progress.mu.Lock()
	defer d.progress.mu.Unlock()
	var names []string
	for name, waited := range d.progress.stuck {
		if waited >= d.config.StuckAfter {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	return fmt.Errorf("calls of %s have waited for more than %s although a replica is ready and a slot free", strings.Join(names, ", "), d.config.StuckAfter)
}
