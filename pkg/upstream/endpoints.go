// Package upstream makes one call to one replica of a function. It knows the ready endpoints of a function and the
// calls in flight on each (Endpoints: the least loaded replica is taken, within limits), which headers may travel
// (header.go), how connections are kept (NewTransport), how a caller's request is proxied while he waits (Proxy)
// and how a queued call is attempted (Caller). The gateway uses the first way, the dispatcher the second; retries,
// queues and the shape of our own error answers are theirs.
package upstream

import (
	"math"
	"slices"
	"sync"

	"github.com/sluicefaas/sluice/pkg/function"
)

// Limits bound the calls in flight; 0 means no limit.
type Limits struct {
	// Total is for all calls of the function, also those on replicas that have gone away.
	Total int
	// PerReplica is for each replica.
	PerReplica int
}

// Endpoints are the ready replicas of one function and the calls that are in flight on each. A replica is known by
// its address. The zero value has no replica and is ready for use; all methods may be called concurrently.
type Endpoints struct {
	mu sync.Mutex // guards all fields below and every replica
	// ready are the replicas that may take a call, in the order of the last Update.
	ready []*replica
	// replicas, by address, are the ready ones and those that went away with calls in flight.
	replicas map[string]*replica
	inFlight int
	// next is the index in ready where the search for the least loaded begins.
	next int
	// changed is closed by the next change of the list; nil as long as nobody asked.
	changed chan struct{}
}

// replica is guarded by the mutex of the Endpoints that it belongs to.
type replica struct {
	endpoint function.Endpoint
	ready    bool
	inFlight int
}

// Lease is one call that is counted on one replica until Release.
type Lease struct {
	// Endpoint is the replica as it was listed when the lease was taken.
	Endpoint function.Endpoint

	owner *Endpoints
	// replica is nil after Release; guarded by owner.mu.
	replica *replica
	// beside says that the call counts on the replica alone.
	beside bool
}

// Update replaces the list of ready replicas. Those that are no longer in it take no new call, and their calls count
// until they are released; an address that comes back in the meantime keeps its count.
func (e *Endpoints) Update(list []function.Endpoint) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if slices.EqualFunc(e.ready, list, func(r *replica, l function.Endpoint) bool { return r.endpoint == l }) {
		return
	}
	e.replace(list)
	if e.changed != nil {
		close(e.changed)
		e.changed = nil
	}
}

func (e *Endpoints) replace(list []function.Endpoint) {
	for _, r := range e.ready {
		r.ready = false
	}
	previous := e.ready
	e.ready = make([]*replica, 0, len(list))
	for _, endpoint := range list {
		r := e.replica(endpoint.Address)
		if r.ready {
			continue // the address is in the list twice
		}
		r.endpoint, r.ready = endpoint, true
		e.ready = append(e.ready, r)
	}
	for _, r := range previous {
		e.forgetUnused(r)
	}
}

func (e *Endpoints) replica(address string) *replica {
	if r, ok := e.replicas[address]; ok {
		return r
	}
	if e.replicas == nil {
		e.replicas = make(map[string]*replica)
	}
	r := &replica{endpoint: function.Endpoint{Address: address}}
	e.replicas[address] = r
	return r
}

func (e *Endpoints) forgetUnused(r *replica) {
	if !r.ready && r.inFlight == 0 {
		delete(e.replicas, r.endpoint.Address)
	}
}

// Acquire counts a call on the ready replica with the fewest calls in flight, in turn among equals, and returns its
// lease. It returns false if no replica is ready or a limit is reached. Replicas whose address is in except are
// passed over.
func (e *Endpoints) Acquire(limits Limits, except ...string) (*Lease, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if limits.Total > 0 && e.inFlight >= limits.Total {
		return nil, false
	}
	r := e.leastLoaded(except)
	if r == nil || limits.PerReplica > 0 && r.inFlight >= limits.PerReplica {
		return nil, false
	}
	r.inFlight++
	e.inFlight++
	return &Lease{Endpoint: r.endpoint, owner: e, replica: r}, true
}

// AcquireAt counts a call on the replica at the address, whatever the limits are, also if it takes no new calls any more but has some
// in flight. It returns false if the address is not known.
func (e *Endpoints) AcquireAt(address string) (*Lease, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	r, ok := e.replicas[address]
	if !ok {
		return nil, false
	}
	r.inFlight++
	e.inFlight++
	return &Lease{Endpoint: r.endpoint, owner: e, replica: r}, true
}

// AcquireBeside is AcquireAt for a call that belongs to another one, which has the slot of the function: it counts on its replica, but
// not for Limits.Total.
func (e *Endpoints) AcquireBeside(address string) (*Lease, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	r, ok := e.replicas[address]
	if !ok {
		return nil, false
	}
	r.inFlight++
	return &Lease{Endpoint: r.endpoint, owner: e, replica: r, beside: true}, true
}

// leastLoaded searches from next on, so that equally loaded replicas take turns, and moves next behind its choice.
func (e *Endpoints) leastLoaded(except []string) *replica {
	count, best := len(e.ready), -1
	for i := range count {
		at := (e.next + i) % count
		r := e.ready[at]
		if slices.Contains(except, r.endpoint.Address) {
			continue
		}
		if best < 0 || r.inFlight < e.ready[best].inFlight {
			best = at
		}
		if r.inFlight == 0 {
			break
		}
	}
	if best < 0 {
		return nil
	}
	e.next = best + 1
	return e.ready[best]
}

// Release ends the count of the call. Only the first call of it has an effect.
func (l *Lease) Release() {
	e := l.owner
	e.mu.Lock()
	defer e.mu.Unlock()
	r := l.replica
	if r == nil {
		return
	}
	l.replica = nil
	r.inFlight--
	if !l.beside {
		e.inFlight--
	}
	e.forgetUnused(r)
}

// Free returns how many more calls could be acquired now: the smaller of what Total and what the ready replicas
// leave. Without a limit it is math.MaxInt, without a ready replica 0.
func (e *Endpoints) Free(limits Limits) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	free := e.freeOnReplicas(limits.PerReplica)
	if limits.Total > 0 {
		free = min(free, limits.Total-e.inFlight)
	}
	return max(free, 0)
}

func (e *Endpoints) freeOnReplicas(perReplica int) int {
	if len(e.ready) == 0 {
		return 0
	}
	if perReplica <= 0 {
		return math.MaxInt
	}
	free := 0
	for _, r := range e.ready {
		free += max(0, perReplica-r.inFlight)
	}
	return free
}

// Ready returns the number of ready replicas.
func (e *Endpoints) Ready() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.ready)
}

// List returns the ready replicas, in the order of the last Update.
func (e *Endpoints) List() []function.Endpoint {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := make([]function.Endpoint, len(e.ready))
	for i, r := range e.ready {
		list[i] = r.endpoint
	}
	return list
}

// InFlight returns the number of calls in flight for each address that has any, ready or not.
func (e *Endpoints) InFlight() map[string]int {
	e.mu.Lock()
	defer e.mu.Unlock()
	counts := make(map[string]int, len(e.replicas))
	for address, r := range e.replicas {
		if r.inFlight > 0 {
			counts[address] = r.inFlight
		}
	}
	return counts
}

// Changed returns a channel that is closed by the next Update that changes the list. Who waits for a replica takes
// the channel first and tries Acquire then, so that no change is missed.
func (e *Endpoints) Changed() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.changed == nil {
		e.changed = make(chan struct{})
	}
	return e.changed
}
