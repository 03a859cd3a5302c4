package local

import (
	"context"
	"sync"
	"time"
)

// drain waits until no call is in flight at a replica that is about to end, or its process has ended by itself.
func (c *Cluster) drain(ctx context.Context, r *replica, child *process) {
	c.mu.Lock()
	drains, address := r.drains, r.address
	c.mu.Unlock()
	if c.config.Released == nil || !drains || address == "" {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-child.exited:
			cancel()
		case <-ctx.Done():
		}
	})
	c.config.Released(ctx, r.set.name, address)
	cancel()
	watching.Wait()
}

// graceOf is how long a process may take to end, as the manifest says now.
func (c *Cluster) graceOf(r *replica) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return r.set.workload.GracePeriod
}
