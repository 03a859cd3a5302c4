package main

import (
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"
)

// Calls that come just when the function goes to zero are neither cut nor refused.
func TestNoCallIsCutAroundAScaleDown(t *testing.T) {
	t.Parallel()
	s := newSystem(t, map[string]string{"TimeoutSecondBeforeSetReplicasMin": "1"})
	s.start()
	deadline := time.Now().Add(15 * time.Second)
	var callers sync.WaitGroup
	for range 2 {
		callers.Go(func() {
			for time.Now().Before(deadline) {
				// The function is idle after 1 s, drains until each service has reported (1 s), and ends.
				<-time.After(900*time.Millisecond + time.Duration(rand.IntN(1500))*time.Millisecond)
				status, body := s.get("/function/f/?ms=30")
				if status != http.StatusOK {
					t.Errorf("a call got %d %s", status, body)
				}
			}
		})
	}
	callers.Wait()
	open := map[int]int{}
	pids := map[int]bool{}
	for _, e := range readLedger(t, s.ledger) {
		pids[e.Pid] = true
		if e.Event == "start" {
			open[e.Pid]++
		} else {
			open[e.Pid]--
		}
	}
	for pid, n := range open {
		if n != 0 {
			t.Errorf("process %d ended with %d calls in flight", pid, n)
		}
	}
	t.Logf("%d processes were started", len(pids))
}
