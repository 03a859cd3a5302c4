package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// later sends requests and passes on their answers.
func (f *fixture) later(requests ...*http.Request) <-chan result {
	answers := make(chan result, len(requests))
	var running sync.WaitGroup
	for _, r := range requests {
		running.Go(func() {
			answer, err := f.client.Do(r)
			if err != nil {
				answers <- result{err: err}
				return
			}
			defer answer.Body.Close()
			body, err := io.ReadAll(answer.Body)
			answers <- result{Response: answer, body: string(body), err: err}
		})
	}
	f.t.Cleanup(running.Wait)
	return answers
}

// held waits until count calls of the function are held, and nothing else is in flight.
func (f *fixture) held(name string, count int64) {
	f.t.Helper()
	eventually(f.t, "the calls to be held", func() bool { return f.functions.get(name).inFlight.Load() == count })
}

// TestHeldUntilAReplicaIsReady: the wake goes out, and the answer comes when the endpoint does.
func TestHeldUntilAReplicaIsReady(t *testing.T) {
	f := start(t)
	f.put(state("f"))
	wakes := make(chan string, 100)
	stop := must(f.bus.OnWake(func(name string) { wakes <- name }))(t)
	defer stop()
	answers := f.later(f.request("POST", "/function/f/x", "a body"), f.request("GET", "/function/f/x", ""), f.request("PUT", "/function/f", strings.Repeat("x", 2*maxEarlyBody)))
	if name := wait(t, "the wake", wakes); name != "f" {
		t.Errorf("%q was woken", name)
	}
	f.held("f", 3)
	handler, requests := recorder()
	f.serve("f", handler)
	bodies := 0
	for range 3 {
		answer := wait(t, "an answer", answers)
		if answer.err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("%+v", answer)
		}
		checkStamps(t, "held", answer, true)
		bodies += len((<-requests).body)
	}
	if bodies != len("a body")+2*maxEarlyBody {
		t.Errorf("bodies of %d bytes arrived", bodies)
	}
	f.held("f", 0)
	if left := f.room(); left != f.config.BodyBudget {
		t.Errorf("%d bytes of the budget were not given back", f.config.BodyBudget-left)
	}
}

// TestManyHeldCallsWakeOnce: not once each.
func TestManyHeldCallsWakeOnce(t *testing.T) {
	f := start(t, func(o *options) { o.config.StartWait = 20 * time.Millisecond })
	f.put(state("f"))
	var wakes atomic.Int64
	stop := must(f.bus.OnWake(func(string) { wakes.Add(1) }))(t)
	var requests []*http.Request
	for range 50 {
		requests = append(requests, f.request("GET", "/function/f", ""))
	}
	begun := time.Now()
	answers := f.later(requests...)
	for range requests {
		expectProblem(t, wait(t, "an answer", answers), idleFunction)
	}
	most := 1 + int64(time.Since(begun)/wakeGap)
	eventually(t, "a wake", func() bool { return wakes.Load() > 0 })
	stop()
	if wakes.Load() > most {
		t.Errorf("%d wakes, want at most %d", wakes.Load(), most)
	}
}

// TestWakeIsRepeated: a lost one must not cost the whole wait.
func TestWakeIsRepeated(t *testing.T) {
	f := start(t)
	f.put(state("f"))
	wakes := make(chan string, 100)
	stop := must(f.bus.OnWake(func(name string) { wakes <- name }))(t)
	defer stop()
	ctx, hangUp := context.WithCancel(t.Context())
	answers := f.later(f.request("GET", "/function/f", "").WithContext(ctx))
	for range 2 {
		wait(t, "a wake", wakes)
	}
	hangUp()
	<-answers
}

func TestNoReplicaInTime(t *testing.T) {
	f := start(t, func(o *options) { o.config.StartWait = 30 * time.Millisecond })
	s := state("f")
	s.Problems = []string{"annotation x is wrong", "f-1: exit status 1: no such module"}
	s.Waits = []string{"mysql (0 of 1 ready)", "cache (unknown)"}
	f.put(s)
	for _, body := range []string{"", "a body"} {
		answer := f.send("POST", "/function/f", body)
		p := expectProblem(t, answer, idleFunction)
		checkStamps(t, "not ready", answer, true)
		if !strings.Contains(p.Detail, s.Problems[1]) || !strings.Contains(p.Detail, `"f"`) || !strings.Contains(p.Detail, "waits for mysql (0 of 1 ready), cache (unknown)") {
			t.Errorf("detail: %s", p.Detail)
		}
	}
	f.held("f", 0)
}

