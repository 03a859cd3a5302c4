package gateway

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/sluicefaas/sluice/pkg/bus"
)

// background is what callbacks, waits for the end of a call, jobs and the status stream need.
type background struct {
	// attempts is nil until the records of open calls are there.
	attempts atomic.Pointer[bus.Attempts]
	// waits counts the callers who wait for the end of their calls.
	waits atomic.Int64
	// readers counts the callers who read the output of runs.
	readers atomic.Int64
	// closing is closed when the gateway stops taking requests: those that wait end.
	closing chan struct{}
	flow    *flow
	stream  *statusStream
	jobs    *jobs
}

// wire makes what g needs in the background.
func (b *background) wire(g *Gateway) {
	b.closing = make(chan struct{})
	b.jobs = newJobs(g.metrics.forgetJob)
	b.flow = newFlow(g.deps.Name, g.callerIP)
	b.stream = newStatusStream(g)
}

// followAll starts what runs beside the server, until ctx ends; take ends when the server takes no more.
func (g *Gateway) followAll(take, ctx context.Context, followers *sync.WaitGroup) {
	followers.Go(func() { g.followAttempts(ctx) })
	followers.Go(func() { g.followJobs(ctx) })
	followers.Go(func() { g.stream.run(ctx) })
	followers.Go(func() {
		defer close(g.closing)
		select {
		case <-take.Done():
		case <-ctx.Done():
		}
	})
}
