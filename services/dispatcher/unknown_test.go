package dispatcher

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
)

func grace(d time.Duration) func(*Config) { return func(c *Config) { c.UnknownGrace = d } }

// What is queued for a function that nobody knows goes to the dead letters after the grace time, whole, also when there is no
// function at all.
func TestUnknownFunction(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	letters := r.deadLetters()
	id, err := r.bus.PublishCall(t.Context(), bus.Call{
		Function: "nobody", Method: "PUT", Path: "/a", Body: []byte("kept"), Header: http.Header{"X-Tenant": {"one"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := r.dispatch(grace(5 * time.Second))
	eventually(t, "it is said", func() bool { return len(s.log.with("is not known")) == 1 })
	letters.none(300 * time.Millisecond)
	letter := letters.next()
	want := map[string]string{
		"Sluice-Dead-Reason": "unknown_function", "Sluice-Dead-Call-Id": id, "Sluice-Dead-Attempts": "0",
		"Sluice-Method": "PUT", "Sluice-Path": "/a", "X-Tenant": "one",
	}
	for name, value := range want {
		if got := letter.Header.Get(name); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
	if string(letter.Data) != "kept" || letter.Subject != "sluice.dead.nobody" {
		t.Errorf("%s: %q", letter.Subject, letter.Data)
	}
	r.awaitEmpty("nobody")
	eventually(t, "it is said", func() bool { return len(s.log.with("calls given up")) == 1 })
	if got := s.counted("sluice_dead_calls_total", "unknown", "unknown_function"); got != 1 {
		t.Errorf("%v dead letters counted", got)
	}
}

// A long queue of many unknown functions does not keep known ones from being noticed.
func TestUnknownFunctionsInNumbers(t *testing.T) {
	t.Parallel()
	const functions, each = 15, 20
	r := newRig(t)
	letters := r.deadLetters()
	for i := range functions {
		r.publishMany(fmt.Sprintf("nobody%d", i), each)
	}
	s := r.dispatch(grace(40 * time.Millisecond))
	for range functions * each {
		letters.next()
	}
	letters.none(50 * time.Millisecond)
	eventually(t, "all are counted", func() bool { return s.counted("sluice_queued_calls_ended_total", "unknown", "dead") == functions*each })
}

func TestFunctionThatAppearsWithinTheGrace(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	letters := r.deadLetters()
	r.publishMany("late", 5)
	s := r.dispatch(grace(5 * time.Second))
	eventually(t, "it is said", func() bool { return len(s.log.with("is not known")) == 1 })
	b := newBackend(t, nil, answer(200))
	r.put(spec("late"), b)
	r.awaitEmpty("late")
	if b.count() != 5 {
		t.Errorf("%d deliveries of 5 calls", b.count())
	}
	letters.none(time.Second)
}

// The calls of a function that is removed wait for the grace time; those that wait for another attempt go as soon as they are due, and
// are told with their attempts.
func TestRemovedFunctionsQueue(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	letters := r.deadLetters()
	b := newBackend(t, nil, answer(500))
	r.put(spec("f", retries(1)), b)
	r.put(spec("g"))
	r.publish("f", "retried")
	r.publish("g", "queued")
	s := r.dispatch(grace(300 * time.Millisecond))
	eventually(t, "the first attempt", func() bool { return b.count() == 1 })
	for _, name := range []string{"f", "g"} {
		if err := r.functions.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		letter := letters.next()
		want := map[string]string{"retried": "1", "queued": "0"}[string(letter.Data)]
		if got := letter.Header.Get("Sluice-Dead-Attempts"); got != want || letter.Header.Get("Sluice-Dead-Reason") != "unknown_function" {
			t.Errorf("%s: %v", letter.Data, letter.Header)
		}
	}
	r.awaitEmpty("f", "g")
	r.awaitNoRecords("f")
	eventually(t, "both are forgotten", func() bool { return !s.knows("f") && !s.knows("g") })
	if got := s.counted("sluice_attempts_total", "f", "error_status"); got != 0 {
		t.Errorf("%v attempts of a function that is gone are still shown", got)
	}
}

// A function that is removed and comes back while its calls run finds them counted, and they end.
func TestRemovedFunctionComesBack(t *testing.T) {
	t.Parallel()
	r, g, total := newRig(t), make(gate), &gauge{}
	b := newBackend(t, total, g.hold)
	f := spec("f", parallel(3, 0))
	r.put(f, b)
	r.publishMany("f", 12)
	s := r.dispatch(grace(100 * time.Millisecond))
	eventually(t, "3 calls run", func() bool { return total.current() == 3 })
	for range 4 {
		if err := r.functions.Delete(t.Context(), "f"); err != nil {
			t.Fatal(err)
		}
		holdsFor(t, 300*time.Millisecond, "what runs goes on", func() bool { return total.current() == 3 })
		r.put(f, b)
		holdsFor(t, 100*time.Millisecond, "the limit", func() bool { return total.current() == 3 })
	}
	close(g)
	r.awaitEmpty("f")
	if b.count() != 12 || total.max() != 3 {
		t.Errorf("%d deliveries of 12 calls, %d at the same time", b.count(), total.max())
	}
	if lines := s.log.with("given up"); len(lines) > 0 {
		t.Errorf("given up: %v", lines)
	}
}

// Functions that come and go in quick succession: no call is lost, none runs twice, the limit holds.
func TestFunctionFlaps(t *testing.T) {
	t.Parallel()
	const count = 120
	r, total := newRig(t), &gauge{}
	b := newBackend(t, total, work(4*time.Millisecond))
	f := spec("f", parallel(3, 0))
	r.publishMany("f", count)
	r.dispatch()
	for r.depth("f") > 0 {
		r.put(f, b)
		<-time.After(40 * time.Millisecond)
		if err := r.functions.Delete(t.Context(), "f"); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Duration(total.max()) * 2 * time.Millisecond)
	}
	if b.count() != count || total.max() > 3 {
		t.Errorf("%d deliveries of %d calls, %d at the same time", b.count(), count, total.max())
	}
}
