package dispatcher

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
)

// ledger checks that each accepted call was delivered, and counts those that were delivered more than once.
func ledger(t *testing.T, accepted []string, backends ...*backend) (again int) {
	t.Helper()
	delivered := map[string]int{}
	for _, b := range backends {
		for _, c := range b.calls() {
			delivered[c.id]++
		}
	}
	for _, id := range accepted {
		if delivered[id] == 0 {
			t.Errorf("call %s was not delivered", id)
		}
		again += max(0, delivered[id]-1)
	}
	return again
}

// load publishes from several goroutines until stopped and returns the ids that were accepted.
func (r *rig) load(name string) (stop func() []string) {
	var mu sync.Mutex
	var ids []string
	var publishers sync.WaitGroup
	ended := make(chan struct{})
	for range 4 {
		publishers.Go(func() {
			for {
				select {
				case <-ended:
					return
				case <-time.After(15 * time.Millisecond):
				}
				id := r.publish(name, "")
				mu.Lock()
				ids = append(ids, id)
				mu.Unlock()
			}
		})
	}
	end := sync.OnceFunc(func() {
		close(ended)
		publishers.Wait()
	})
	r.t.Cleanup(end) // of a test that has failed
	return func() []string {
		end()
		return ids
	}
}

// Rows 17 and 18: NATS stops and starts under load. Every accepted call is delivered, none that runs or has ended runs again, and the
// limit holds throughout.
func TestServerRestartsUnderLoad(t *testing.T) {
	t.Parallel()
	r, total := newRig(t), &gauge{}
	one, two := newBackend(t, total, work(10*time.Millisecond)), newBackend(t, total, work(25*time.Millisecond))
	r.put(spec("f", parallel(6, 4)), one, two)
	r.dispatch()
	stop := r.load("f")
	for range 4 {
		before := one.count() + two.count()
		eventually(t, "calls are dispatched", func() bool { return one.count()+two.count() > before+30 })
		r.server.Stop()
		r.server.Start()
	}
	accepted := stop()
	r.awaitEmpty("f")
	if again := ledger(t, accepted, one, two); again > 0 {
		t.Errorf("%d of %d calls ran again", again, len(accepted))
	}
	if total.max() > 6 || one.own.max() > 4 || two.own.max() > 4 {
		t.Errorf("%d calls at the same time, %d and %d on the replicas", total.max(), one.own.max(), two.own.max())
	}
}

// A call that runs while NATS is away, and its end too, does not run again.
func TestCallsOutliveTheServer(t *testing.T) {
	t.Parallel()
	r, g := newRig(t, shortAckWait), make(gate)
	b := newBackend(t, nil, g.hold)
	r.publishMany("f", 4)
	r.put(spec("f", parallel(4, 0)), b)
	r.dispatch()
	eventually(t, "the calls run", func() bool { return b.own.current() == 4 })
	r.server.Stop()
	g <- struct{}{}
	g <- struct{}{}
	eventually(t, "two have ended", func() bool { return b.count() == 2 })
	<-time.After(r.settings.AckWait) // the server thinks that all are lost when it is back
	r.server.Start()
	holdsFor(t, time.Second, "no call runs again", func() bool { return b.own.current() <= 2 && b.count() == 2 })
	close(g)
	r.awaitEmpty("f")
	if b.count() != 4 {
		t.Errorf("%d deliveries of 4 calls", b.count())
	}
}

// The consumer is removed under the dispatcher, with calls in flight: the server delivers all of them again.
func TestConsumerLostUnderLoad(t *testing.T) {
	t.Parallel()
	r, total := newRig(t), &gauge{}
	b := newBackend(t, total, work(20*time.Millisecond))
	r.put(spec("f", parallel(5, 0)), b)
	s := r.dispatch()
	stop := r.load("f")
	conn := r.raw()
	for range 3 {
		before := b.count()
		eventually(t, "calls are dispatched", func() bool { return b.count() > before+25 })
		if _, err := conn.Request("$JS.API.CONSUMER.DELETE.sluice-calls.f", nil, patience); err != nil {
			t.Fatal(err)
		}
	}
	accepted := stop()
	r.awaitEmpty("f")
	if again := ledger(t, accepted, b); again > 0 {
		t.Errorf("%d of %d calls ran again", again, len(accepted))
	}
	if total.max() > 5 {
		t.Errorf("%d calls at the same time", total.max())
	}
	s.stop()
}

