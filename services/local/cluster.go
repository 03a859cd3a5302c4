package local

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/services/scaler"
)

const (
	defaultStartTimeout = 120 * time.Second
	defaultGracePeriod  = 30 * time.Second
	// maxReplicas of one function on one machine; a count above it is a mistake.
	maxReplicas = 1000
)

// Errors of SetReplicas, wrapped with the name of the function.
var (
	ErrUnknownFunction = errors.New("there is no function of that name in the manifests")
	ErrFixed           = errors.New("the function runs elsewhere (sluice/LocalURL), so it cannot be scaled")
	ErrNotRunning      = errors.New("the local cluster is not running")
)

// ClusterConfig is what NewCluster needs.
type ClusterConfig struct {
	// Workloads are the functions.
	Workloads []Workload
	// DataDir is a folder that exists and that no other cluster uses; the list of child processes is kept there.
	DataDir string
	// Env has KEY=value entries for every child, such as SLUICE_URL. They win over a workload's own.
	Env []string
	// UntrustedEnv is the same for the children of functions that are not trusted.
	UntrustedEnv []string
	// Follow, if there is one, runs beside Watch until ctx ends, and applies all workloads whenever one of them has changed.
	Follow func(ctx context.Context, apply func([]Workload))
	// Released, if there is one, waits until no call is in flight at a replica that is no endpoint any more, or ctx ends.
	Released func(ctx context.Context, function, address string)
	// Observed, if there is one, is told how many replicas of a workload are ready, or that it is gone, before the observer is.
	Observed func(workload function.Function, ready int, there bool)
	// Logger gets what the children write, a field for the function, the replica and the stream with each line.
	Logger zerolog.Logger
	// StartTimeout is how long a process may take to become ready; 120 s when it is 0.
	StartTimeout time.Duration
	// Watchdog is the command that runs Watchdog on its standard input; when it is empty, this program's own binary
	// with the argument "watchdog".
	Watchdog []string

	// processes starts the children; Watch makes its own if there is none.
	processes *processes

	// Each of the two keeps children from outliving this process; tests switch one off to see the other.
	noDeathSignal, noWatchdog bool
}

// Cluster runs functions as child processes. It is the scaler's Cluster for the local mode.
type Cluster struct {
	config ClusterConfig
	logger zerolog.Logger
	tools  replicaTools   // set by Watch before any replica starts
	lives  sync.WaitGroup // the goroutine of each slot
	signal chan struct{}  // holds one token while there are sets in stale
	moved  chan struct{}  // holds one token while addresses are to be looked up at once

	mu     sync.Mutex
	sets   map[string]*replicaSet          // guarded by mu, with all that is in it
	stale  map[*replicaSet]struct{}        // guarded by mu: changed since they were observed
	inside map[netip.Addr]function.Insider // guarded by mu: to be reported; nil when that was done
	watch  context.Context                 //nolint:containedctx // guarded by mu: that of Watch, nil while it does not run
}

var _ scaler.Cluster = (*Cluster)(nil)

// NewCluster returns a cluster that starts nothing before Watch. It refuses two workloads of one name.
func NewCluster(config ClusterConfig) (*Cluster, error) {
	if config.StartTimeout <= 0 {
		config.StartTimeout = defaultStartTimeout
	}
	sources := map[string]string{}
	for _, workload := range config.Workloads {
		name := workload.Function.Name
		if first, ok := sources[name]; ok {
			return nil, fmt.Errorf("function %s is in two manifests, %s and %s: rename or remove one", name, first, workload.Source)
		}
		sources[name] = workload.Source
	}
	return &Cluster{config: config, logger: config.Logger, signal: make(chan struct{}, 1), moved: make(chan struct{}, 1)}, nil
}

// Watch implements scaler.Cluster: it ends what an earlier run left, starts every function's first replicas, and
// reports them and every change until ctx ends; then it ends all processes and returns when they are gone. It is
// called once at a time.
func (c *Cluster) Watch(ctx context.Context, observer scaler.Observer) error {
	processes := c.config.processes
	if processes == nil {
		own, err := openProcesses(c.config, c.logger)
		if err != nil {
			return fmt.Errorf("prepare for child processes: %w", err)
		}
		defer own.close()
		processes = own
	}
	c.tools = replicaTools{
		processes: processes, ports: newPorts(), client: newProbeClient(),
		env: c.config.Env, untrustedEnv: c.config.UntrustedEnv, startTimeout: c.config.StartTimeout,
	}
	c.start(ctx)
	defer c.finish()
	for _, workload := range c.config.Workloads {
		c.report(observer, workload.Function.Name)
	}
	observer.Synced()
	c.follow(ctx, observer)
	return nil
}

