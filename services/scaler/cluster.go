package scaler

import (
	"context"
	"net/netip"

	"github.com/sluicefaas/sluice/pkg/function"
)

// Cluster is where functions run: Kubernetes, or the processes of the local mode.
type Cluster interface {
	// Watch reports every workload that is a function, then each change, until ctx ends; it returns after its own
	// goroutines have. It calls the observer from one goroutine.
	Watch(ctx context.Context, observer Observer) error
	// SetReplicas asks for count replicas of the named function and returns without waiting for them. victims names the replicas to
	// end first when there are too many. It gives up when ctx ends: who may not write any more must not. A count that somebody
	// else has set, and that the observer does not know yet, is not lowered: that is an error, and the next look decides.
	SetReplicas(ctx context.Context, name string, count int, victims []string) error
}

// Observer is told what a Cluster sees. Its methods do not block for long.
type Observer interface {
	// Observe reports a workload as it is now.
	Observe(function.Workload)
	// Forget reports that the workload is gone.
	Forget(name string)
	// Inside reports every address whose callers count as inside, now and whenever one is new or gone. A cluster that tells its callers
	// apart in another way never calls it. The map is the observer's.
	Inside(map[netip.Addr]function.Insider)
	// Last is the specification of a function as an earlier leader has shared it: where an annotation is wrong at the start, its last valid
	// value is there. It may be called from any goroutine.
	Last(name string) (function.Function, bool)
	// Synced reports, once, that every workload that existed at the start has been observed.
	Synced()
}
