package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sluicefaas/sluice/pkg/job"
)

const (
	// stateInterval is the shortest time between two snapshots, and how often the queues are looked at.
	stateInterval = time.Second
	// flushDelay gathers movements, so that many of them make few events, of at most maxBatch.
	flushDelay = 50 * time.Millisecond
	maxBatch   = 100
	// maxStreams bounds the clients.
	maxStreams = 100
)

// statusStream serves GET /status-functions-stream: the state of all functions, and the movements of the requests at this gateway. What a
// dispatcher does with queued calls is not among the movements. Those outside get neither private functions nor addresses.
type statusStream struct {
	gateway *Gateway
	// interval is stateInterval but in tests.
	interval time.Duration
	// joined has a value when a client waits for its first snapshot.
	joined chan struct{}

	mu      sync.Mutex
	clients map[*streamClient]struct{} // guarded by mu

	// The rest belongs to the goroutine of run.
	depths   map[string]uint64
	jobs     map[bool][]byte // as JSON, for those outside and inside
	revision uint64          // of the functions in states
	states   map[bool]*streamState
	recent   []movement
}

func newStatusStream(g *Gateway) *statusStream {
	return &statusStream{
		gateway: g, interval: stateInterval, joined: make(chan struct{}, 1),
		clients: map[*streamClient]struct{}{}, states: map[bool]*streamState{},
	}
}

// join adds a client; it returns nil if there are too many.
func (s *statusStream) join(inside bool) *streamClient {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.clients) >= maxStreams {
		return nil
	}
	c := newStreamClient(inside)
	s.clients[c] = struct{}{}
	s.gateway.flow.watchers.Add(1)
	select {
	case s.joined <- struct{}{}:
	default:
	}
	return c
}

func (s *statusStream) leave(c *streamClient) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clients, c)
	s.gateway.flow.watchers.Add(-1)
}

// list returns the clients.
func (s *statusStream) list() []*streamClient {
	s.mu.Lock()
	defer s.mu.Unlock()
	clients := make([]*streamClient, 0, len(s.clients))
	for c := range s.clients {
		clients = append(clients, c)
	}
	return clients
}

// run tells the clients what changes, until ctx ends.
func (s *statusStream) run(ctx context.Context) {
	tick := time.NewTicker(s.interval)
	defer tick.Stop()
	var flush <-chan time.Time
	for {
		select {
		case <-tick.C:
			s.sendStates(s.refresh(ctx))
		case <-s.joined:
			if len(s.states) == 0 {
				tick.Reset(s.interval)
				s.refresh(ctx)
			}
			s.sendStates(false)
		case <-s.gateway.flow.moved:
			if flush == nil {
				flush = time.After(flushDelay)
			}
		case <-flush:
			flush = nil
			s.sendMovements()
		case <-ctx.Done():
			return
		}
	}
}

// sendStates sends a snapshot to those clients that have not got the newest one.
func (s *statusStream) sendStates(changed bool) {
	frames := map[bool][]byte{}
	if len(s.states) == 0 { // nobody was there a moment ago; joined, or the next tick, brings us here again
		return
	}
	for _, c := range s.list() {
		switch {
		case !c.begun:
			c.begun = true
			c.tell(s.frame(c.inside, s.recent))
		case changed:
			if frames[c.inside] == nil {
				frames[c.inside] = s.frame(c.inside, nil)
			}
			c.tell(frames[c.inside])
		}
	}
}

// refresh brings the snapshots up to date, if there are clients, and reports whether that has changed them.
func (s *statusStream) refresh(ctx context.Context) (changed bool) {
	if s.gateway.flow.watchers.Load() == 0 {
		s.recent, s.states = nil, map[bool]*streamState{}
		s.gateway.flow.take()
		return false
	}
	revision := s.gateway.functions.revision.Load()
	depths := s.readDepths(ctx)
	jobs := s.gateway.streamJobs()
	if len(s.states) > 0 && revision == s.revision && maps.Equal(depths, s.depths) && maps.EqualFunc(jobs, s.jobs, bytes.Equal) {
		return false
	}
	s.revision, s.depths, s.jobs = revision, depths, jobs
	for _, inside := range []bool{false, true} {
		s.states[inside] = s.gateway.streamState(inside, depths)
		s.states[inside].Jobs = jobs[inside]
	}
	return true
}

