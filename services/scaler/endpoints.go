package scaler

import (
	"maps"
	"slices"

	"github.com/sluicefaas/sluice/pkg/function"
)

// readyEndpoints are those of the replicas that are ready and do not drain.
func (f *tracked) readyEndpoints() []function.Endpoint {
	return f.workload.ReadyEndpoints(slices.Collect(maps.Keys(f.draining))...)
}

// endpoints are what calls of f may be sent to. Where all replicas have one address, that is one endpoint with the function's name,
// for as long as one of them is ready.
func (s *Scaler) endpoints(f *tracked) []function.Endpoint {
	ready := f.readyEndpoints()
	f.ready = len(ready)
	if !s.config.BaseFunctionURL.shared() || len(ready) == 0 {
		return s.inside.mark(ready)
	}
	return []function.Endpoint{{Replica: f.name, Address: ready[0].Address, Protocol: ready[0].Protocol}}
}

// hides reports whether senders can know that the replica takes no more calls: the state that is shared has no such endpoint. One
// whose address others share is never hidden on its own: it counts as hidden at once, and ends when nothing is in flight at the
// address, or its time is over.
func (f *tracked) hides(replica string, d drain) bool {
	wanted := func(e function.Endpoint) bool { return e.Address == d.address }
	if slices.ContainsFunc(f.shared.Endpoints, func(e function.Endpoint) bool { return e.Replica == replica }) {
		return false
	}
	return !slices.ContainsFunc(f.shared.Endpoints, wanted) || slices.ContainsFunc(f.state.Endpoints, wanted)
}
