package main

import (
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A function's processes are replaced while it is called in both modes: no call is cut, refused or lost.
func TestNoCallIsLostWhileProcessesAreReplaced(t *testing.T) {
	t.Parallel()
	s := newSystem(t, map[string]string{"ReplicasAtStart": "2", "NumberParallelRequest": "4"})
	s.start()
	if status, body := s.get("/function/f/"); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	stop := make(chan struct{})
	calls := &accepted{ids: map[string]bool{}}
	published := s.publish(stop, calls)
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if status, body := s.get("/function/f/?ms=150&key=sync"); status != http.StatusOK {
					t.Errorf("a sync call got %d %s", status, body)
				}
			}
		})
	}
	for round := range 2 {
		before := maps.Clone(s.pids())
		s.edit("f.yaml", "terminationGracePeriodSeconds: 5", "terminationGracePeriodSeconds: 5\n      # round "+strconv.Itoa(round))
		s.edit("f.yaml", "        env:\n", "        env:\n        - {name: ROUND_"+strconv.Itoa(round)+", value: x}\n")
		s.eventually(60*time.Second, "two other processes serve and the old ones are gone", func() bool {
			ready, _ := s.status("f")
			fresh := 0
			for pid := range s.pids() {
				if before[pid] && alive(pid) {
					return false
				}
				if !before[pid] {
					fresh++
				}
			}
			return ready == 2 && fresh >= 2
		})
	}
	close(stop)
	callers.Wait()
	published()
	s.eventually(60*time.Second, "every queued call has ended", func() bool { return len(calls.missing(ended(readLedger(t, s.ledger)))) == 0 })
	open := map[int]int{}
	for _, e := range readLedger(t, s.ledger) {
		if e.Event == "start" {
			open[e.Pid]++
		} else {
			open[e.Pid]--
		}
		if e.Event == "start" && e.Try > 0 {
			t.Errorf("a queued call needed a second attempt: %+v", e)
		}
	}
	for pid, n := range open {
		if n != 0 {
			t.Errorf("process %d ended with %d calls in flight", pid, n)
		}
	}
}

// pids are those of the processes that were called so far.
func (s *system) pids() map[int]bool {
	pids := map[int]bool{}
	for _, e := range readLedger(s.t, s.ledger) {
		pids[e.Pid] = true
	}
	return pids
}

// edit replaces a part of a file of the manifests' folder.
func (s *system) edit(name, part, by string) {
	s.t.Helper()
	path := filepath.Join(s.folder, name)
	text, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(text), part) {
		s.t.Fatalf("%s has no %q: %v", name, part, err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), part, by, 1)), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// What a person does to manifests while sluice runs.
func TestManifestsChangeWhileRunning(t *testing.T) {
	t.Parallel()
	s := newSystem(t, map[string]string{"NumberParallelRequest": "3", "ReplicasMin": "1"})
	s.start()
	describes := func(name string, parts ...string) func() bool {
		return func() bool {
			status, body := s.get("/functions/" + name)
			for _, part := range parts {
				if !strings.Contains(body, part) {
					return false
				}
			}
			return status == http.StatusOK
		}
	}
	_, _ = s.get("/function/f/")
	before := s.pids()

	s.edit("f.yaml", `NumberParallelRequest: "3"`, `NumberParallelRequest: "5"`)
	s.eventually(60*time.Second, "the changed annotation is in force", describes("f", `"numberParallelRequest":5`))
	s.edit("f.yaml", `NumberParallelRequest: "5"`, `NumberParallelRequest: "many"`)
	s.eventually(60*time.Second, "an invalid value keeps the last valid one", describes("f", `"numberParallelRequest":5`, "many"))
	s.edit("f.yaml", `NumberParallelRequest: "many"`, `NumberParallelRequest: "6"`)
	s.eventually(60*time.Second, "the corrected annotation is in force", describes("f", `"numberParallelRequest":6`))
	s.edit("f.yaml", "kind: Deployment", "kind: [")
	s.eventually(60*time.Second, "a file that is no YAML keeps its function and is shown", describes("f", "no valid YAML"))
	s.edit("f.yaml", "kind: [", "kind: Deployment")
	s.eventually(60*time.Second, "the problem is gone", func() bool {
		_, body := s.get("/functions/f")
		return !strings.Contains(body, "no valid YAML")
	})
	_, _ = s.get("/function/f/")
	if after := s.pids(); len(before) != 1 || len(after) != 1 {
		t.Errorf("processes %v before and %v after: a specification touches none", before, after)
	}

	s.writeManifest("g", nil)
	s.eventually(60*time.Second, "an added function answers", func() bool { status, _ := s.get("/function/g/"); return status == http.StatusOK })
	if err := os.Remove(filepath.Join(s.folder, "g.yaml")); err != nil {
		t.Fatal(err)
	}
	s.eventually(60*time.Second, "a removed function is unknown", func() bool { status, _ := s.get("/function/g/"); return status == http.StatusNotFound })
	if n := strings.Count(s.out.String(), "no valid YAML"); n != 1 {
		t.Errorf("the log has the problem %d times, want once", n)
	}
}
