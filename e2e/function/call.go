package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// spec says what one run of the load generator does. Count or Seconds ends it, whichever comes first; with neither it is ended by a DELETE.
type spec struct {
	Method string `json:"method"` // POST if empty
	URL    string `json:"url"`
	Body   string `json:"body"`
	Count  int    `json:"count"`
	// DelaySeconds is how long the run waits before it begins.
	DelaySeconds float64 `json:"delaySeconds"`
	// Seconds bounds the time in which calls are begun, with the delay.
	Seconds float64 `json:"seconds"`
	// Concurrency is how many calls may be in flight, 1 if it is 0.
	Concurrency int `json:"concurrency"`
	// Rate is how many calls are begun in a second at most, as many as fit if it is 0.
	Rate float64 `json:"rate"`
	// TimeoutSeconds bounds one call, 60 if it is 0.
	TimeoutSeconds float64 `json:"timeoutSeconds"`
}

func (s spec) check() error {
	if !strings.HasPrefix(s.URL, "http://") {
		return fmt.Errorf("url %q: want http://…", s.URL)
	}
	if s.Count < 0 || s.DelaySeconds < 0 || s.Seconds < 0 || s.Concurrency < 0 || s.Rate < 0 || s.TimeoutSeconds < 0 {
		return fmt.Errorf("want no negative number in %+v", s)
	}
	return nil
}

func (s spec) withDefaults() spec {
	if s.Method == "" {
		s.Method = http.MethodPost
	}
	s.Concurrency = max(s.Concurrency, 1)
	if s.TimeoutSeconds == 0 {
		s.TimeoutSeconds = 60
	}
	return s
}

// runs are the load generator: several runs, each with a name, go on by themselves.
type runs struct {
	mu     sync.Mutex
	byName map[string]*loadRun // guarded by mu
}

func newRuns() *runs { return &runs{byName: map[string]*loadRun{}} }

func (r *runs) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("POST /do", one)
	mux.HandleFunc("POST /runs/{name}", r.start)
	mux.HandleFunc("GET /runs/{name}", r.show)
	mux.HandleFunc("DELETE /runs/{name}", r.stop)
	return mux
}

func (r *runs) start(w http.ResponseWriter, request *http.Request) {
	var s spec
	if !readJSON(w, request, &s) {
		return
	}
	if err := s.check(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	name := request.PathValue("name")
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.byName[name]; old != nil && old.running() {
		http.Error(w, "run "+name+" is not over", http.StatusConflict)
		return
	}
	r.byName[name] = startRun(s.withDefaults()) //nolint:contextcheck // a run goes on after the request that started it
	w.WriteHeader(http.StatusCreated)
}

func (r *runs) named(w http.ResponseWriter, request *http.Request) *loadRun {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := r.byName[request.PathValue("name")]
	if found == nil {
		http.Error(w, "there is no run "+request.PathValue("name"), http.StatusNotFound)
	}
	return found
}

func (r *runs) show(w http.ResponseWriter, request *http.Request) {
	if run := r.named(w, request); run != nil {
		answer(w, run.result())
	}
}

// stop begins no more calls, waits for those that run, and answers the result.
func (r *runs) stop(w http.ResponseWriter, request *http.Request) {
	if run := r.named(w, request); run != nil {
		run.end()
		answer(w, run.result())
	}
}

func (r *runs) stopAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, run := range r.byName {
		run.cancel()
	}
}

// longestRun ends what nobody has ended.
const longestRun = time.Hour

// loadRun is one run.
type loadRun struct {
	spec   spec
	client *http.Client
	cancel context.CancelFunc
	done   chan struct{}
	tally  tally
}

func startRun(s spec) *loadRun {
	limit := time.Duration(s.Seconds * float64(time.Second))
	if limit == 0 {
		limit = longestRun
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	transport := &http.Transport{MaxIdleConnsPerHost: s.Concurrency, IdleConnTimeout: 30 * time.Second, DisableCompression: true}
	run := &loadRun{
		spec: s, cancel: cancel, done: make(chan struct{}),
		client: &http.Client{Transport: transport, Timeout: time.Duration(s.TimeoutSeconds * float64(time.Second))},
		tally:  newTally(time.Now()),
	}
	go run.work(ctx)
	return run
}

func (l *loadRun) running() bool {
	select {
	case <-l.done:
		return false
	default:
		return true
	}
}

func (l *loadRun) end() {
	l.cancel()
	<-l.done
}

// work hands out permits to begin a call until the run is over, then waits for the calls.
func (l *loadRun) work(ctx context.Context) {
	defer close(l.done)
	defer l.client.CloseIdleConnections()
	permits := make(chan struct{})
	var workers sync.WaitGroup
	for range l.spec.Concurrency {
		workers.Go(func() {
			for range permits {
				l.tally.add(l.call())
			}
		})
	}
	if pause(ctx, time.Duration(l.spec.DelaySeconds*float64(time.Second))) {
		l.tally.begin(time.Now())
		l.permit(ctx, permits)
	}
	close(permits)
	workers.Wait()
	l.tally.finish(time.Now())
	l.cancel()
}

// permit sends one permit for each call. If all workers are busy it waits; the calls that were missed are not made up for.
func (l *loadRun) permit(ctx context.Context, permits chan<- struct{}) {
	ticks := make(<-chan time.Time)
	if l.spec.Rate > 0 {
		ticker := time.NewTicker(time.Duration(float64(time.Second) / l.spec.Rate))
		defer ticker.Stop()
		ticks = ticker.C
	}
	for n := 0; l.spec.Count == 0 || n < l.spec.Count; n++ {
		if l.spec.Rate > 0 {
			select {
			case <-ticks:
			case <-ctx.Done():
				return
			}
		}
		select {
		case permits <- struct{}{}:
		case <-ctx.Done():
			return
		}
	}
}

// outcome is how one call ended.
type outcome struct {
	start, end time.Time
	status     int    // 0 without an answer
	id         string // of the answer's X-Call-Id
	detail     string // the error, or the beginning of an answer that is none of success
}

func (o outcome) ok() bool { return o.status >= 200 && o.status < 400 }

// call makes one call. It has its own limit of time, so that the end of the run cuts none.
func (l *loadRun) call() outcome {
	o := outcome{start: time.Now()}
	request, err := http.NewRequest(l.spec.Method, l.spec.URL, bytes.NewReader([]byte(l.spec.Body))) //nolint:noctx // the client has a timeout
	if err == nil {
		o.status, o.id, o.detail, err = roundTrip(l.client, request)
	}
	if err != nil {
		o.status, o.detail = 0, err.Error()
	}
	o.end = time.Now()
	return o
}

const detailLength = 300

func roundTrip(client *http.Client, request *http.Request) (status int, id, detail string, err error) {
	response, err := client.Do(request)
	if err != nil {
		return 0, "", "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return 0, "", "", fmt.Errorf("read the answer %s: %w", response.Status, err)
	}
	if response.StatusCode >= 400 {
		detail = string(body[:min(len(body), detailLength)])
	}
	return response.StatusCode, response.Header.Get("X-Call-Id"), detail, nil
}
