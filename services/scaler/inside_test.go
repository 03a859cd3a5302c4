package scaler

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/function"
)

// insideView is a gateway's view of who is inside.
type insideView struct {
	mu       sync.Mutex
	there    map[netip.Addr]function.Insider // guarded by mu
	revision uint64                          // guarded by mu
}

func (v *insideView) Apply(address netip.Addr, insider function.Insider) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.there[address] = insider
}

func (v *insideView) Remove(address netip.Addr) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.there, address)
}

func (v *insideView) Applied(revision uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.revision = revision
}

func (v *insideView) applied() uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.revision
}

func (v *insideView) is(want map[netip.Addr]function.Insider) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return maps.Equal(v.there, want)
}

// watchInside follows the bucket until the test ends.
func watchInside(t *testing.T, b *bus.Bus) *insideView {
	t.Helper()
	v := &insideView{there: map[netip.Addr]function.Insider{}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		store, err := b.AwaitInside(ctx)
		if err == nil {
			err = store.Watch(ctx, v)
		}
		done <- err
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return v
}

// insiders are the replicas of a, with count addresses from the number on.
func insiders(from, count int) map[netip.Addr]function.Insider {
	all := map[netip.Addr]function.Insider{}
	for i := from; i < from+count; i++ {
		address := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		all[address] = function.Insider{Kind: function.InsiderFunction, Name: "a", Replica: fmt.Sprint("a-", i)}
	}
	return all
}

// reports lets the cluster report who is inside.
func (f *fixture) reports(inside map[netip.Addr]function.Insider) {
	f.cluster.events <- func(o Observer) { o.Inside(maps.Clone(inside)) }
}

func TestWhoIsInsideIsShared(t *testing.T) {
	t.Parallel()
	f := newFixture(t).startSynced()
	view := watchInside(t, f.bus)
	want := insiders(0, 100)
	f.reports(want)
	eventually(t, "all are shared", func() bool { return view.is(want) })
	want = insiders(50, 100)
	address := netip.MustParseAddr("fd00::1")
	want[address] = function.Insider{Kind: function.InsiderJob, Name: "j"}
	f.reports(want)
	eventually(t, "the changes are shared", func() bool { return view.is(want) })
	want[address] = function.Insider{Kind: function.InsiderSluice, Name: "gateway"}
	f.reports(want)
	eventually(t, "another one at the address is shared", func() bool { return view.is(want) })
	f.stop()

	// The next leader says nothing before the cluster does, then goes on from what is there.
	revision := view.applied()
	f.startSynced()
	never(t, 100*time.Millisecond, "somebody is dropped", func() bool { return !view.is(want) })
	f.reports(want)
	eventually(t, "the bucket is read", func() (read bool) {
		f.inside(func(time.Time) {
			read = f.scaler.inside.store != nil && len(f.scaler.inside.dirty) == 0 && !f.scaler.inside.compare
		})
		return read
	})
	if view.applied() != revision {
		t.Errorf("what was there was written again: revision %d was %d", view.applied(), revision)
	}
	f.reports(nil)
	eventually(t, "all are gone", func() bool { return view.is(nil) })
}

func TestNobodyIsInsideWithoutAReport(t *testing.T) {
	t.Parallel()
	f := newFixture(t, deployed(spec("a", 1, 300), 1)).startSynced().trusted()
	f.inside(func(time.Time) {
		if f.scaler.inside.store != nil || f.scaler.inside.opening {
			t.Error("the bucket was opened")
		}
	})
}

func TestWhoIsInsideIsSharedAfterAnOutage(t *testing.T) {
	t.Parallel()
	f := newFixture(t).startSynced()
	view := watchInside(t, f.bus)
	want := insiders(0, 10)
	f.reports(want)
	eventually(t, "all are shared", func() bool { return view.is(want) })
	f.server.Stop()
	want = insiders(5, 10)
	f.reports(want)
	eventually(t, "sharing fails", func() bool { return len(f.logs.with("who is inside cannot be shared")) > 0 })
	f.server.Start()
	eventually(t, "the changes are shared", func() bool { return view.is(want) })
	// Changes that the reconnect has interrupted may fail after others have worked: each such turn is logged.
	eventually(t, "the end of the failure is logged", func() bool {
		failed, worked := f.logs.with("who is inside cannot be shared"), f.logs.with("who is inside is shared again")
		return len(failed) == len(worked) && len(failed) <= maxInsideChanges
	})
}

// A report that comes first while NATS is away is shared when it is back.
func TestFirstReportDuringAnOutage(t *testing.T) {
	t.Parallel()
	f := newFixture(t).startSynced()
	f.server.Stop()
	eventually(t, "the connection is lost", func() bool { return f.scaler.deps.Bus.Connected() != nil })
	f.reports(insiders(0, 10))
	never(t, 200*time.Millisecond, "the loop stands still", func() bool { f.inside(func(time.Time) {}); return false })
	f.server.Start()
	view := watchInside(t, f.bus)
	eventually(t, "all are shared", func() bool { return view.is(insiders(0, 10)) })
}

// No more than some changes are under way, one at a time for each address, and the latest report wins.
func TestInsideChangesAreBounded(t *testing.T) {
	t.Parallel()
	s, now := quietScaler(), time.Now()
	i := &s.inside
	i.store, i.have = &bus.Inside{}, map[netip.Addr]function.Insider{}
	i.report(insiders(0, 40))
	i.diff()
	first := i.nextChanges()
	if len(first) != maxInsideChanges || len(i.nextChanges()) != 0 {
		t.Fatalf("%d changes are under way", len(first))
	}
	i.report(map[netip.Addr]function.Insider{})
	i.diff()
	for _, change := range first {
		change.revision = 7
		s.onInsideChanged(change, now)
	}
	first[0].err = errCluster
	if second := i.nextChanges(); len(second) != maxInsideChanges || !second[0].gone {
		t.Fatalf("what has gone meanwhile is not taken back: %+v", second)
	}
	failed := insideChange{address: netip.MustParseAddr("10.9.9.9"), insider: function.Insider{Name: "x"}, err: errCluster}
	i.changing[failed.address] = struct{}{}
	s.onInsideChanged(failed, now)
	if _, doubtful := i.have[failed.address]; !doubtful || !i.notBefore.After(now) || i.revision != 7 {
		t.Error("a change that failed counts as not done, or is repeated at once")
	}
}

// insideReplicas notes the replicas that may be called and are not said to be inside.
type insideReplicas struct {
	outside []string
	seen    int
}

func (r *insideReplicas) Apply(state function.State) {
	for _, e := range state.Endpoints {
		if r.seen++; !e.Inside {
			r.outside = append(r.outside, e.Replica)
		}
	}
}
func (r *insideReplicas) Remove(string)  {}
func (r *insideReplicas) Applied(uint64) {}

// A replica that is called may call others at once: whoever learns that it may be called learns that it is inside.
func TestReplicasAreInsideWhenTheyAreCalled(t *testing.T) {
	t.Parallel()
	const replicas = 100
	f := newFixture(t).startSynced()
	store, err := f.bus.AwaitFunctions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	reader := &insideReplicas{}
	ctx, cancel := context.WithCancel(t.Context())
	watched := make(chan error, 1)
	go func() { watched <- store.Watch(ctx, reader) }()
	inside := map[netip.Addr]function.Insider{}
	w := function.Workload{Function: spec("a", 0, 300), Replicas: replicas}
	for address, insider := range insiders(0, replicas) {
		inside[address] = insider
		w.Pods = append(w.Pods, function.Pod{Name: insider.Replica, Address: netip.AddrPortFrom(address, 80).String(), Ready: true})
		seen, workload := maps.Clone(inside), w
		workload.Pods = slices.Clone(w.Pods)
		f.cluster.events <- func(o Observer) { o.Inside(seen); o.Observe(workload) }
	}
	eventually(t, "all replicas are shared", func() bool {
		states, err := store.Load(t.Context())
		return err == nil && len(states["a"].Endpoints) == replicas
	})
	cancel()
	if err := <-watched; err != nil {
		t.Fatal(err)
	}
	if len(reader.outside) > 0 || reader.seen == 0 {
		t.Errorf("%d of %d endpoints are not said to be inside: %q …", len(reader.outside), reader.seen, reader.outside[:min(5, len(reader.outside))])
	}
}
