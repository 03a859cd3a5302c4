package upstream

import (
	"math"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/sluicefaas/sluice/pkg/function"
)

func TestAcquireTakesTheLeastLoadedInTurn(t *testing.T) {
	var e Endpoints
	e.Update(listed("a", "b", "c"))
	first := map[string]*Lease{}
	for range 3 {
		lease, ok := e.Acquire(Limits{})
		if !ok || first[lease.Endpoint.Address] != nil {
			t.Fatalf("the load does not spread: %v, %v", lease, ok)
		}
		first[lease.Endpoint.Address] = lease
	}
	first["b"].Release()
	if lease, _ := e.Acquire(Limits{}); lease.Endpoint.Address != "b" || lease.Endpoint.Replica != "replica-b" {
		t.Errorf("took %v, not the idle one", lease.Endpoint)
	}
	for _, lease := range first {
		lease.Release()
		lease.Release()
	}
	if counts := e.InFlight(); len(counts) != 1 || counts["b"] != 1 {
		t.Errorf("in flight %v", counts)
	}
}

func TestIdleReplicasTakeTurns(t *testing.T) {
	var e Endpoints
	e.Update(listed("a", "b", "c"))
	counts := map[string]int{}
	for range 30 {
		lease, _ := e.Acquire(Limits{})
		counts[lease.Endpoint.Address]++
		lease.Release()
	}
	if counts["a"] != 10 || counts["b"] != 10 || counts["c"] != 10 {
		t.Errorf("calls one after the other went to %v", counts)
	}
}

func TestAcquireLimits(t *testing.T) {
	var e Endpoints
	if _, ok := e.Acquire(Limits{}); ok || e.Free(Limits{}) != 0 {
		t.Error("a lease without a replica")
	}
	e.Update(listed("a", "b"))
	if free := e.Free(Limits{}); free != math.MaxInt {
		t.Errorf("free without limits: %d", free)
	}
	limits := Limits{Total: 3, PerReplica: 2}
	for want := 3; want > 0; want-- {
		if free := e.Free(limits); free != want {
			t.Errorf("free %d, want %d", free, want)
		}
		if _, ok := e.Acquire(limits); !ok {
			t.Fatal("no lease within the limits")
		}
	}
	if _, ok := e.Acquire(limits); ok || e.Free(limits) != 0 {
		t.Error("more than Total")
	}
	if _, ok := e.Acquire(Limits{PerReplica: 2}, "a", "b"); ok {
		t.Error("took a replica that was excepted")
	}
}

func TestRemovedReplicaCountsUntilReleased(t *testing.T) {
	var e Endpoints
	e.Update(listed("a", "b"))
	lease, _ := e.Acquire(Limits{}, "b")
	e.Update(listed("b"))
	if e.Ready() != 1 || e.InFlight()["a"] != 1 || e.Free(Limits{Total: 2}) != 1 {
		t.Errorf("ready %d, in flight %v", e.Ready(), e.InFlight())
	}
	e.Update(listed("a"))
	if free := e.Free(Limits{PerReplica: 1}); free != 0 {
		t.Errorf("the address came back without its count: %d free", free)
	}
	e.Update(nil)
	lease.Release()
	if len(e.InFlight()) != 0 || len(e.replicas) != 0 {
		t.Errorf("left over: %v", e.replicas)
	}
}

func TestChanged(t *testing.T) {
	var e Endpoints
	changed := e.Changed()
	e.Update(nil)
	select {
	case <-changed:
		t.Fatal("closed without a change")
	default:
	}
	e.Update(listed("a"))
	wait(t, "change", changed)
	changed = e.Changed()
	e.Update(listed("a"))
	select {
	case <-changed:
		t.Fatal("closed by the same list")
	default:
	}
}

// TestEndpointsHoldTheirLimits compares any sequence of operations with a plain count.
func TestEndpointsHoldTheirLimits(t *testing.T) {
	addresses := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "d"}), 0, 5)
	rapid.Check(t, func(t *rapid.T) {
		var e Endpoints
		limits := Limits{Total: rapid.IntRange(0, 6).Draw(t, "total"), PerReplica: rapid.IntRange(0, 3).Draw(t, "per replica")}
		ready, counts, leases := map[string]bool{}, map[string]int{}, []*Lease{}
		t.Repeat(map[string]func(*rapid.T){
			"update": func(t *rapid.T) {
				list := addresses.Draw(t, "list")
				clear(ready)
				for _, address := range list {
					ready[address] = true
				}
				e.Update(listed(list...))
			},
			"acquire": func(t *rapid.T) {
				free := e.Free(limits)
				lease, ok := e.Acquire(limits)
				if ok != (free > 0) {
					t.Fatalf("acquired %v with %d free", ok, free)
				}
				if !ok {
					return
				}
				for address := range ready {
					if counts[address] < counts[lease.Endpoint.Address] {
						t.Fatalf("%s has fewer calls than %s", address, lease.Endpoint.Address)
					}
				}
				if !ready[lease.Endpoint.Address] {
					t.Fatalf("acquired %v, which is not ready", lease.Endpoint)
				}
				counts[lease.Endpoint.Address]++
				leases = append(leases, lease)
			},
			"release": func(t *rapid.T) {
				if len(leases) == 0 {
					t.Skip("nothing leased")
				}
				i := rapid.IntRange(0, len(leases)-1).Draw(t, "lease")
				counts[leases[i].Endpoint.Address]--
				leases[i].Release()
				leases[i].Release()
				leases = append(leases[:i], leases[i+1:]...)
			},
			"": func(t *rapid.T) {
				checkCounts(t, &e, limits, counts)
				if e.Ready() != len(ready) {
					t.Fatalf("%d ready of %d", e.Ready(), len(ready))
				}
			},
		})
		for _, lease := range leases {
			lease.Release()
		}
		e.Update(nil)
		if len(e.InFlight()) != 0 || len(e.replicas) != 0 || e.inFlight != 0 {
			t.Fatalf("left over: %v", e.replicas)
		}
	})
}

