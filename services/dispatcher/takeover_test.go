package dispatcher

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
)

// attempts are the records as the gateway has them.
func (r *rig) attempts() *bus.Attempts {
	r.t.Helper()
	attempts, err := r.bus.OpenAttempts(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return attempts
}

func (r *rig) callback(name, id, word string) {
	r.t.Helper()
	if err := r.attempts().Callback(r.t.Context(), name, id, word); err != nil {
		r.t.Fatal(err)
	}
}

// awaitOpen waits until it is recorded that the function has taken the call over.
func (r *rig) awaitOpen(name, id string) (record bus.Attempt) {
	r.t.Helper()
	attempts := r.attempts()
	slowly(r.t, 10*time.Millisecond, "the function has taken the call over", func() bool {
		var err error
		record, _, err = attempts.Get(r.t.Context(), name, id)
		return err == nil && !record.Until.IsZero()
	})
	return record
}

// inFlight is what the service counts at the function's replicas.
func (s *service) inFlight(name string) (sum int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.workers[name]; w != nil {
		for _, count := range w.endpoints.InFlight() {
			sum += count
		}
	}
	return sum
}

func TestCallbackEndsTheCall(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.lookEvery = time.Hour // it is the hint that tells of the callback
	b := newBackend(t, nil, script(answer(202), answer(200)))
	r.put(spec("f", parallel(1, 0), timeout(600)), b)
	first, second := r.publish("f", ""), r.publish("f", "")
	s := r.dispatch()
	record := r.awaitOpen("f", first)
	if left := time.Until(record.Until); record.Endpoint != b.address || record.Tries != 0 || left > 600*time.Second || left < 500*time.Second {
		t.Errorf("record %+v, %s left", record, left)
	}
	// It holds its slot and its replica, and its caller is not told yet.
	holdsFor(t, 700*time.Millisecond, "the second call waits", func() bool { return b.count() == 1 && s.inFlight("f") == 1 })
	r.callback("f", first, "success")
	eventually(t, "the second call runs", func() bool { return b.count() == 2 })
	r.awaitEmpty("f")
	r.awaitNoRecords("f")
	if calls := b.calls(); calls[0].id != first || calls[1].id != second {
		t.Errorf("attempts %+v", calls)
	}
	eventually(t, "both are counted", func() bool {
		return s.counted("sluice_queued_calls_ended_total", "f", "success") == 2 && s.counted("sluice_attempts_total", "f", "success") == 2 && s.inFlight("f") == 0
	})
}

// An error is a failed attempt that is tried again as a listed status would be, and in the end a dead letter.
func TestCallbackWithAnError(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	letters := r.deadLetters()
	b := newBackend(t, nil, answer(202))
	r.put(spec("f", retries(1)), b)
	id := r.publish("f", "kept")
	s := r.dispatch()
	for i := range 2 {
		eventually(t, "an attempt", func() bool { return b.count() == i+1 })
		r.awaitOpen("f", id)
		r.callback("f", id, "error")
	}
	letter := letters.next()
	header := letter.Header
	if header.Get("Sluice-Dead-Reason") != "callback_error" || header.Get("Sluice-Dead-Attempts") != "2" || header.Get("Sluice-Dead-Last-Status") != "202" || string(letter.Data) != "kept" {
		t.Errorf("%v %q", header, letter.Data)
	}
	r.awaitEmpty("f")
	r.awaitNoRecords("f")
	calls := b.calls()
	if len(calls) != 2 || calls[1].try != "1" || calls[1].last != "true" || calls[1].at.Sub(calls[0].until) < time.Second {
		t.Errorf("attempts %+v", calls)
	}
	eventually(t, "they are counted", func() bool {
		return s.counted("sluice_attempts_total", "f", "callback_error") == 2 && s.counted("sluice_dead_calls_total", "f", "callback_error") == 1
	})
	letters.none(50 * time.Millisecond)
}

// No callback in time is a failed attempt. The time counts from the start of the attempt, and one that comes later is refused.
func TestCallbackThatDoesNotCome(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	letters := r.deadLetters()
	b := newBackend(t, nil, func(w http.ResponseWriter, req *http.Request) {
		work(600*time.Millisecond)(w, req)
		w.WriteHeader(202)
	})
	r.put(spec("f", retries(4), timeout(1)), b)
	id := r.publish("f", "")
	r.dispatch()
	eventually(t, "the first attempt", func() bool { return b.count() == 1 })
	eventually(t, "it has failed", func() bool {
		record, _, err := r.attempts().Get(t.Context(), "f", id)
		return err == nil && record.Tries == 1
	})
	if err := r.attempts().Callback(t.Context(), "f", id, "success"); !errors.Is(err, bus.ErrNoOpenCall) {
		t.Errorf("a callback while another attempt is waited for: %v", err)
	}
	letter := letters.next()
	if header := letter.Header; header.Get("Sluice-Dead-Reason") != "timeout" || header.Get("Sluice-Dead-Attempts") != "2" {
		t.Errorf("%v", header)
	}
	r.awaitEmpty("f")
	if err := r.attempts().Callback(t.Context(), "f", id, "success"); !errors.Is(err, bus.ErrNoOpenCall) {
		t.Errorf("a callback after the end: %v", err)
	}
	calls := b.calls()
	// 1 s from the start of the attempt, the grace, 4 s of delay.
	if got := calls[1].at.Sub(calls[0].at); len(calls) != 2 || got < 5*time.Second {
		t.Errorf("%d attempts, the second after %s", len(calls), got)
	}
	if err := r.attempts().Callback(t.Context(), "f", id, "success"); !errors.Is(err, bus.ErrNoOpenCall) {
		t.Errorf("a callback after the end: %v", err)
	}
}

// A function may call back before its 202 has arrived, and more than once.
func TestCallbackBeforeThe202(t *testing.T) {
	t.Parallel()
	r, g := newRig(t), make(gate)
	b := newBackend(t, nil, func(w http.ResponseWriter, req *http.Request) {
		g.hold(w, req)
		w.WriteHeader(202)
	})
	r.put(spec("f", retries(600)), b)
	id := r.publish("f", "")
	r.dispatch()
	eventually(t, "the call runs", func() bool { return b.own.current() == 1 })
	r.callback("f", id, "success")
	r.callback("f", id, "success")
	if err := r.attempts().Callback(t.Context(), "f", id, "error"); !errors.Is(err, bus.ErrNoOpenCall) {
		t.Errorf("another word: %v", err)
	}
	holdsFor(t, 100*time.Millisecond, "the attempt is not over", func() bool { return r.depth("f") == 1 })
	close(g)
	r.awaitEmpty("f")
	r.awaitNoRecords("f")
	if b.count() != 1 {
		t.Errorf("%d attempts", b.count())
	}
}

// An answer other than 202 counts, whatever was called back before.
func TestCallbackOfACallThatWasNotTakenOver(t *testing.T) {
	t.Parallel()
	r, g := newRig(t), make(gate)
	b := newBackend(t, nil, func(w http.ResponseWriter, req *http.Request) {
		g.hold(w, req)
		if req.Header.Get("SlimFaas-Try-Number") == "0" {
			w.WriteHeader(500)
		}
	})
	r.put(spec("f", retries(0)), b)
	id := r.publish("f", "")
	r.dispatch()
	eventually(t, "the call runs", func() bool { return b.own.current() == 1 })
	r.callback("f", id, "success")
	close(g)
	r.awaitEmpty("f")
	if b.count() != 2 {
		t.Errorf("%d attempts", b.count())
	}
}

// A call is open for longer than the ack wait and runs once; a hint that is lost delays its end by the interval of the looks.
func TestOpenCallOutlivesTheAckWait(t *testing.T) {
	t.Parallel()
	r := newRig(t, calmAckWait)
	b := newBackend(t, nil, answer(202))
	r.put(spec("f", timeout(600)), b)
	id := r.publish("f", "")
	r.dispatch()
	record := r.awaitOpen("f", id)
	holdsFor(t, r.settings.AckWait*3/2, "it runs once", func() bool { return b.count() == 1 })
	info, err := r.consumer("f").Info(t.Context())
	if err != nil || info.NumRedelivered != 0 {
		t.Errorf("%d redeliveries, %v", info.NumRedelivered, err)
	}
	record.Callback = "success" // as Callback does, but without a hint
	if err := r.attempts().Record(t.Context(), "f", id, record); err != nil {
		t.Fatal(err)
	}
	r.awaitEmpty("f")
	if b.count() != 1 {
		t.Errorf("%d attempts", b.count())
	}
}
