package dispatcher

import (
	"testing"
	"time"
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
		before := b.count()
		eventually(t, what, func() bool { return b.count() > before+50 })
	}
	flowing("calls are dispatched")
	for range 2 {
		leader := cluster.StreamLeader("sluice-calls")
		if leader == nil {
			t.Fatal("the calls stream has no leader")
		}
		leader.Stop()
		lost := time.Now()
		flowing("calls are dispatched without the leader")
		t.Logf("50 calls were dispatched %s after the leader was stopped", time.Since(lost).Round(time.Millisecond))
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
