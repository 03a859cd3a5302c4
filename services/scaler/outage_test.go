package scaler

import (
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/sluicefaas/sluice/pkg/function"
)

// Row 17 of the bugs of others: what cannot be read is neither the maximum nor zero.
func TestNATSAwayHoldsEverything(t *testing.T) {
	t.Parallel()
	f := newFixture(t, deployed(spec("a", 0, 1), 2))
	f.timing.sender, f.timing.fresh, f.timing.settle = 3*time.Second, 2500*time.Millisecond, 2*time.Second
	c := f.caller("g", newest)
	c.busy("a", 1, 1)
	f.startSynced().trusted()
	f.server.Stop()
	f.cluster.change("a", func(w *function.Workload) { w.Pods = append(w.Pods, pod("a", 9)) })
	// Far longer than the function's timeout and the patience with senders.
	never(t, f.timing.sender+time.Second, "it is scaled by guess", func() bool { return len(f.cluster.of("a")) > 0 })
	f.server.Start()
	eventually(t, "what changed meanwhile is shared", func() bool { return slices.Equal(f.reader.replicas("a"), []string{"a-1", "a-2", "a-9"}) })
	f.trusted()
	never(t, 1300*time.Millisecond, "a call in flight does not protect it", func() bool { return len(f.cluster.of("a")) > 0 })
	c.busy("a", 1, 0)
	f.isAsked(0, "a-1", "a-2", "a-9")
}

func TestUnreadableQueuesAreLoggedOnce(t *testing.T) {
	t.Parallel()
	lines := &logs{}
	s := New(Config{}, Deps{Logger: zerolog.New(lines), Registry: prometheus.NewRegistry()})
	now := time.Now()
	for _, err := range []error{errCluster, errCluster, nil, nil} {
		s.onDepths(nil, err, now)
	}
	if failed, worked := lines.with("cannot be read", errCluster.Error()), lines.with("can be read again"); len(failed) != 1 || len(worked) != 1 {
		t.Errorf("%d lines tell of the failure, %d of its end", len(failed), len(worked))
	}
	if !s.trusted(now) {
		t.Error("the depths were read and are not trusted")
	}
	s.onReconnect(now)
	if s.depthsFresh(now) || s.trusted(now.Add(2*standardTiming.settle)) {
		t.Error("depths from before the reconnect are trusted")
	}
}

// A drain under way when NATS goes away: silence of the senders releases nobody, not even after the drain timeout.
func TestNATSAwayHoldsADrain(t *testing.T) {
	t.Parallel()
	f, c := draining(t, func(f *fixture) {
		f.timing.sender, f.timing.fresh, f.timing.settle = 3*time.Second, 2500*time.Millisecond, 2*time.Second
	})
	c.at(newest)
	c.busy("a", 3, 1)
	c.heard()
	f.server.Stop()
	never(t, f.timing.sender+time.Second, "a replica ends", func() bool { return len(f.cluster.of("a")) > 0 })
	f.server.Start()
	f.trusted()
	f.stays("its call is in flight still")
	c.busy("a", 3, 0)
	f.isAsked(1, "a-2", "a-3")
}

// Workloads that appear while NATS is away are shared, and Synced is closed, when it is back.
func TestSyncedComesWhenSharingWorks(t *testing.T) {
	t.Parallel()
	f := newFixture(t, deployed(spec("a", 1, 60), 1))
	hold := make(chan struct{})
	f.cluster.events = make(chan func(Observer), 64)
	held := &heldCluster{scripted: f.cluster, hold: hold}
	f.startWith(held)
	eventually(t, "the scaler runs", func() (runs bool) {
		f.inside(func(time.Time) { runs = !f.scaler.depthsAt.IsZero() })
		return runs
	})
	f.server.Stop()
	eventually(t, "the connection is lost", func() bool { return f.scaler.deps.Bus.Connected() != nil })
	close(hold)
	eventually(t, "a is known", func() (known bool) {
		f.inside(func(time.Time) { known = f.scaler.functions["a"] != nil && f.scaler.sharing.failing })
		return known
	})
	select {
	case <-f.scaler.Synced():
		t.Fatal("synced, but nothing is shared")
	case <-time.After(200 * time.Millisecond):
	}
	f.server.Start()
	select {
	case <-f.scaler.Synced():
	case <-time.After(patience):
		t.Fatal("not synced")
	}
	eventually(t, "a is shared", func() bool { _, there := f.reader.get("a"); return there })
	if failed, worked := f.logs.with("cannot be shared"), f.logs.with("is shared again"); len(failed) != 1 || len(worked) != 1 {
		t.Errorf("%d lines tell of the failure, %d of its end", len(failed), len(worked))
	}
}

// A state that may or may not have been stored counts as not shared.
func TestUncertainShareReleasesNobody(t *testing.T) {
	t.Parallel()
	shared := function.State{Function: spec("a", 0, 0), Generation: 1}
	f := &tracked{name: "a", present: true, state: shared, shared: shared, draining: map[string]drain{"a-1": {}}}
	for _, doubt := range []func(bool){func(b bool) { f.uncertain = b }, func(b bool) { f.sharing = b }} {
		doubt(true)
		f.noteShared(time.Now())
		if !f.draining["a-1"].since.IsZero() {
			t.Error("the drain began in doubt")
		}
		doubt(false)
	}
	s := New(Config{}, Deps{Logger: zerolog.Nop(), Registry: prometheus.NewRegistry()})
	s.onShared(share{f: f, state: shared, err: errCluster}, time.Now())
	if f.upToDate() || s.sharing.dirty["a"] != f {
		t.Error("what is uncertain is not shared again")
	}
}
