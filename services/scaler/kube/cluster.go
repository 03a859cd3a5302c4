package kube

import (
	"context"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicefaas/sluice/services/scaler"
)

// Cluster is the namespace's functions. It serves one Watch at a time, as each leader's term starts one.
type Cluster struct {
	client *Client
	// slots holds a token for each request for a count that is under way.
	slots chan struct{}

	mu        sync.Mutex
	functions map[string]*told // guarded by mu: those that the observer knows; nil while nobody watches
}

// told is what the observer knows of a function.
type told struct {
	// turn holds a token while nobody sets the count.
	turn chan struct{}
	// observation is the last one; its count is newer where we have set one since. The Cluster's mutex guards it.
	observation observation
}

var _ scaler.Cluster = (*Cluster)(nil)

// NewCluster returns the Cluster of the Client's namespace, which does nothing before Watch, and registers what the Client
// exports: whether this process leads. It is called once.
func (c *Client) NewCluster(registry prometheus.Registerer) *Cluster {
	registry.MustRegister(c.Leader())
	return newCluster(c)
}

func newCluster(c *Client) *Cluster {
	return &Cluster{client: c, slots: make(chan struct{}, maxScaling)}
}

// Watch implements scaler.Cluster. It begins with a list of everything, as of now, which it waits for as long as the API server is away.
// While that is away later, nothing is reported, least of all as gone.
func (c *Cluster) Watch(ctx context.Context, observer scaler.Observer) error {
	ctx, cancel := context.WithCancel(c.client.WithLog(ctx))
	v := newView(c.client.logger, c.client.own)
	v.earlier = observer.Last
	var helpers sync.WaitGroup
	for kind, source := range c.client.sources() {
		helpers.Go(func() { c.client.Follow(ctx, source, keeper{view: v, kind: kind}) })
	}
	helpers.Go(func() { c.client.Complain(ctx, v.complaints.queue) })
	defer helpers.Wait()
	defer cancel()
	c.open()
	defer c.close()
	newReporter(c, v, observer).run(ctx)
	return nil
}

func (c *Cluster) open() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.functions = map[string]*told{}
}

func (c *Cluster) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.functions = nil
}

// known is what the observer knows of a function.
func (c *Cluster) known(name string) (observation, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.functions[name]; t != nil {
		return t.observation, true
	}
	return observation{}, false
}

func (c *Cluster) forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.functions, name)
}

// tell notes what the observer is about to know. A count that we have set later than it stays.
func (c *Cluster) tell(name string, o observation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.functions[name]
	if t == nil {
		t = &told{turn: make(chan struct{}, 1)}
		t.turn <- struct{}{}
		c.functions[name] = t
	} else if older(o.count, t.observation.count) {
		o.count = t.observation.count
	}
	t.observation = o
}