// A call that was lost on its way when the server went down is delivered again as soon as it is back, not after the ack wait.
func TestCallsLostWithTheServerComeBackAtOnce(t *testing.T) {
	t.Parallel()
	r, g := newRig(t, longAckWait), make(gate)
	b := newBackend(t, nil, g.hold)
	r.put(spec("f", parallel(1, 0)), b)
	r.publishMany("f", 3)
	r.dispatch()
	eventually(t, "one call runs", func() bool { return b.own.current() == 1 })
	// Out, and with nobody: somebody else has pulled it and is gone.
	if _, err := r.raw().Request("$JS.API.CONSUMER.MSG.NEXT.sluice-calls.f", nil, patience); err != nil {
		t.Fatal(err)
	}
	r.server.Stop()
	r.server.Start()
	close(g)
	r.awaitEmpty("f")
	if b.count() != 3 {
		t.Errorf("%d deliveries of 3 calls", b.count())
	}
}

// A consumer that is made anew knows nothing of delays: the call comes back at once, and waits all the same.
func TestConsumerLostKeepsDelays(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := newBackend(t, nil, script(answer(500), answer(200)))
	r.put(spec("f", retries(2)), b)
	r.publish("f", "")
	r.dispatch()
	r.awaitRecord("f")
	if _, err := r.raw().Request("$JS.API.CONSUMER.DELETE.sluice-calls.f", nil, patience); err != nil {
		t.Fatal(err)
	}
	r.awaitEmpty("f")
	calls := b.calls()
	if len(calls) != 2 || calls[1].try != "1" {
		t.Fatalf("attempts %+v", calls)
	}
	if got := calls[1].at.Sub(calls[0].until); got < 2*time.Second {
		t.Errorf("the second attempt came after %s, want 2s", got)
	}
}

// Try numbers and the delays that are left survive the dispatcher.
func TestDispatcherRestartKeepsAttempts(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := newBackend(t, nil, script(answer(500), answer(500), answer(200)))
	r.put(spec("f", retries(1, 3)), b)
	id := r.publish("f", "")
	first := r.dispatch()
	eventually(t, "the second attempt", func() bool { return b.count() == 2 })
	first.stop()
	second := r.dispatch()
	r.awaitEmpty("f")
	calls := b.calls()
	if len(calls) != 3 || calls[2].try != "2" || calls[2].last != "true" || calls[2].id != id {
		t.Fatalf("attempts %+v", calls)
	}
	if got := calls[2].at.Sub(calls[1].until); got < 3*time.Second {
		t.Errorf("the third attempt came after %s, want 3s", got)
	}
	r.awaitNoRecords("f")
	second.stop()
}

// A dispatcher dies without a word, with calls in flight and others that wait for a retry. The next one delivers them all; the limit
// holds for what it runs itself.
func TestDispatcherDies(t *testing.T) {
	t.Parallel()
	r, g, total := newRig(t, shortAckWait), make(gate), &gauge{}
	b := newBackend(t, total, nil)
	failed := map[string]bool{}
	var mu sync.Mutex
	b.handle = func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("SlimFaas-Try-Number") == "0" && req.URL.Path == "/fails" {
			mu.Lock()
			defer mu.Unlock()
			failed[req.Header.Get("SlimFaas-Element-Id")] = true
			w.WriteHeader(500)
			return
		}
		g.hold(w, req)
	}
	f := spec("f", parallel(4, 0), retries(10)) // the first dispatcher is gone by then
	r.put(f, b)
	for range 3 {
		if _, err := r.bus.PublishCall(t.Context(), bus.Call{Function: "f", Method: "POST", Path: "/fails"}); err != nil {
			t.Fatal(err)
		}
	}
	theirs := r.connect()
	first := r.dispatchOver(theirs)
	eventually(t, "three calls have failed", func() bool { return b.count() == 3 })
	r.publishMany("f", 10)
	eventually(t, "four calls run", func() bool { return b.own.current() == 4 })
	theirs.Close()
	first.interrupt()
	eventually(t, "its calls have ended with it", func() bool { return b.own.current() == 0 })
	total.forget()
	r.dispatch()
	close(g)
	r.awaitEmpty("f")
	second := 0
	for _, c := range b.calls() {
		if c.request.URL.Path == "/fails" && c.try == "1" && c.last == "true" {
			second++
		}
	}
	if second != 3 || len(failed) != 3 || total.max() > 4 {
		t.Errorf("%d second attempts of %d that failed; %d calls at the same time", second, len(failed), total.max())
	}
}
