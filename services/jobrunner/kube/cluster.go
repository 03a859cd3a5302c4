package kube

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/sluicefaas/sluice/pkg/job"
	"github.com/sluicefaas/sluice/services/jobrunner"
)

// Cluster is the namespace's jobs. It serves one Watch at a time, as each leader's term starts one; its other methods need none.
type Cluster struct {
	client *Client
	view   atomic.Pointer[view] // of the newest Watch
}

var _ jobrunner.Cluster = (*Cluster)(nil)

// Namespace implements jobrunner.Cluster.
func (c *Cluster) Namespace() string { return c.client.Namespace() }

// Watch implements jobrunner.Cluster. It begins with a list of everything, as of now, which it waits for as long as the API server is away.
// While that is away later, nothing is reported, least of all as gone.
func (c *Cluster) Watch(ctx context.Context, observer jobrunner.Observer) error {
	ctx, cancel := context.WithCancel(ctx)
	v := newView(c.client.logger)
	v.earlier = observer.LastDefinition
	c.view.Store(v)
	var helpers sync.WaitGroup
	for kind, source := range c.client.sources() {
		helpers.Go(func() { c.client.Follow(ctx, source, keeper{view: v, kind: kind}) })
	}
	helpers.Go(func() { c.client.Complain(ctx, v.complaints) })
	defer helpers.Wait()
	defer cancel()
	newReporter(v, observer).run(ctx)
	return nil
}

// Complain implements jobrunner.Cluster: as an Event of the CronJob, of type Warning.
func (c *Cluster) Complain(d job.Definition, sentence string) {
	if v := c.view.Load(); v != nil {
		v.refuse(d, sentence)
	}
}