// TestCallerGoneWhileHeld: nothing of the call stays, and the function does not get it.
func TestCallerGoneWhileHeld(t *testing.T) {
	f := start(t, func(o *options) { o.config.StartWait = time.Hour })
	f.put(state("f"))
	for _, body := range []string{"", "small", strings.Repeat("x", maxEarlyBody)} {
		ctx, hangUp := context.WithCancel(t.Context())
		answers := f.later(f.request("POST", "/function/f", body).WithContext(ctx))
		f.held("f", 1)
		hangUp()
		if answer := <-answers; !errors.Is(answer.err, context.Canceled) {
			t.Errorf("%d bytes: %+v", len(body), answer)
		}
		f.held("f", 0)
		eventually(t, "the body's memory to be free", func() bool { return f.room() == f.config.BodyBudget })
	}
	eventually(t, "the outcome", func() bool { return f.value(t, "sluice_calls_total", "outcome", "caller-gone") == 3 })
}

// TestSlowBodyWhileHeld: a caller who keeps his body to himself does not keep the call for ever, and is told.
func TestSlowBodyWhileHeld(t *testing.T) {
	f := start(t, func(o *options) { o.config.StartWait = 3 * time.Second }) // in which a replica appears
	f.put(state("f"))
	const head = "POST /function/f HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf"
	expectProblem(t, f.raw(head), idleFunction)

	conn, answers := dial(t, f.Addr())
	say(t, conn, head)
	f.held("f", 1)
	f.serve("f", func(http.ResponseWriter, *http.Request) { t.Error("called without its body") })
	answer := readAnswer(t, answers)
	expectProblem(t, answer, lateBody)
	if !answer.Close {
		t.Errorf("the connection stays: %v", answer.Header)
	}
}

// TestBodyThatComesLateWhileHeld is sent as soon as it is whole.
func TestBodyThatComesLateWhileHeld(t *testing.T) {
	f := start(t)
	f.put(state("f"))
	conn, answers := dial(t, f.Addr())
	say(t, conn, "POST /function/f HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
	f.held("f", 1)
	handler, requests := recorder()
	f.serve("f", handler)
	say(t, conn, " + all")
	if answer := readAnswer(t, answers); answer.StatusCode != http.StatusOK {
		t.Errorf("%s %s", answer.Status, answer.body)
	}
	if got := <-requests; got.body != "half + all" || got.length != 10 {
		t.Errorf("%+v", got)
	}
	say(t, conn, "GET /function/f HTTP/1.1\r\nHost: a\r\n\r\n")
	if answer := readAnswer(t, answers); answer.StatusCode != http.StatusOK {
		t.Errorf("the connection's next request: %s", answer.Status)
	}
}

// TestExpectWhileHeld: 100 Continue is for the function to say.
func TestExpectWhileHeld(t *testing.T) {
	f := start(t)
	f.put(state("f"))
	conn, answers := dial(t, f.Addr())
	say(t, conn, "POST /function/f HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
	f.held("f", 1)
	f.serve("f", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	if answer := readAnswer(t, answers); answer.StatusCode != http.StatusForbidden {
		t.Errorf("%s", answer.Status)
	}
}

func TestFunctionRemovedWhileHeld(t *testing.T) {
	f := start(t)
	f.put(state("f"))
	answers := f.later(f.request("GET", "/function/f", ""))
	f.held("f", 1)
	if err := f.store.Delete(t.Context(), "f"); err != nil {
		t.Fatal(err)
	}
	answer := wait(t, "the answer", answers)
	expectProblem(t, answer, unknownFunction)
	checkStamps(t, "removed", answer, true)
}

// TestReplicaListsChangeWhileHeld: the next list is taken, whatever it is.
func TestReplicaListsChangeWhileHeld(t *testing.T) {
	f := start(t)
	f.put(state("f"))
	answers := f.later(f.request("GET", "/function/f", ""))
	f.held("f", 1)
	s := state("f")
	s.Generation = 2
	f.put(s)
	handler, requests := recorder()
	f.serve("f", handler)
	if answer := wait(t, "the answer", answers); answer.StatusCode != http.StatusOK {
		t.Errorf("%+v", answer)
	}
	<-requests
}
