package dispatcher

import (
	"net/http"
	"testing"
	"time"
)

// Stopping waits for no open call. The next dispatcher goes on waiting for the callback, and calls the function no more.
func TestStopLeavesOpenCallsToTheNext(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := newBackend(t, nil, answer(202))
	f := spec("f", parallel(2, 0), timeout(600)) // one attempt only; stop would not wait that long
	r.put(f, b)
	one, two := r.publish("f", "1"), r.publish("f", "2")
	first := r.dispatch()
	r.awaitOpen("f", one)
	until := r.awaitOpen("f", two).Until
	first.stop()
	r.callback("f", one, "success") // while no dispatcher runs
	second := r.dispatch()
	eventually(t, "the first one is out of the queue", func() bool { return r.depth("f") == 1 })
	eventually(t, "the second one is counted at its replica", func() bool { return second.inFlight("f") == 1 })
	if record := r.awaitOpen("f", two); !record.Until.Equal(until) {
		t.Errorf("it is open until %s, it was until %s", record.Until, until)
	}
	second.stop()
	third := r.dispatch()
	eventually(t, "the second one is counted at its replica", func() bool { return third.inFlight("f") == 1 })
	r.callback("f", two, "success")
	r.awaitEmpty("f")
	r.awaitNoRecords("f")
	if b.count() != 2 {
		t.Errorf("%d attempts of 2 calls", b.count())
	}
	if got := first.counted("sluice_attempts_total", "f", "interrupted"); got != 2 {
		t.Errorf("%v interrupted attempts counted", got)
	}
}

// The dispatcher dies without a word: the record says what the function has taken over, what has ended meanwhile, and what is overdue.
func TestDispatcherDiesWithOpenCalls(t *testing.T) {
	t.Parallel()
	r := newRig(t, shortAckWait)
	b := newBackend(t, nil, func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("SlimFaas-Try-Number") == "0" {
			w.WriteHeader(202)
		}
	})
	long, short := spec("long", parallel(3, 0)), spec("short", timeout(8), retries(1))
	r.put(long, b)
	r.put(short, b)
	ended, goesOn, failed := r.publish("long", ""), r.publish("long", ""), r.publish("long", "")
	overdue := r.publish("short", "")
	theirs := r.connect()
	first := r.dispatchOver(theirs)
	for _, id := range []string{ended, goesOn, failed} {
		r.awaitOpen("long", id)
	}
	over := r.awaitOpen("short", overdue).Until
	theirs.Close()
	first.interrupt()
	<-time.After(time.Until(over))
	r.callback("long", ended, "success")
	letters := r.deadLetters()
	second := r.dispatch()
	eventually(t, "what goes on is counted", func() bool { return second.inFlight("long") == 2 })
	r.callback("long", failed, "error") // its only attempt
	if letter := letters.next(); letter.Header.Get("Sluice-Dead-Call-Id") != failed || letter.Header.Get("Sluice-Dead-Reason") != "callback_error" || letter.Header.Get("Sluice-Dead-Attempts") != "1" {
		t.Errorf("dead letter %v", letter.Header)
	}
	r.awaitEmpty("short")
	holdsFor(t, 200*time.Millisecond, "the open call waits", func() bool { return r.depth("long") == 1 })
	r.callback("long", goesOn, "success")
	r.awaitEmpty("long")
	r.awaitNoRecords("long")
	if b.count() != 5 { // the overdue one twice
		t.Errorf("%d attempts of 4 calls", b.count())
	}
	for _, c := range b.calls() {
		if c.try != "0" && (c.id != overdue || c.try != "1" || c.last != "true") {
			t.Errorf("attempt %+v", c)
		}
	}
}

// The dispatcher dies after the callback and before the 202: the function has said that the call has ended, and is not called again.
func TestDispatcherDiesBetweenCallbackAnd202(t *testing.T) {
	t.Parallel()
	r, g := newRig(t, shortAckWait), make(gate)
	b := newBackend(t, nil, g.hold)
	r.put(spec("f"), b)
	id := r.publish("f", "")
	theirs := r.connect()
	first := r.dispatchOver(theirs)
	eventually(t, "the call runs", func() bool { return b.own.current() == 1 })
	r.callback("f", id, "success")
	theirs.Close()
	first.interrupt()
	r.dispatch()
	r.awaitEmpty("f")
	r.awaitNoRecords("f")
	if b.count() != 1 {
		t.Errorf("%d attempts", b.count())
	}
	close(g)
}

// Row 18: NATS is away while a call is open. What is called back after that ends it at once, and it runs once.
func TestServerRestartsWhileACallIsOpen(t *testing.T) {
	t.Parallel()
	r := newRig(t, shortAckWait)
	b := newBackend(t, nil, answer(202))
	r.put(spec("f", parallel(2, 0)), b)
	one, two := r.publish("f", ""), r.publish("f", "")
	s := r.dispatch()
	record := r.awaitOpen("f", one)
	r.awaitOpen("f", two)
	r.server.Stop()
	<-time.After(r.settings.AckWait) // the server thinks that both are lost when it is back
	r.server.Start()
	r.callback("f", one, "success")
	eventually(t, "one is out of the queue", func() bool { return r.depth("f") == 1 })
	// A hint that was lost with a server is made up for by the reconnect, or by the next look.
	record.Callback = "success"
	if err := r.attempts().Record(t.Context(), "f", two, record); err != nil {
		t.Fatal(err)
	}
	r.server.Stop()
	r.server.Start()
	r.awaitEmpty("f")
	if b.count() != 2 {
		t.Errorf("%d attempts of 2 calls", b.count())
	}
	eventually(t, "nothing is in flight", func() bool { return s.inFlight("f") == 0 })
}

// NATS is away when the 202 arrives, and still when the time of the call is over: nothing is decided before it is back.
func TestServerIsAwayWhenACallIsTakenOver(t *testing.T) {
	t.Parallel()
	r, g := newRig(t, shortAckWait), make(gate)
	b := newBackend(t, nil, func(w http.ResponseWriter, req *http.Request) {
		g.hold(w, req)
		w.WriteHeader(202)
	})
	r.put(spec("f"), b)
	id := r.publish("f", "")
	r.dispatch()
	eventually(t, "the call runs", func() bool { return b.own.current() == 1 })
	r.server.Stop()
	close(g)
	eventually(t, "it was answered", func() bool { return b.count() == 1 })
	r.server.Start()
	r.awaitOpen("f", id)
	r.callback("f", id, "success")
	r.awaitEmpty("f")
	if b.count() != 1 {
		t.Errorf("%d attempts", b.count())
	}
}

// The replica that took a call over goes away, or the whole function does: its callback ends the call all the same.
func TestReplicaOfAnOpenCallGoesAway(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	old, young := newBackend(t, nil, answer(202)), newBackend(t, nil, answer(202))
	f := spec("f", parallel(2, 0))
	r.put(f, old)
	one, two := r.publish("f", ""), r.publish("f", "")
	first := r.dispatch()
	r.awaitOpen("f", one)
	r.awaitOpen("f", two)
	r.put(f, young)
	r.callback("f", one, "success")
	eventually(t, "one has ended", func() bool { return r.depth("f") == 1 && first.inFlight("f") == 1 })
	first.stop()
	second := r.dispatch() // it does not know the replica
	holdsFor(t, 700*time.Millisecond, "it is counted nowhere", func() bool { return second.inFlight("f") == 0 })
	r.callback("f", two, "success")
	r.awaitEmpty("f")
	if old.count() != 2 || young.count() != 0 {
		t.Errorf("%d and %d attempts", old.count(), young.count())
	}
}
