package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

func emptyRegistry() *prometheus.Registry { return prometheus.NewRegistry() }

// expectProblem checks an error answer of ours, whole.
func expectProblem(t testing.TB, answer result, kind problemKind) Problem {
	t.Helper()
	want := problemKinds[kind]
	var got Problem
	if err := json.Unmarshal([]byte(answer.body), &got); err != nil {
		t.Errorf("%s with %q is no problem: %v; want %s", answer.Status, answer.body, err, want.Name)
		return got
	}
	retry := ""
	if want.RetryAfter > 0 {
		retry = strconv.Itoa(want.RetryAfter)
	}
	if answer.StatusCode != want.Status || got.Status != want.Status || got.Type != want.Type() || got.Title != want.Title || got.Detail == "" ||
		answer.Header.Get("Content-Type") != "application/problem+json" || answer.Header.Get("Retry-After") != retry {
		t.Errorf("got %s, Retry-After %q, %s; want %d %s", answer.Status, answer.Header.Get("Retry-After"), answer.body, want.Status, want.Name)
	}
	return got
}

// TestProblemKinds is the contract: clients know these words. A new kind is added here and in the documents.
func TestProblemKinds(t *testing.T) {
	want := map[string]int{
		"bad-request": 400, "function-not-found": 404, "route-not-found": 404, "method-not-allowed": 405, "body-timeout": 408,
		"body-too-large": 413, "queue-full": 429, "caller-gone": 499, "internal": 500, "function-unreachable": 502,
		"function-broke-off": 502, "starting": 503, "body-budget-full": 503, "function-not-ready": 503,
		"queue-storage-full": 503, "queue-unavailable": 503, "function-timeout": 504,
		"event-not-found": 404, "call-not-open": 404, "idempotency-key-reused": 409, "call-given-up": 502, "too-many-streams": 503,
		"job-not-found": 404, "run-not-found": 404, "no-output": 404, "job-request-refused": 422, "jobs-unavailable": 503,
	}
	for _, kind := range ProblemKinds() {
		if want[kind.Name] != kind.Status || kind.Type() != "urn:sluice:problem:"+kind.Name || kind.Title == "" {
			t.Errorf("%+v is not as agreed", kind)
		}
		if retry := kind.Status == http.StatusServiceUnavailable || kind.Status == http.StatusTooManyRequests; retry && kind.RetryAfter == 0 {
			t.Errorf("%s has no Retry-After", kind.Name)
		}
		delete(want, kind.Name)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}

func TestProblemNamesTheCall(t *testing.T) {
	f := start(t)
	f.put(state("f", closedAddress(t)))
	answer := f.send("GET", "/function/f", "")
	if p := expectProblem(t, answer, unreachableFunction); p.CallID == "" || p.CallID != answer.Header.Get("X-Call-Id") {
		t.Errorf("callId %q, header %q", p.CallID, answer.Header.Get("X-Call-Id"))
	}
}

// TestInternalError: what went wrong is in the log, not in the answer.
func TestInternalError(t *testing.T) {
	log := &bytes.Buffer{}
	g := &Gateway{deps: Deps{Logger: zerolog.New(log)}}
	answer := httptest.NewRecorder()
	g.routeError(errors.New("a secret"), echo.New().NewContext(httptest.NewRequest(http.MethodGet, "/", nil), answer))
	expectProblem(t, result{Response: answer.Result(), body: answer.Body.String()}, internalError)
	if strings.Contains(answer.Body.String(), "secret") || !strings.Contains(log.String(), "a secret") {
		t.Errorf("answer %s, log %s", answer.Body, log)
	}
}
