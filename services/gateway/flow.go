package gateway

import (
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicefaas/sluice/pkg/upstream"
)

// Types of a movement, and those between whom one passes beside the functions.
const (
	movedIn       = "request_in"
	movedQueue    = "enqueue"
	movedOut      = "request_out"
	movedEvent    = "event_publish"
	movedWaiting  = "request_waiting"
	movedStarted  = "request_started"
	movedEnd      = "request_end"
	actorExternal = "external"
	actorGateway  = "slimfaas" // clients know it by this name
)

// movement is one request on its way, in the shape of SlimFaas.
type movement struct {
	ID            string `json:"Id"`
	Type          string
	Source        string
	Target        string
	QueueName     *string
	TimestampMs   int64
	NodeID        string `json:"NodeId"`
	SourcePod     *string
	TargetPod     *string
	CorrelationID *string `json:"CorrelationId"`

	// private says that it concerns a function that only those inside may see.
	private bool
}

// Limits of what is kept of movements.
const (
	maxPending = 1_000 // since the last were taken; what is more is not shown
	maxRecent  = 200
)

// flow has the movements of the requests at this gateway, for as long as somebody watches them.
type flow struct {
	node   string
	caller func(*http.Request) netip.Addr
	// watchers counts those who watch.
	watchers atomic.Int64
	// moved has a value when something is pending.
	moved chan struct{}

	mu      sync.Mutex
	last    uint64     // number of the last movement; guarded by mu
	pending []movement // guarded by mu
}

func newFlow(node string, caller func(*http.Request) netip.Addr) *flow {
	return &flow{node: node, caller: caller, moved: make(chan struct{}, 1)}
}

// take returns what has moved since the last time.
func (f *flow) take() []movement {
	f.mu.Lock()
	defer f.mu.Unlock()
	taken := f.pending
	f.pending = nil
	return taken
}

// record adds a movement and returns its id.
func (f *flow) record(m movement) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	m.ID, m.NodeID, m.TimestampMs = f.node+"-"+strconv.FormatUint(f.last, 10), f.node, time.Now().UnixMilli()
	if len(f.pending) < maxPending {
		f.pending = append(f.pending, m)
	}
	select {
	case f.moved <- struct{}{}:
	default:
	}
	return m.ID
}

// trip is one request from its arrival to its end. All methods may be called on nil, which is one that nobody watches.
type trip struct {
	flow *flow
	// in and out are its movements to the gateway and on to the function; the zero movement has not been made.
	in, out movement
	pod     *string
	to      *target
}

// begin records the arrival of a request.
func (f *flow) begin(r *http.Request, to *target) *trip {
	if f.watchers.Load() == 0 {
		return nil
	}
	t := &trip{flow: f, to: to}
	if caller := f.caller(r); caller.IsValid() {
		t.pod = pointer(caller.String())
	}
	t.in = t.move(movement{Type: movedIn, Source: actorExternal, Target: actorGateway})
	return t
}

func (t *trip) move(m movement) movement {
	m.SourcePod = t.pod
	m.private = t.to.private()
	m.ID = t.flow.record(m)
	return m
}

// waits records that the request is held until a replica is ready.
func (t *trip) waits() {
	if t != nil {
		t.move(movement{Type: movedWaiting, Source: actorGateway, Target: t.to.name})
	}
}

// starts records that the wait is over.
func (t *trip) starts() {
	if t != nil {
		t.move(movement{Type: movedStarted, Source: actorGateway, Target: t.to.name})
	}
}

// goesTo records that the request is sent to the replica, unless there is none.
func (t *trip) goesTo(lease *upstream.Lease) {
	if t != nil && lease != nil {
		t.out = t.move(movement{Type: movedOut, Source: actorGateway, Target: t.to.name, TargetPod: pointer(hostOf(lease.Endpoint.Address))})
	}
}

// end is ends, without a cost where there is nothing to record.
func (t *trip) end() func() {
	if t == nil {
		return func() {}
	}
	return t.ends
}

// ends records the end of every movement that has one.
func (t *trip) ends() {
	if t == nil {
		return
	}
	for _, m := range []movement{t.out, t.in} {
		if m.ID != "" {
			m.Type, m.CorrelationID = movedEnd, pointer(m.ID)
			t.move(m)
		}
	}
}

// enqueued records a call that was queued: what follows is the dispatcher's.
func (f *flow) enqueued(r *http.Request, to *target) {
	if t := f.begin(r, to); t != nil {
		t.move(movement{Type: movedQueue, Source: actorGateway, Target: to.name, QueueName: &to.name, CorrelationID: &t.in.ID})
	}
}

// published records an event and whom it concerns.
func (f *flow) published(r *http.Request, subscribers []*target) {
	if f.watchers.Load() == 0 {
		return
	}
	for _, to := range subscribers {
		t := f.begin(r, to)
		t.move(movement{Type: movedEvent, Source: actorGateway, Target: to.name})
		t.ends()
	}
}

func pointer[T any](value T) *T { return &value }
