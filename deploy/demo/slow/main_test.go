package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

func readStats(t *testing.T, server *httptest.Server) stats {
	t.Helper()
	response, err := server.Client().Get(server.URL + "/stats")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var s stats
	if err := json.NewDecoder(response.Body).Decode(&s); err != nil {
		t.Fatal(err)
	}
	return s
}

func waitForStats(t *testing.T, server *httptest.Server, want stats) {
	t.Helper()
	var s stats
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		if s = readStats(t, server); s == want {
			return
		}
	}
	t.Fatalf("stats are %+v, not %+v", s, want)
}

func call(ctx context.Context, server *httptest.Server, query string) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+"/any?"+query, http.NoBody)
	if err != nil {
		return 0, err
	}
	response, err := server.Client().Do(request)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}

func TestSlowCountsCallsInFlight(t *testing.T) {
	server := httptest.NewServer(&slow{})
	defer server.Close()
	ctx, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	var calls sync.WaitGroup
	for range 3 {
		calls.Go(func() { _, _ = call(ctx, server, "seconds=600") })
	}
	waitForStats(t, server, stats{InFlight: 3, MaxInFlight: 3, Calls: 3})
	hangUp()
	calls.Wait()
	waitForStats(t, server, stats{InFlight: 0, MaxInFlight: 3, Calls: 3})
}

func TestSlowTakesItsTime(t *testing.T) {
	server := httptest.NewServer(&slow{})
	defer server.Close()
	start := time.Now()
	if status, err := call(t.Context(), server, "seconds=0.05"); err != nil || status != 200 || time.Since(start) < 50*time.Millisecond {
		t.Errorf("%d after %v (%v)", status, time.Since(start), err)
	}
	for _, query := range []string{"seconds=-1", "seconds=NaN", "seconds=3601", "seconds=x"} {
		if status, err := call(t.Context(), server, query); err != nil || status != 400 {
			t.Errorf("%s: %d (%v)", query, status, err)
		}
	}
	if s := readStats(t, server); s != (stats{MaxInFlight: 1, Calls: 1}) {
		t.Errorf("refused calls were counted: %+v", s)
	}
}
