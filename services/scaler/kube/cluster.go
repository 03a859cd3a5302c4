package kube

import (
	"context"
	"reflect"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicefaas/sluice/services/scaler"
)

// gather is how long events are collected before they are reported, so that a burst of them is one observation. It is part
// of the time in which a function starts.
const gather = 5 * time.Millisecond

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
	registry.MustRegister(c.leader)
	return newCluster(c)
}

func newCluster(c *Client) *Cluster {
	return &Cluster{client: c, slots: make(chan struct{}, maxScaling)}
}

// Watch implements scaler.Cluster. It begins with a list of everything, as of now, which it waits for as long as the API server is away.
// While that is away later, nothing is reported, least of all as gone.
func (c *Cluster) Watch(ctx context.Context, observer scaler.Observer) error {
	ctx, cancel := context.WithCancel(c.client.withLog(ctx))
	v := newView(c.client.logger)
	var reflectors sync.WaitGroup
	for _, s := range c.client.sources() {
		reflector := c.client.reflector(s, v)
		reflectors.Go(func() { reflector.RunWithContext(ctx) })
		defer c.client.outage.forget(s.what)
	}
	defer reflectors.Wait()
	defer cancel()
	c.open()
	defer c.close()
	r := &reporter{cluster: c, view: v, observer: observer, again: map[string]time.Time{}}
	r.run(ctx)
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

// reporter tells the observer what is in the view. The goroutine of Watch owns it.
type reporter struct {
	cluster  *Cluster
	view     *view
	observer scaler.Observer
	synced   bool
	// again is when a function must be looked at although nothing happens.
	again map[string]time.Time
}

// run reports until ctx ends.
func (r *reporter) run(ctx context.Context) {
	const glance = time.Second
	ticker := time.NewTicker(glance)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			r.reportDue(ctx, now)
			continue
		case <-r.view.changed:
		}
		if !r.view.complete() {
			continue
		}
		if !r.rest(ctx) {
			return
		}
		r.reportStale(ctx)
	}
}

// rest lets more events come. It is false when ctx has ended.
func (r *reporter) rest(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(gather):
		return true
	}
}

// reportStale reports what has changed; the first time, that is everything.
func (r *reporter) reportStale(ctx context.Context) {
	for _, name := range r.view.takeStale() {
		if ctx.Err() != nil {
			return
		}
		r.report(name, time.Now())
	}
	if !r.synced {
		r.synced = true
		r.observer.Synced()
	}
}

// reportDue reports what time alone has changed.
func (r *reporter) reportDue(ctx context.Context, now time.Time) {
	for name, due := range r.again {
		if ctx.Err() == nil && !now.Before(due) {
			r.report(name, now)
		}
	}
}

// report tells the observer of one function, unless it knows all that.
func (r *reporter) report(name string, now time.Time) {
	delete(r.again, name)
	o, exists := r.view.observe(name, now)
	before, known := r.cluster.known(name)
	if known && (!exists || before.count.uid != o.count.uid) {
		r.cluster.forget(name)
		r.observer.Forget(name)
		known = false
	}
	if !exists {
		return
	}
	if o.again > 0 {
		r.again[name] = now.Add(o.again)
	}
	r.cluster.tell(name, o)
	if !known || !reflect.DeepEqual(before.workload, o.workload) {
		r.observer.Observe(o.workload)
	}
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
