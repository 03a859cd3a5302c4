// Command flaky is a demo function: it fails as often as it is told for each async call, then succeeds, and lists the
// attempts that it saw.
package main

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/sluicefaas/sluice/deploy/demo/serve"
)

func main() { serve.Main(newFlaky()) }

// Bounds of what is remembered: of the newest calls their first attempts.
const (
	maxCalls    = 1000
	maxAttempts = 100
	maxID       = 200 // bytes
)

// attempt is one try of a call as it arrived here.
type attempt struct {
	At time.Time `json:"at"`
	// TryNumber and LastTry are the headers SlimFaas-Try-Number and Slimfaas-Last-Try.
	TryNumber string `json:"tryNumber"`
	LastTry   string `json:"lastTry"`
	Status    int    `json:"status"`
}

type flaky struct {
	mu       sync.Mutex
	attempts map[string][]attempt // guarded by mu; by call id
	order    []string             // guarded by mu; the ids, the oldest first
}

func newFlaky() *flaky { return &flaky{attempts: map[string][]attempt{}} }

// ServeHTTP answers GET /attempts?id= with the attempts of a call, and any other path with ?status= (500 without it)
// for the first ?fail= (1 without it) attempts with the same SlimFaas-Element-Id, then with 200.
func (f *flaky) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet && r.URL.Path == "/attempts" {
		serve.JSON(w, http.StatusOK, f.list(r.URL.Query().Get("id")))
		return
	}
	query := serve.NewQuery(r)
	fails := query.Whole("fail", 1, 0, maxAttempts-1)
	status := query.Whole("status", http.StatusInternalServerError, 400, 599)
	id := r.Header.Get("SlimFaas-Element-Id")
	if query.Refused(w) {
		return
	}
	if len(id) > maxID {
		http.Error(w, fmt.Sprintf("SlimFaas-Element-Id is longer than %d bytes", maxID), http.StatusBadRequest)
		return
	}
	try, failed := f.record(id, attempt{At: time.Now(), TryNumber: short(r.Header.Get("SlimFaas-Try-Number")),
		LastTry: short(r.Header.Get("SlimFaas-Last-Try"))}, int(fails), int(status))
	if failed {
		http.Error(w, fmt.Sprintf("attempt %d fails", try), int(status))
		return
	}
	serve.JSON(w, http.StatusOK, map[string]int{"attempt": try})
}

// record notes an attempt and returns which one of its call it is, from 1, and whether it fails.
func (f *flaky) record(id string, a attempt, fails, status int) (try int, failed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before, known := f.attempts[id]
	if !known {
		f.makeRoom()
		f.order = append(f.order, id)
	}
	try = len(before) + 1
	failed = try <= fails
	a.Status = http.StatusOK
	if failed {
		a.Status = status
	}
	if try <= maxAttempts {
		f.attempts[id] = append(before, a)
	}
	return try, failed
}

// makeRoom forgets the oldest call. The caller holds mu.
func (f *flaky) makeRoom() {
	if len(f.order) >= maxCalls {
		delete(f.attempts, f.order[0])
		f.order = f.order[1:]
	}
}

func (f *flaky) list(id string) []attempt {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]attempt{}, f.attempts[id]...)
}

func short(text string) string { return text[:min(len(text), 20)] }
