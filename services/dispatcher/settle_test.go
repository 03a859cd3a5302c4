package dispatcher

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// Row 21: a call that takes longer than the ack wait runs once.
func TestCallLongerThanTheAckWaitRunsOnce(t *testing.T) {
	t.Parallel()
	r, g := newRig(t, calmAckWait), make(gate)
	b := newBackend(t, nil, g.hold)
	r.put(spec("f"), b)
	r.publish("f", "")
	r.dispatch()
	eventually(t, "the call runs", func() bool { return b.own.current() == 1 })
	holdsFor(t, r.settings.AckWait*3/2, "it runs once", func() bool { return b.own.current() == 1 })
	info, err := r.consumer("f").Info(t.Context())
	if err != nil || info.NumRedelivered != 0 {
		t.Errorf("%d redeliveries, %v", info.NumRedelivered, err)
	}
	close(g)
	r.awaitEmpty("f")
	if b.count() != 1 {
		t.Errorf("%d attempts", b.count())
	}
}

// Row 22: the end of a call is settled although what interrupted the call has ended the context of its work: it is handed back,
// runs again elsewhere at once, and was no attempt.
func TestInterruptedCallIsHandedBack(t *testing.T) {
	t.Parallel()
	r, g := newRig(t, longAckWait), make(gate)
	letters := r.deadLetters()
	b := newBackend(t, nil, g.hold)
	r.put(spec("f"), b) // one attempt only
	r.publish("f", "")
	first := r.dispatch()
	eventually(t, "the call runs", func() bool { return b.own.current() == 1 })
	first.stopTaking()
	first.interrupts()
	wait(t, "the dispatcher ends", first.done)
	if got := r.depth("f"); got != 1 {
		t.Fatalf("%d calls queued", got)
	}
	close(g)
	r.dispatch()
	r.awaitEmpty("f")
	calls := b.calls()
	if len(calls) != 2 || calls[1].try != "0" || calls[1].last != "true" {
		t.Fatalf("attempts %+v", calls)
	}
	letters.none(50 * time.Millisecond)
	if got := first.counted("sluice_attempts_total", "f", "interrupted"); got != 1 {
		t.Errorf("%v interrupted attempts counted", got)
	}
}

// Row 22: a call that has ended is settled although its context has ended before that was possible: it does not run again.
func TestEndOfACallIsSettledAfterTheInterrupt(t *testing.T) {
	t.Parallel()
	r, g := newRig(t), make(gate)
	b := newBackend(t, nil, g.hold)
	r.put(spec("f"), b)
	r.publish("f", "")
	s := r.dispatch()
	eventually(t, "the call runs", func() bool { return b.own.current() == 1 })
	r.server.Stop()
	g <- struct{}{}
	eventually(t, "the call has ended", func() bool { return s.counted("sluice_attempts_total", "f", "success") == 1 })
	s.stopTaking()
	s.interrupts()
	r.server.Start()
	wait(t, "the dispatcher ends", s.done)
	r.awaitEmpty("f")
	if b.count() != 1 {
		t.Errorf("%d attempts", b.count())
	}
}

// Stopping takes no new call; those that run end and are acknowledged, and what was asked for is handed back at once.
func TestStopFinishesWhatRuns(t *testing.T) {
	t.Parallel()
	r, g := newRig(t, longAckWait), make(gate)
	b := newBackend(t, nil, g.hold)
	r.put(spec("f", parallel(3, 0)), b)
	r.put(spec("idle"))
	r.publishMany("f", 20)
	s := r.dispatch()
	eventually(t, "3 calls run", func() bool { return b.own.current() == 3 })
	s.stopTaking()
	holdsFor(t, 200*time.Millisecond, "no new call, and Run waits", func() bool {
		select {
		case <-s.done:
			return false
		default:
			return b.own.current() == 3
		}
	})
	for range 3 {
		g <- struct{}{}
	}
	s.stop()
	if b.count() != 3 || r.depth("f") != 17 {
		t.Errorf("%d calls ran, %d are queued", b.count(), r.depth("f"))
	}
	close(g)
	r.dispatch()
	r.awaitEmpty("f")
	if b.count() != 20 {
		t.Errorf("%d calls ran", b.count())
	}
}

// What was sent into pulls that nobody has handled does not wait for the ack wait: a dispatcher under load is stopped, the next one
// gets every call at once.
func TestStopUnderLoadHandsBackAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, longAckWait)
	b := newBackend(t, nil, answer(200))
	r.put(spec("f", parallel(64, 0)), b)
	const count = 2_000
	published := make(chan struct{})
	go func() {
		defer close(published)
		r.publishMany("f", count)
	}()
	for range 10 {
		s := r.dispatch()
		before := b.count()
		eventually(t, "calls run", func() bool { return b.count() > before+10 || b.count() == count })
		s.stop()
	}
	wait(t, "all are published", published)
	r.dispatch()
	r.awaitEmpty("f")
	if b.count() != count {
		t.Errorf("%d deliveries of %d calls", b.count(), count)
	}
}

// The same for calls that were sent and not even looked at.
func TestStopHandsBackWhatWasNotHandled(t *testing.T) {
	t.Parallel()
	r := newRig(t, longAckWait)
	d := New(Config{}, Deps{Bus: r.connect(), Transport: http.DefaultTransport, Logger: zerolog.Nop(), Registry: prometheus.NewRegistry()})
	if err := d.ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	take, stopTaking := context.WithCancel(t.Context())
	s := newShift(phases{take, t.Context(), t.Context()}, newWorker(d, "f"))
	s.reopen()
	s.onOpened(<-s.opened)
	if err := s.consumer.Pull(7); err != nil {
		t.Fatal(err)
	}
	r.publishMany("f", 5)
	eventually(t, "the calls are here", func() bool { return len(s.consumer.Messages()) >= 5 })
	stopTaking()
	s.stop()
	b := newBackend(t, nil, answer(200))
	r.put(spec("f"), b)
	r.dispatch()
	r.awaitEmpty("f")
	if b.count() != 5 {
		t.Errorf("%d calls came back", b.count())
	}
}
