package e2e

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"
)

// loader is the pod that calls: the load goes on while nobody can reach the pod itself.
type loader struct {
	kube *kube
	pod  string
}

// spec is one run of the load generator; e2e/function/call.go tells what each field means.
type spec struct {
	URL            string  `json:"url"`
	Count          int     `json:"count,omitempty"`
	Concurrency    int     `json:"concurrency,omitempty"`
	Rate           float64 `json:"rate,omitempty"`
	TimeoutSeconds float64 `json:"timeoutSeconds,omitempty"`
	DelaySeconds   float64 `json:"delaySeconds,omitempty"`
}

// gap is a time without a success.
type gap struct {
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Millis float64   `json:"millis"`
}

// failure is one call that did not succeed.
type failure struct {
	At     time.Time `json:"at"`
	Status int       `json:"status"`
	Detail string    `json:"detail"`
	Millis float64   `json:"millis"`
}

// result is what a run has counted. Latencies are in milliseconds.
type result struct {
	Running    bool           `json:"running"`
	Started    time.Time      `json:"started"`
	Ended      time.Time      `json:"ended"`
	Statuses   map[string]int `json:"statuses"`
	P50        float64        `json:"p50"`
	P99        float64        `json:"p99"`
	Max        float64        `json:"max"`
	Accepted   []string       `json:"accepted"`
	Failures   []failure      `json:"failures"`
	LongestGap gap            `json:"longestGap"`
}

// failed counts the calls without success.
func (r result) failed() int {
	failed := 0
	for status, count := range r.Statuses {
		if status != "200" && status != "202" {
			failed += count
		}
	}
	return failed
}

func (r result) succeeded() int { return r.Statuses["200"] + r.Statuses["202"] }

// String leaves out what is long.
func (r result) String() string {
	text := fmt.Sprintf("statuses %v, p50 %.0f ms, p99 %.0f ms, max %.0f ms, longest gap %.0f ms", r.Statuses, r.P50, r.P99, r.Max, r.LongestGap.Millis)
	for i, f := range r.Failures {
		if i == 5 {
			return text + fmt.Sprintf(", and %d failures more", len(r.Failures)-i)
		}
		text += fmt.Sprintf("\n    failure at %s after %.0f ms: %d %s", f.At.Format("15:04:05.000"), f.Millis, f.Status, f.Detail)
	}
	return text
}

func (l loader) ask(ctx context.Context, method, path string, body, into any) error {
	return l.kube.readJSON(ctx, proxied{method: method, resource: "pods", target: podTarget(l.pod, functionPort), path: path, body: body}, into)
}

// start begins a run, which ends with the scenario at the latest.
func (l loader) start(ctx context.Context, t *testing.T, name string, s spec) {
	t.Helper()
	if err := l.ask(ctx, http.MethodPost, "/runs/"+name, s, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := l.ask(ctx, http.MethodDelete, "/runs/"+name, nil, nil); err != nil {
			t.Errorf("end the run %s: %v", name, err)
		}
	})
}

// stop ends the run, waits for its calls, and returns what it has counted.
func (l loader) stop(ctx context.Context, t *testing.T, name string) (r result) {
	t.Helper()
	if err := l.ask(ctx, http.MethodDelete, "/runs/"+name, nil, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// await waits until the run has ended by itself.
func (l loader) await(ctx context.Context, t *testing.T, name string, limit time.Duration) (r result) {
	t.Helper()
	until(ctx, t, "the end of run "+name, limit, func(ctx context.Context) (bool, string) {
		if err := l.ask(ctx, http.MethodGet, "/runs/"+name, nil, &r); err != nil {
			return false, err.Error()
		}
		return !r.Running, r.String()
	})
	return r
}

// call is one call to make.
type call struct {
	Method         string            `json:"method"`
	URL            string            `json:"url"`
	Header         map[string]string `json:"header,omitempty"`
	Body           string            `json:"body,omitempty"`
	TimeoutSeconds float64           `json:"timeoutSeconds,omitempty"`
}

// answer is its end; Error is empty if there was one.
type answer struct {
	Status int         `json:"status"`
	Header http.Header `json:"header"`
	Body   string      `json:"body"`
	Error  string      `json:"error"`
	Start  time.Time   `json:"start"`
	End    time.Time   `json:"end"`
}

func (a answer) String() string {
	return fmt.Sprintf("%d %s %.500s %s", a.Status, a.Header.Get("X-Call-Id"), a.Body, a.Error)
}

func (l loader) do(ctx context.Context, c call) (a answer, err error) {
	return a, l.ask(ctx, http.MethodPost, "/do", c, &a)
}

// mustDo makes a call that must get the status.
func (l loader) mustDo(ctx context.Context, t *testing.T, c call, status int) answer {
	t.Helper()
	a, err := l.do(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	if a.Status != status {
		t.Fatalf("%s %s: got %v, want %d", c.Method, c.URL, a, status)
	}
	return a
}
