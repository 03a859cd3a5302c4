package local

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/function"
)

// callers knows which replicas are still being called, so that a process which is replaced ends no call. It hears what the
// scaler hears, because the scaler only waits for those replicas that it ends itself.
type callers struct {
	bus    *bus.Bus
	logger zerolog.Logger
	// patience bounds each wait.
	patience time.Duration

	mu       sync.Mutex
	senders  map[string]*reporter // guarded by mu
	listed   map[string]listed    // guarded by mu; by function
	untimed  []string             // guarded by mu: functions in listed whose revision is still to be told
	progress chan struct{}        // guarded by mu: closed and replaced when something was learned
}

// reporter is the gateway or the dispatcher, as its reports describe it.
type reporter struct {
	kind     string
	revision uint64 // of its last complete report
	// functions are those of the last complete report, brought up to date by partial ones; parts are of a report that is not complete yet.
	functions, parts map[string]bus.FunctionActivity
}

// listed are the endpoints that the bucket has of a function as of revision, which is 0 while it is not known.
type listed struct {
	revision  uint64
	endpoints []function.Endpoint
}

func newCallers(b *bus.Bus, patience time.Duration, logger zerolog.Logger) *callers {
	return &callers{
		bus: b, patience: patience, logger: logger, senders: map[string]*reporter{}, listed: map[string]listed{}, progress: make(chan struct{}),
	}
}

// run listens until ctx ends.
func (c *callers) run(ctx context.Context) {
	stop, err := c.bus.OnActivity(c.hear)
	if err != nil {
		c.logger.Warn().Err(err).Msg("reports of activity cannot be heard: processes that are replaced end as if they had no calls")
		return
	}
	defer stop()
	store, err := c.bus.AwaitFunctions(ctx)
	if err == nil {
		err = store.Watch(ctx, c)
	}
	if err != nil && ctx.Err() == nil {
		c.logger.Warn().Err(err).Msg("functions cannot be followed: a process that is replaced may wait too long for its calls")
	}
}

func (c *callers) hear(report bus.Activity) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.learned()
	if report.Leaving {
		delete(c.senders, report.Sender)
		return
	}
	from := c.senders[report.Sender]
	if from == nil {
		from = &reporter{kind: report.Kind, functions: map[string]bus.FunctionActivity{}, parts: map[string]bus.FunctionActivity{}}
		c.senders[report.Sender] = from
	}
	maps.Copy(from.parts, report.Functions)
	if report.Partial {
		maps.Copy(from.functions, report.Functions)
		return
	}
	from.revision, from.functions, from.parts = report.Revision, from.parts, map[string]bus.FunctionActivity{}
}

// learned is called with mu held.
func (c *callers) learned() {
	close(c.progress)
	c.progress = make(chan struct{})
}

// Apply implements bus.FunctionsReader, as do Remove and Applied.
func (c *callers) Apply(state function.State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list(state.Function.Name, state.Endpoints)
}

// Remove takes the end of a function.
func (c *callers) Remove(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list(name, nil)
}

func (c *callers) list(name string, endpoints []function.Endpoint) {
	c.listed[name] = listed{endpoints: endpoints}
	c.untimed = append(c.untimed, name)
}

// Applied gives what was told since the last time its revision.
func (c *callers) Applied(revision uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range c.untimed {
		c.listed[name] = listed{revision: revision, endpoints: c.listed[name].endpoints}
	}
	c.untimed = nil
	c.learned()
}

// released waits until everybody who calls knows that the replica is no endpoint any more, and none of them has a call there.
func (c *callers) released(ctx context.Context, name, address string) {
	ctx, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	for {
		c.mu.Lock()
		free, progress := c.free(name, address), c.progress
		c.mu.Unlock()
		if free {
			return
		}
		select {
		case <-progress:
		case <-ctx.Done():
			return
		}
	}
}

// free is called with mu held.
func (c *callers) free(name, address string) bool {
	list, known := c.listed[name]
	if !known || list.revision == 0 {
		return false
	}
	for _, endpoint := range list.endpoints {
		if endpoint.Address == address {
			return false
		}
	}
	kinds := map[string]bool{}
	for _, from := range c.senders {
		kinds[from.kind] = true
		if from.revision < list.revision || from.functions[name].Endpoints[address] > 0 {
			return false
		}
	}
	return kinds[bus.KindGateway] && kinds[bus.KindDispatcher]
}