// readDepths returns the lengths of the queues, the last known ones if they cannot be read.
func (s *statusStream) readDepths(ctx context.Context) map[string]uint64 {
	ctx, cancel := context.WithTimeout(ctx, depthTimeout)
	defer cancel()
	depths, err := s.gateway.deps.Bus.Depths(ctx)
	if err != nil {
		return s.depths
	}
	return depths
}

// frame is the event "state" for those inside or outside.
func (s *statusStream) frame(inside bool, recent []movement) []byte {
	state := *s.states[inside]
	state.RecentActivity = movementsFor(inside, recent)
	return streamEvent("state", state)
}

// streamState is the snapshot for those inside or outside.
func (g *Gateway) streamState(inside bool, depths map[string]uint64) *streamState {
	state := &streamState{
		Functions: []streamFunction{}, Queues: []streamQueue{},
		SlimFaasReplicas: 1, SlimFaasNodes: []streamNode{{g.deps.Name, "Running"}}, FrontEnabled: true,
	}
	for _, t := range g.functions.all() {
		s := t.state.Load()
		if inside || !t.private() {
			state.Functions = append(state.Functions, streamFunctionOf(s, inside))
			state.Queues = append(state.Queues, streamQueue{t.name, depths[t.name]})
		}
	}
	return state
}

// streamJobs are the jobs of a snapshot for those outside and inside; none while they are not known.
func (g *Gateway) streamJobs() map[bool][]byte {
	all := g.slimFaasJobs(true)
	public := slices.DeleteFunc(slices.Clone(all), func(j slimFaasJob) bool { return j.Visibility != string(job.Public) })
	shown := map[bool][]byte{}
	for inside, jobs := range map[bool][]slimFaasJob{false: public, true: all} {
		shown[inside], _ = json.Marshal(jobs) // strings and numbers can be written
	}
	return shown
}

// sendMovements sends what has moved since the last time, in batches.
func (s *statusStream) sendMovements() {
	moved := s.gateway.flow.take()
	s.recent = append(s.recent, moved...)
	s.recent = append([]movement(nil), s.recent[max(0, len(s.recent)-maxRecent):]...)
	clients := s.list()
	for _, inside := range []bool{false, true} {
		frames := movementFrames(movementsFor(inside, moved))
		for _, c := range clients {
			if c.inside == inside {
				c.show(frames)
			}
		}
	}
}

// movementsFor leaves out what those outside may not see.
func movementsFor(inside bool, all []movement) []movement {
	seen := make([]movement, 0, len(all))
	for _, m := range all {
		if inside {
			seen = append(seen, m)
		} else if !m.private {
			m.SourcePod, m.TargetPod = nil, nil
			seen = append(seen, m)
		}
	}
	return seen
}

// movementFrames makes events of movements: "activity" of a single one, "activity_batch" of several.
func movementFrames(movements []movement) (frames [][]byte) {
	for len(movements) > 0 {
		batch := movements[:min(len(movements), maxBatch)]
		movements = movements[len(batch):]
		if len(batch) == 1 {
			frames = append(frames, streamEvent("activity", batch[0]))
		} else {
			frames = append(frames, streamEvent("activity_batch", batch))
		}
	}
	return frames
}

// streamEvent is one event of text/event-stream.
func streamEvent(name string, data any) []byte {
	text, _ := json.Marshal(data) // strings and numbers can be written
	event := append([]byte("event: "+name+"\ndata: "), text...)
	return append(event, "\n\n"...)
}
