package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func post(t *testing.T, method, url string, body, into any) int {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if into != nil {
		if err := json.NewDecoder(response.Body).Decode(into); err != nil {
			t.Fatal(err)
		}
	}
	return response.StatusCode
}

// TestRunCountsEachCall has the load generator call the function, and compares what the two have counted.
func TestRunCountsEachCall(t *testing.T) {
	f := &served{started: time.Now()}
	function := httptest.NewServer(f.handler())
	defer function.Close()
	load := newRuns()
	defer load.stopAll()
	server := httptest.NewServer(load.handler())
	defer server.Close()

	if got := post(t, "POST", server.URL+"/runs/a", spec{URL: function.URL + "/work?ms=20", Count: 50, Concurrency: 5}, nil); got != http.StatusCreated {
		t.Fatalf("start: %d", got)
	}
	if got := post(t, "POST", server.URL+"/runs/a", spec{URL: function.URL}, nil); got != http.StatusConflict {
		t.Errorf("a second start while it runs: %d, want 409", got)
	}
	r := awaitRun(t, server.URL+"/runs/a")
	if r.Statuses["200"] != 50 || len(r.Failures) != 0 || r.P50 < 20 || r.Max < r.P99 || r.P99 < r.P50 {
		t.Errorf("got %+v, want 50 answers of at least 20 ms", r)
	}
	var stats struct{ InFlight, MaxInFlight, Count int }
	post(t, "GET", function.URL+"/stats", nil, &stats)
	if stats.Count != 50 || stats.InFlight != 0 || stats.MaxInFlight < 2 || stats.MaxInFlight > 5 {
		t.Errorf("the function has counted %+v, want 50 calls, at most 5 at once", stats)
	}
	for _, record := range f.records {
		if record.End-record.Start < int64(20*time.Millisecond) {
			t.Errorf("record %+v: shorter than its work", record)
		}
	}
}

func awaitRun(t *testing.T, url string) (r result) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		post(t, "GET", url, nil, &r)
		if !r.Running {
			return r
		}
		if !pause(ctx, 5*time.Millisecond) {
			t.Fatal("the run does not end")
		}
	}
}

// TestRunKeepsAcceptedIDsAndFailures has an answer of each kind: accepted, refused, none.
func TestRunKeepsAcceptedIDsAndFailures(t *testing.T) {
	n := 0 // of the only caller
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n++
		switch n {
		case 1:
			w.Header().Set("X-Call-Id", "one")
			w.WriteHeader(http.StatusAccepted)
		case 2:
			http.Error(w, "full", http.StatusTooManyRequests)
		default:
			panic(http.ErrAbortHandler)
		}
	}))
	defer server.Close()
	run := startRun(spec{URL: server.URL, Count: 3}.withDefaults())
	<-run.done
	r := run.result()
	if len(r.Accepted) != 1 || r.Accepted[0] != "one" || r.Statuses["202"] != 1 || r.Statuses["429"] != 1 || r.Statuses["none"] != 1 {
		t.Errorf("got %+v, want one of each", r)
	}
	if len(r.Failures) != 2 || !strings.Contains(r.Failures[0].Detail, "full") || r.Failures[1].Status != 0 {
		t.Errorf("failures %+v, want the 429 and the missing answer", r.Failures)
	}
}

// TestRunGoesOnUntilItIsStopped also looks at its rate.
func TestRunGoesOnUntilItIsStopped(t *testing.T) {
	f := &served{started: time.Now()}
	function := httptest.NewServer(f.handler())
	defer function.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	const rate = 200
	begun := time.Now()
	run := startRun(spec{URL: function.URL + "/work", Rate: rate}.withDefaults())
	for run.result().Statuses["200"] < rate/4 {
		if !run.running() || !pause(ctx, 5*time.Millisecond) {
			t.Fatalf("it has ended by itself, or makes no calls: %+v", run.result())
		}
	}
	run.end()
	took := time.Since(begun)
	if got := run.result().Statuses["200"]; float64(got) > took.Seconds()*rate+1 {
		t.Errorf("%d calls in %s at %d a second", got, took, rate)
	}
}

func TestLongestGapIsBetweenSuccesses(t *testing.T) {
	start := time.Now()
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	tally := newTally(start)
	for _, o := range []outcome{{end: at(10), status: 200}, {end: at(30), status: 503}, {end: at(70), status: 200}, {end: at(90), status: 200}} {
		tally.add(o)
	}
	tally.finish(at(100))
	if g := tally.gap; g.Millis != 60 || !g.From.Equal(at(10)) || !g.To.Equal(at(70)) {
		t.Errorf("got %+v, want the 60 ms from 10 to 70", g)
	}
}

func TestPercentileIsTheNearestRank(t *testing.T) {
	var sorted []time.Duration
	for i := range 60 {
		sorted = append(sorted, time.Duration(i+1)*time.Millisecond)
	}
	for p, want := range map[int]float64{50: 30, 99: 60, 100: 60} {
		if got := percentile(sorted, p); got != want {
			t.Errorf("p%d of 1 to 60 ms is %v, want %v", p, got, want)
		}
	}
}

// TestFunctionNotReady is both ways of not being ready.
func TestFunctionNotReady(t *testing.T) {
	for _, f := range []*served{{neverReady: true}, {started: time.Now(), startDelay: time.Hour}} {
		answer := httptest.NewRecorder()
		f.handler().ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/health", nil))
		if answer.Code != http.StatusServiceUnavailable {
			t.Errorf("health of %+v: %d", f, answer.Code)
		}
	}
}
