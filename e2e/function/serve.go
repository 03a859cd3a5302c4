package main

import (
	"context"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// serve is a function. The environment says how it behaves:
//
//	START_DELAY  seconds from its start until it is ready
//	NEVER_READY  if not empty, it never is
//	STOP_DELAY   seconds that it goes on taking calls after SIGTERM
func serve(ctx context.Context) error {
	startDelay, err := seconds("START_DELAY")
	if err != nil {
		return err
	}
	stopDelay, err := seconds("STOP_DELAY")
	if err != nil {
		return err
	}
	f := &served{started: time.Now(), startDelay: startDelay, neverReady: os.Getenv("NEVER_READY") != ""}
	stopped, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	go func() { // ends with the signal, at the latest when the process does
		<-ctx.Done()
		f.told.Store(time.Now().UnixNano())
		pause(stopped, stopDelay)
		stop()
	}()
	return listen(stopped, f.handler())
}

// served is the function's state.
type served struct {
	started    time.Time
	startDelay time.Duration
	neverReady bool
	told       atomic.Int64 // when SIGTERM came, in Unix nanoseconds

	mu          sync.Mutex
	inFlight    int      // guarded by mu
	maxInFlight int      // guarded by mu
	records     []record // guarded by mu, at most maxRecords
	lost        int      // records beyond that; guarded by mu
}

// record is one call as the function has seen it. Times are Unix nanoseconds.
type record struct {
	ID    string `json:"id"`
	Async bool   `json:"async,omitempty"`
	Try   int    `json:"try,omitempty"`
	Start int64  `json:"start"`
	// End is 0 while the call runs or if its caller has hung up.
	End int64 `json:"end,omitempty"`
}

// maxRecords bounds the ledger.
const maxRecords = 500_000

func (f *served) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/health", f.health)
	mux.HandleFunc("/work", f.work)
	mux.HandleFunc("GET /ledger", f.ledger)
	mux.HandleFunc("GET /stats", f.stats)
	mux.HandleFunc("/exit", func(http.ResponseWriter, *http.Request) { os.Exit(137) })
	mux.HandleFunc("/status/{status}", f.status)
	return mux
}

func (f *served) health(w http.ResponseWriter, _ *http.Request) {
	if f.neverReady || time.Since(f.started) < f.startDelay {
		http.Error(w, "not yet", http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// work takes as many milliseconds as the query's ms says.
func (f *served) work(w http.ResponseWriter, r *http.Request) {
	place := f.begin(r)
	defer f.end()
	wait, _ := strconv.Atoi(r.URL.Query().Get("ms")) // none is 0
	if !pause(r.Context(), time.Duration(wait)*time.Millisecond) {
		return
	}
	f.finish(place)
	name, _ := os.Hostname()
	answer(w, map[string]string{"pod": name, "id": r.Header.Get("X-Call-Id")})
}

// status records the call and answers with the status of the path.
func (f *served) status(w http.ResponseWriter, r *http.Request) {
	place := f.begin(r)
	defer f.end()
	f.finish(place)
	status, err := strconv.Atoi(r.PathValue("status"))
	if err != nil || status < 200 || status > 599 {
		status = http.StatusBadRequest
	}
	w.WriteHeader(status)
}

// begin counts a call and writes it down. It returns the record's place, or -1 if the ledger is full.
func (f *served) begin(r *http.Request) int {
	try, _ := strconv.Atoi(r.Header.Get("SlimFaas-Try-Number")) // a sync call has none
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inFlight++
	f.maxInFlight = max(f.maxInFlight, f.inFlight)
	if len(f.records) >= maxRecords {
		f.lost++
		return -1
	}
	f.records = append(f.records, record{
		ID: r.Header.Get("X-Call-Id"), Async: r.Header.Get("SlimFaas-Element-Id") != "", Try: try, Start: time.Now().UnixNano(),
	})
	return len(f.records) - 1
}

func (f *served) finish(place int) {
	if place < 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.records[place].End = time.Now().UnixNano()
}

func (f *served) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inFlight--
}

func (f *served) ledger(w http.ResponseWriter, _ *http.Request) {
	f.mu.Lock()
	records, lost := append([]record{}, f.records...), f.lost
	f.mu.Unlock()
	answer(w, map[string]any{"records": records, "lost": lost})
}

func (f *served) stats(w http.ResponseWriter, _ *http.Request) {
	f.mu.Lock()
	inFlight, maxInFlight, count := f.inFlight, f.maxInFlight, len(f.records)+f.lost
	f.mu.Unlock()
	answer(w, map[string]any{"inFlight": inFlight, "maxInFlight": maxInFlight, "count": count, "told": f.told.Load()})
}