// start makes the replica sets as the manifests want them, and what runs beside them.
func (c *Cluster) start(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watch, c.sets, c.stale, c.inside = ctx, map[string]*replicaSet{}, map[*replicaSet]struct{}{}, nil
	for _, workload := range c.config.Workloads {
		c.add(workload) //nolint:contextcheck // replicas live with Watch, not with this call
	}
	c.lives.Go(func() { c.followAddresses(ctx) })
	if c.config.Follow != nil {
		c.lives.Go(func() { c.config.Follow(ctx, c.apply) })
	}
}

// finish waits until every process is gone.
func (c *Cluster) finish() {
	c.mu.Lock()
	c.watch = nil
	c.mu.Unlock()
	c.lives.Wait()
}

// follow observes what changes until ctx ends.
func (c *Cluster) follow(ctx context.Context, observer scaler.Observer) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.signal:
		}
		for _, name := range c.staleNames() {
			if ctx.Err() != nil {
				return
			}
			c.report(observer, name)
		}
		if inside := c.takeInside(); inside != nil && ctx.Err() == nil {
			observer.Inside(inside)
		}
	}
}

func (c *Cluster) staleNames() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	names := make([]string, 0, len(c.stale))
	for set := range c.stale {
		names = append(names, set.name)
	}
	slices.Sort(names)
	return names
}

// report tells of a workload as it is at this moment, or that it is gone. The observer is called without the mutex, so it
// may call SetReplicas.
func (c *Cluster) report(observer scaler.Observer, name string) {
	c.mu.Lock()
	set := c.sets[name]
	delete(c.stale, set)
	gone, told := set.removed, set.forgotten
	set.forgotten = gone
	observed, workload := set.observe(), set.workload.Function
	c.mu.Unlock()
	if c.config.Observed != nil {
		c.config.Observed(workload, len(observed.ReadyEndpoints()), !gone)
	}
	switch {
	case !gone:
		observer.Observe(observed)
	case !told:
		observer.Forget(name)
	}
}

// changed is called with mu held.
func (c *Cluster) changed(set *replicaSet) {
	c.stale[set] = struct{}{}
	c.poke()
}

func (c *Cluster) poke() {
	select {
	case c.signal <- struct{}{}:
	default: // a token is there already
	}
}

// SetReplicas implements scaler.Cluster. The victims that are not replicas are passed over. The error wraps
// ErrUnknownFunction, ErrFixed or ErrNotRunning, or says that count is out of range.
func (c *Cluster) SetReplicas(ctx context.Context, name string, count int, victims []string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("set replicas of function %s: %w", name, err)
	}
	if count < 0 || count > maxReplicas {
		return fmt.Errorf("set replicas of function %s: %d is not between 0 and %d", name, count, maxReplicas)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watch == nil || c.watch.Err() != nil {
		return fmt.Errorf("set replicas of function %s: %w", name, ErrNotRunning)
	}
	set, ok := c.sets[name]
	switch {
	case !ok || set.removed || set.workload.Watched:
		return fmt.Errorf("set replicas of function %s: %w", name, ErrUnknownFunction)
	case set.workload.URL != "":
		return fmt.Errorf("set replicas of function %s at %s: %w", name, set.workload.URL, ErrFixed)
	}
	set.count = count
	c.changed(set)
	c.reconcile(set, victims) //nolint:contextcheck // replicas live with Watch, not with this call
	return nil
}

// reconcile takes the next step towards the count and the version of the set. It is called with mu held. What is to end is
// unready from this moment on; its calls in flight end first, unless somebody has already waited for that with the victims.
func (c *Cluster) reconcile(set *replicaSet, victims []string) {
	if c.watch == nil || c.watch.Err() != nil {
		return
	}
	next := set.plan(victims)
	for _, r := range next.end {
		r.wanted = false
		c.end(r, !slices.Contains(victims, r.name))
	}
	for _, r := range next.restart {
		c.end(r, true)
	}
	for range next.start {
		r := set.want()
		c.changed(set)
		if !r.alive {
			r.alive = true
			watch := c.watch
			c.lives.Go(func() { c.live(watch, r) })
		}
	}
}

// end ends the process of a replica, which starts again if it is still wanted. It is called with mu held.
func (c *Cluster) end(r *replica, drains bool) {
	r.ready, r.drains = false, drains
	if r.stop != nil {
		r.stop()
	}
	c.changed(r.set)
}
