package dispatcher

import (
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
)

// Row 18, on three servers: the leader of the calls stream goes under load, another one after it is back, and then all three at
// once. Every accepted call is delivered, the limit holds throughout, and at most what was under way at each loss runs again.
func TestClusterLosesServersUnderLoad(t *testing.T) {
	t.Parallel()
	r, cluster := newClusterRig(t)
	total := &gauge{}
	b := newBackend(t, total, work(20*time.Millisecond))
	r.put(spec("f", parallel(6, 0)), b)
	r.dispatch()
	stop := r.load("f")
	flowing := func(what string) {
		t.Helper()
		before, start := b.count(), time.Now()
		for b.count() <= before+50 {
			if <-time.After(2 * time.Millisecond); time.Since(start) > 3*patience { // three servers on a busy machine elect many leaders
				t.Fatalf("waited in vain: %s", what)
			}
		}
		t.Logf("%s, after %s", what, time.Since(start).Round(time.Millisecond))
	}
	flowing("calls are dispatched")
	for range 2 {
		var leader *bustest.Server
		eventually(t, "the calls stream has a leader", func() bool { leader = cluster.StreamLeader("sluice-calls"); return leader != nil })
		leader.Stop()
		flowing("calls are dispatched without the leader")
		leader.Start()
		flowing("calls are dispatched by three servers again")
	}
	for _, server := range cluster.Servers {
		server.Stop()
	}
	for _, server := range cluster.Servers {
		server.Start()
	}
	flowing("calls are dispatched after all servers were away")
	accepted := stop()
	r.awaitEmpty("f")
	if again := ledger(t, accepted, b); again > 3*6 {
		t.Errorf("%d of %d calls ran again", again, len(accepted))
	}
	if total.max() > 6 {
		t.Errorf("%d calls at the same time", total.max())
	}
}