func checkCounts(t *rapid.T, e *Endpoints, limits Limits, counts map[string]int) {
	total := 0
	inFlight := e.InFlight()
	for address, count := range counts {
		if inFlight[address] != count || limits.PerReplica > 0 && count > limits.PerReplica {
			t.Fatalf("in flight %v, want %v, limit %d", inFlight, counts, limits.PerReplica)
		}
		total += count
	}
	if limits.Total > 0 && total > limits.Total {
		t.Fatalf("%d in flight of %d", total, limits.Total)
	}
}

// TestEndpointsConcurrently is for the race detector, and counts what runs.
func TestEndpointsConcurrently(t *testing.T) {
	var e Endpoints
	var running atomic.Int64
	limits := Limits{Total: 5, PerReplica: 3}
	lists := [][]function.Endpoint{listed("a", "b"), listed("b", "c"), listed("a")}
	e.Update(lists[0])
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := range 2000 {
				if worker == 0 {
					e.Update(lists[i%3])
					_, _, _ = e.Changed(), e.Free(limits), e.InFlight()
					continue
				}
				if lease, ok := e.Acquire(limits); ok {
					if now := running.Add(1); now > 5 {
						t.Errorf("%d calls run", now)
					}
					running.Add(-1)
					lease.Release()
				}
			}
		})
	}
	all.Wait()
	if len(e.InFlight()) != 0 {
		t.Errorf("in flight at the end: %v", e.InFlight())
	}
}

func BenchmarkAcquireRelease(b *testing.B) {
	var e Endpoints
	e.Update(listed("10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080", "10.0.0.4:8080"))
	b.ReportAllocs()
	for b.Loop() {
		lease, _ := e.Acquire(Limits{Total: 100, PerReplica: 10})
		lease.Release()
	}
}

func TestAcquireAt(t *testing.T) {
	var e Endpoints
	if _, ok := e.AcquireAt("a"); ok {
		t.Error("a lease on a replica that is not known")
	}
	e.Update(listed("a", "b"))
	limits := Limits{Total: 2, PerReplica: 1}
	var leases []*Lease
	for range 3 { // whatever the limits
		lease, ok := e.AcquireAt("a")
		if !ok || lease.Endpoint.Replica != "replica-a" {
			t.Fatalf("%v %+v", ok, lease)
		}
		leases = append(leases, lease)
	}
	if _, ok := e.Acquire(limits); ok || e.Free(limits) != 0 || e.InFlight()["a"] != 3 {
		t.Errorf("in flight %v, %d free", e.InFlight(), e.Free(limits))
	}
	e.Update(listed("b"))
	lease, ok := e.AcquireAt("a") // not ready, but known
	if !ok {
		t.Fatal("no lease on a replica that has calls in flight")
	}
	for _, lease := range append(leases, lease) {
		lease.Release()
	}
	if _, ok := e.AcquireAt("a"); ok || len(e.InFlight()) != 0 {
		t.Errorf("the replica is still known: %v", e.InFlight())
	}
}

// A call beside another one counts on its replica alone.
func TestAcquireBeside(t *testing.T) {
	var e Endpoints
	if _, ok := e.AcquireBeside("a"); ok {
		t.Error("a lease on a replica that is not known")
	}
	e.Update(listed("a", "b"))
	first, _ := e.AcquireAt("a")
	beside, ok := e.AcquireBeside("b")
	if !ok {
		t.Fatal("no lease")
	}
	if got := e.Free(Limits{Total: 3}); got != 2 {
		t.Errorf("%d of 3 slots are free", got)
	}
	if got := e.Free(Limits{Total: 3, PerReplica: 1}); got != 0 || e.InFlight()["b"] != 1 {
		t.Errorf("%d free on the replicas, in flight %v", got, e.InFlight())
	}
	beside.Release()
	beside.Release()
	first.Release()
	if got := e.Free(Limits{Total: 3}); got != 3 || len(e.InFlight()) != 0 {
		t.Errorf("%d free, in flight %v", got, e.InFlight())
	}
}

func TestList(t *testing.T) {
	var e Endpoints
	if got := e.List(); len(got) != 0 {
		t.Errorf("%v", got)
	}
	e.Update(listed("b", "a", "b"))
	if got := e.List(); len(got) != 2 || got[0] != listed("b")[0] || got[1] != listed("a")[0] {
		t.Errorf("%v", got)
	}
}
