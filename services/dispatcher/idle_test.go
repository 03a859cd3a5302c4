package dispatcher

import (
	"fmt"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

// wakes counts the wakes of each function.
func (r *rig) wakes(name string) func() int64 {
	r.t.Helper()
	var count atomic.Int64
	stop, err := r.bus.OnWake(func(function string) {
		if function == name {
			count.Add(1)
		}
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(stop)
	if err := r.bus.Wake("another"); err != nil { // and have the server know the subscription
		r.t.Fatal(err)
	}
	r.depth(name)
	return count.Load
}

func (s *service) awake(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.workers[name]
	return w != nil && w.running
}

func (s *service) listening(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.workers[name]
	return w != nil && !w.running && w.unlisten != nil
}

// Idle functions cost no goroutine and no consumer; a call that anybody publishes wakes one at once, and only that one.
func TestIdleFunctionsCostNoGoroutine(t *testing.T) {
	const count = 2_000
	r := newRig(t)
	r.sweepEvery = time.Hour // only the publication itself can wake the function
	wakes := r.wakes("f1234")
	s := r.dispatch()
	r.put(spec("last"))
	eventually(t, "the first is known", func() bool { return s.listening("last") })
	before := runtime.NumGoroutine()
	atOnce(count, func(i int) { r.put(spec(fmt.Sprintf("f%d", i))) })
	r.put(spec("the-end"))
	eventually(t, "all are known", func() bool { return s.listening("the-end") })
	eventually(t, "no goroutine each", func() bool { return runtime.NumGoroutine() < before+20 })
	if got := len(s.log.with("")); got > 0 {
		t.Errorf("%d lines in the log", got)
	}

	conn := r.raw()
	if err := conn.Publish("sluice.call.f1234", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the wake", func() bool { return wakes() > 0 })
	if s.awake("f1233") || !s.awake("f1234") {
		t.Error("not the one that was called is awake")
	}
	b := newBackend(t, nil, answer(200))
	r.put(spec("f1234"), b)
	r.awaitEmpty("f1234")
	r.put(spec("f1234"))
	eventually(t, "it sleeps again", func() bool { return s.listening("f1234") })
	woken := wakes()
	holdsFor(t, 1200*time.Millisecond, "without work there is no wake", func() bool { return wakes() == woken })
	if err := conn.Publish("sluice.call.f1234", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the second wake", func() bool { return wakes() > woken })
}

// A lost wake is repeated for as long as there is work.
func TestWakesAreRepeated(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	wakes := r.wakes("f")
	r.put(spec("f"))
	r.publish("f", "")
	r.dispatch()
	eventually(t, "three wakes", func() bool { return wakes() >= 3 })
}

// Changes of an idle function's state are no reason to wake it.
func TestStatesDoNotWake(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	wakes := r.wakes("f")
	b := newBackend(t, nil, answer(200))
	s := r.dispatch()
	for i := range 20 {
		if i%4 == 0 {
			r.put(spec("f"), b)
		} else {
			r.put(spec("f", parallel(i, 0)))
		}
	}
	eventually(t, "it sleeps", func() bool { return s.listening("f") })
	if got := wakes(); got > 0 {
		t.Errorf("%d wakes", got)
	}
}

// Calls that were queued before the dispatcher was there are found at once, of functions with replicas and without.
func TestQueuedCallsAreFoundAtStart(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	wakes := r.wakes("asleep")
	b := newBackend(t, nil, answer(200))
	r.publishMany("ready", 5)
	r.publishMany("asleep", 5)
	r.put(spec("ready"), b)
	r.put(spec("asleep"))
	r.sweepEvery, r.grace = time.Hour, 10*time.Hour // nothing but the start finds them
	r.dispatch()
	eventually(t, "the wake", func() bool { return wakes() > 0 })
	r.awaitEmpty("ready")
	r.put(spec("asleep"), b)
	r.awaitEmpty("asleep")
}

// A call that is published at the moment when its function goes to sleep is not missed: neither its message nor its wake.
func TestCallsAtTheMomentOfSleepAreNotMissed(t *testing.T) {
	t.Parallel()
	const functions, rounds = 40, 2
	r := newRig(t)
	r.sweepEvery = time.Hour // who looks at all queues would find the calls too
	conn, b := r.raw(), newBackend(t, nil, answer(200))
	var wakes [functions]atomic.Int64
	stop, err := r.bus.OnWake(func(name string) {
		if i, err := strconv.Atoi(name[1:]); err == nil {
			wakes[i].Add(1)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	all := func(each func(i int, name string)) {
		for i := range functions {
			each(i, fmt.Sprintf("f%d", i))
		}
	}
	all(func(_ int, name string) { r.put(spec(name), b) })
	s := r.dispatch()
	eventually(t, "all are awake", func() bool { return s.awake(fmt.Sprintf("f%d", functions-1)) })
	for round := 1; round <= rounds; round++ {
		all(func(_ int, name string) { r.put(spec(name)) })
		// A function sleeps half a second to a second after its last replica has gone.
		start := time.Now()
		var before [functions]int64
		all(func(i int, name string) {
			<-time.After(time.Until(start.Add(time.Duration(400+i*700/functions) * time.Millisecond)))
			before[i] = wakes[i].Load()
			if err := conn.Publish("sluice.call."+name, nil); err != nil {
				t.Fatal(err)
			}
		})
		all(func(i int, name string) {
			eventually(t, name+" is woken", func() bool { return wakes[i].Load() > before[i] })
		})
		all(func(_ int, name string) { r.put(spec(name), b) })
		eventually(t, "all calls are delivered", func() bool { return b.count() == round*functions })
	}
}
