package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

// accepted collects the ids of calls that got a 202.
type accepted struct {
	mu  sync.Mutex
	ids map[string]bool // guarded by mu
}

func (a *accepted) add(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ids[id] = true
}

func (a *accepted) missing(count map[string]int) (ids []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id := range a.ids {
		if count[id] == 0 {
			ids = append(ids, id)
		}
	}
	return ids
}

// publish sends async calls from several goroutines until stop is closed.
func (s *system) publish(stop <-chan struct{}, a *accepted) (wait func()) {
	var publishers sync.WaitGroup
	for range 4 {
		publishers.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(2 * time.Millisecond):
				}
				if status, header, _ := s.send(http.MethodPost, "/async-function/f/?ms=20", "x"); status == http.StatusAccepted {
					a.add(header.Get("X-Call-Id"))
				}
			}
		})
	}
	return publishers.Wait
}

// kill -9 at any moment, start again on the same data: every call that got a 202 is delivered, and the dead process
// leaves no child.
func TestKillNineLosesNoAcceptedCall(t *testing.T) {
	t.Parallel()
	for name, flags := range map[string][]string{"default": nil, "sync": {"--sync"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			killNine(t, flags)
		})
	}
}

func killNine(t *testing.T, flags []string) {
	s := newSystem(t, map[string]string{"NumberParallelRequest": "20"}, flags...)
	s.start()
	stop, a := make(chan struct{}), &accepted{ids: map[string]bool{}}
	wait := s.publish(stop, a)
	const kills = 4
	for range kills {
		s.eventually(time.Minute, "calls are delivered", func() bool { return len(readLedger(t, s.ledger)) > 0 })
		<-time.After(time.Duration(300+rand.IntN(700)) * time.Millisecond) // a kill at any moment
		s.kill()
		s.eventually(time.Minute, "the children of the dead process are gone", func() bool { return noneAlive(readLedger(t, s.ledger)) })
		s.start()
	}
	close(stop)
	wait()
	// What was running when the process died comes at once, not after the ack wait of 30 s.
	s.eventually(time.Minute, "every accepted call has ended", func() bool { return len(a.missing(ended(readLedger(t, s.ledger)))) == 0 })
	count, twice := ended(readLedger(t, s.ledger)), 0
	for _, n := range count {
		if n > 1 {
			twice++
		}
	}
	t.Logf("%d calls accepted over %d kills, all delivered; %d more than once", len(a.ids), kills, twice)
	if len(a.ids) < 100 {
		t.Errorf("only %d calls were accepted: the test has shown nothing", len(a.ids))
	}
}

func noneAlive(entries []entry) bool {
	for _, e := range entries {
		if alive(e.Pid) {
			return false
		}
	}
	return true
}

// Try numbers and waiting delays are as before after a kill -9.
func TestRetriesSurviveKillNine(t *testing.T) {
	t.Parallel()
	s := newSystem(t, map[string]string{"Configuration": `{"DefaultAsync":{"TimeoutRetries":[1,6,1],"HttpStatusRetries":[500]}}`})
	s.start()
	status, header, body := s.send(http.MethodPost, "/async-function/f/?fail=3&status=500&key=r", "")
	if status != http.StatusAccepted {
		t.Fatalf("%d %s", status, body)
	}
	s.eventually(time.Minute, "the second attempt has failed", func() bool { return len(tries(readLedger(t, s.ledger), "end")) == 2 })
	<-time.After(300 * time.Millisecond) // the attempt record is stored and the delay runs
	s.kill()
	s.start()
	s.eventually(time.Minute, "the call has ended", func() bool { return ended(readLedger(t, s.ledger))[header.Get("X-Call-Id")] == 1 })
	at := tries(readLedger(t, s.ledger), "start")
	if len(at) != 4 {
		t.Fatalf("attempts %v, want the numbers 0 to 3 once each", at)
	}
	for number, least := range map[int]time.Duration{1: time.Second, 2: 6 * time.Second, 3: time.Second} {
		if waited := at[number].Sub(at[number-1]); waited < least-100*time.Millisecond {
			t.Errorf("attempt %d came %s after the one before, want at least %s", number, waited, least)
		}
	}
}

// tries are the times of the attempts by number.
func tries(entries []entry, event string) map[int]time.Time {
	at := map[int]time.Time{}
	for _, e := range entries {
		if e.Event == event {
			at[e.Try] = e.At
		}
	}
	return at
}

// SIGTERM: calls in flight end, children end, exit 0, and what was queued is delivered after the next start.
func TestSIGTERMDrains(t *testing.T) {
	t.Parallel()
	s := newSystem(t, map[string]string{"NumberParallelRequest": "2"})
	s.start()
	if status, body := s.get("/function/f/"); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	result := make(chan string, 1)
	go func() {
		status, body := s.get("/function/f/?ms=10000&key=sync")
		result <- fmt.Sprintf("%d %s", status, body[:min(3, len(body))])
	}()
	s.eventually(time.Minute, "the sync call runs", func() bool {
		return slices.ContainsFunc(readLedger(t, s.ledger), func(e entry) bool { return e.Key == "sync" })
	})
	a := &accepted{ids: map[string]bool{}}
	for range 6 {
		if status, header, _ := s.send(http.MethodPost, "/async-function/f/?ms=1000", ""); status == http.StatusAccepted {
			a.add(header.Get("X-Call-Id"))
		}
	}
	s.eventually(time.Minute, "a sync and two async calls run", func() bool {
		return slices.ContainsFunc(readLedger(t, s.ledger), func(e entry) bool { return e.InFlight == 3 })
	})
	if code := s.terminate(); code != 0 {
		t.Errorf("exit code %d, want 0\n%s", code, s.out)
	}
	if got := <-result; got != "200 pid" {
		t.Errorf("the sync call in flight got %q", got)
	}
	starts, ends := 0, 0
	for _, e := range readLedger(t, s.ledger) {
		if e.Event == "start" {
			starts++
		} else {
			ends++
		}
	}
	if starts != ends || !noneAlive(readLedger(t, s.ledger)) {
		t.Errorf("%d calls were started and %d ended; children gone: %t", starts, ends, noneAlive(readLedger(t, s.ledger)))
	}
	s.start()
	s.eventually(time.Minute, "the rest is delivered", func() bool { return len(a.missing(ended(readLedger(t, s.ledger)))) == 0 })
	for id, n := range ended(readLedger(t, s.ledger)) {
		if id != "" && n != 1 {
			t.Errorf("call %s ended %d times, want once", id, n)
		}
	}
}
