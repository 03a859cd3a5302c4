package dispatcher

import (
	"fmt"
	"testing"
	"time"
)

// The function's own count reaches the limit and never exceeds it.
func TestConcurrencyIsExact(t *testing.T) {
	tests := []struct{ total, perPod, replicas, want int }{
		{1, 0, 1, 1},
		{7, 0, 1, 7},
		{7, 0, 3, 7},
		{10, 3, 1, 3},
		{10, 3, 3, 9},
		{5, 3, 3, 5},
		{1, 1, 3, 1},
		{40, 0, 3, 40},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%d_%d_%d", test.total, test.perPod, test.replicas), func(t *testing.T) {
			t.Parallel()
			r, g, total := newRig(t), make(gate), &gauge{}
			backends := replicas(t, test.replicas, total, g)
			count := 3*test.want + 5
			r.publishMany("f", count)
			r.put(spec("f", parallel(test.total, test.perPod)), backends...)
			r.dispatch()
			eventually(t, "all slots are used", func() bool { return total.current() == test.want })
			holdsFor(t, 150*time.Millisecond, "no more calls than slots", func() bool { return total.current() == test.want })
			close(g)
			r.awaitEmpty("f")
			if got := total.max(); got != test.want {
				t.Errorf("%d calls at the same time, want %d", got, test.want)
			}
			checkReplicas(t, test.perPod, backends)
			delivered := 0
			for _, b := range backends {
				delivered += b.count()
			}
			if delivered != count {
				t.Errorf("%d deliveries of %d calls", delivered, count)
			}
		})
	}
}

func replicas(t *testing.T, count int, total *gauge, g gate) (backends []*backend) {
	for range count {
		backends = append(backends, newBackend(t, total, g.hold))
	}
	return backends
}

func checkReplicas(t *testing.T, perPod int, backends []*backend) {
	t.Helper()
	for i, b := range backends {
		if got := b.own.max(); perPod > 0 && got > perPod {
			t.Errorf("%d calls at the same time on replica %d, at most %d", got, i, perPod)
		}
	}
}

// Without a call that takes its time the limits hold as well, and the least loaded replica is taken.
func TestConcurrencyUnderLoad(t *testing.T) {
	t.Parallel()
	r, total := newRig(t), &gauge{}
	var backends []*backend
	for range 3 {
		backends = append(backends, newBackend(t, total, work(2*time.Millisecond)))
	}
	r.publishMany("f", 300)
	r.put(spec("f", parallel(12, 4)), backends...)
	r.dispatch()
	r.awaitEmpty("f")
	if got := total.max(); got > 12 {
		t.Errorf("%d calls at the same time, at most 12", got)
	}
	for i, b := range backends {
		if got := b.own.max(); got > 4 {
			t.Errorf("%d calls at the same time on replica %d, at most 4", got, i)
		}
		if got := b.count(); got < 60 || got > 140 {
			t.Errorf("replica %d got %d of 300 calls", i, got)
		}
	}
}

// Replicas come and go while calls run: each keeps its limit, the function keeps its own, and no call is lost.
func TestConcurrencyWhileReplicasComeAndGo(t *testing.T) {
	t.Parallel()
	const count, limit, perPod = 250, 8, 3
	r, total := newRig(t), &gauge{}
	var backends []*backend
	for range 4 {
		backends = append(backends, newBackend(t, total, work(3*time.Millisecond)))
	}
	f := spec("f", parallel(limit, perPod))
	r.publishMany("f", count)
	r.put(f, backends[0])
	r.dispatch()
	for round := 0; r.depth("f") > 0; round++ {
		// 1, 4, 2, 0, 3 … replicas, not always the same
		n := []int{1, 4, 2, 0, 3}[round%5]
		from := round % (5 - max(1, n))
		r.put(f, backends[from:from+n]...)
		holdsFor(t, 30*time.Millisecond, "the limit", func() bool { return total.current() <= limit })
	}
	r.awaitEmpty("f")
	delivered := 0
	for i, b := range backends {
		delivered += b.count()
		if got := b.own.max(); got > perPod {
			t.Errorf("%d calls at the same time on replica %d, at most %d", got, i, perPod)
		}
	}
	if got := total.max(); got > limit {
		t.Errorf("%d calls at the same time, at most %d", got, limit)
	}
	if delivered != count {
		t.Errorf("%d deliveries of %d calls", delivered, count)
	}
}

// A replica that is not listed any more gets no call, and its calls count until they end.
func TestConcurrencyCountsCallsOfLeavingReplicas(t *testing.T) {
	t.Parallel()
	r, total, g := newRig(t), &gauge{}, make(gate)
	old, young := newBackend(t, total, g.hold), newBackend(t, total, g.hold)
	f := spec("f", parallel(3, 2))
	r.publishMany("f", 10)
	r.put(f, old)
	r.dispatch()
	eventually(t, "two calls on the old replica", func() bool { return old.own.current() == 2 })
	r.put(f, young)
	eventually(t, "the third call on the young replica", func() bool { return young.own.current() == 1 })
	holdsFor(t, 300*time.Millisecond, "the limit", func() bool { return young.own.current() == 1 && old.own.current() == 2 })
	close(g)
	r.awaitEmpty("f")
	if old.count() != 2 || total.max() > 3 || young.own.max() > 2 {
		t.Errorf("old %d calls; at the same time %d, on the young %d", old.count(), total.max(), young.own.max())
	}
}

func TestConcurrencyLimitsChangeLive(t *testing.T) {
	t.Parallel()
	r, total := newRig(t), &gauge{}
	g := make(gate)
	b := newBackend(t, total, g.hold)
	r.publishMany("f", 60)
	r.put(spec("f", parallel(2, 0)), b)
	s := r.dispatch()
	eventually(t, "2 calls", func() bool { return total.current() == 2 })
	r.put(spec("f", parallel(9, 0)), b)
	eventually(t, "9 calls", func() bool { return total.current() == 9 })
	r.put(spec("f", parallel(4, 0)), b)
	eventually(t, "the limit is known", func() bool { return s.limitOf("f") == 4 })
	// One after the other ends, until there are fewer than the limit.
	for range 6 {
		g <- struct{}{}
	}
	eventually(t, "4 calls", func() bool { return total.current() == 4 })
	holdsFor(t, 300*time.Millisecond, "4 calls", func() bool { return total.current() == 4 })
	total.forget()
	close(g)
	r.awaitEmpty("f")
	if got := total.max(); got != 4 {
		t.Errorf("%d calls at the same time, want 4", got)
	}
	if got := b.count(); got != 60 {
		t.Errorf("%d deliveries of 60 calls", got)
	}
}

// Many functions at once, each with its own limit.
func TestConcurrencyOfManyFunctions(t *testing.T) {
	t.Parallel()
	const functions, calls = 20, 10
	r := newRig(t)
	backends := map[string]*backend{}
	for i := range functions {
		name := fmt.Sprintf("f%d", i)
		backends[name] = newBackend(t, nil, work(time.Millisecond))
		r.put(spec(name, parallel(1+i%3, 0)), backends[name])
		r.publishMany(name, calls)
	}
	s := r.dispatch()
	for name, b := range backends {
		eventually(t, "the calls of "+name, func() bool { return b.count() == calls })
		if limit := s.limitOf(name); b.own.max() > limit {
			t.Errorf("%s had %d calls at the same time, at most %d", name, b.own.max(), limit)
		}
	}
}

func (s *service) limitOf(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.workers[name].limits().Total
}
