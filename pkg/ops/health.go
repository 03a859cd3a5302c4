package ops

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// ProbeTimeout is how long one Check may take; Kubernetes gives a whole probe one second by default.
const ProbeTimeout = 900 * time.Millisecond

// Check is one named condition of health.
type Check struct {
	// Name is the key in the answer, unique in its Health.
	Name string
	// Probe returns nil, or in words what is wrong. It returns when its context ends and may be called at any time, though never
	// twice at once.
	Probe func(context.Context) error
}

// Health collects the checks of a process. Liveness asks whether a restart would help, readiness whether requests
// should come here.
type Health struct {
	// running holds at most one run of each probe, which all who ask share: a flood of requests costs one probe, and one that hangs
	// holds one goroutine.
	running singleflight.Group

	mu       sync.Mutex // guards the rest
	live     []Check
	ready    []Check
	details  map[string]string
	draining bool
}

// NewHealth returns a Health without checks: alive and ready.
func NewHealth() *Health { return &Health{details: map[string]string{}} }

// AddLive adds a check to liveness.
func (h *Health) AddLive(check Check) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.live = append(h.live, check)
}

// AddReady adds a check to readiness.
func (h *Health) AddReady(check Check) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ready = append(h.ready, check)
}

// SetDetail sets a fact that the answers show, such as what a 202 is worth.
func (h *Health) SetDetail(key, value string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.details[key] = value
}

// SetDraining turns readiness off for good: the process is about to end.
func (h *Health) SetDraining() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.draining = true
}

// Report is the body of an answer about health.
type Report struct {
	// Status is "ok" or "unhealthy".
	Status string `json:"status"`
	// Checks has "ok" or a reason for each check.
	Checks map[string]string `json:"checks"`
	// Details are the facts of SetDetail.
	Details map[string]string `json:"details"`
}

// LiveHandler answers GET /health: 200 or 503 and a Report in JSON. Draining does not show here, because a restart
// would not help.
func (h *Health) LiveHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		checks := h.live
		h.mu.Unlock()
		answer(w, h.report(r.Context(), "live", checks))
	})
}

// ReadyHandler answers GET /ready in the same form; while the process drains it is 503.
func (h *Health) ReadyHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		checks, draining := h.ready, h.draining
		h.mu.Unlock()
		report := h.report(r.Context(), "ready", checks)
		if draining {
			report.Status = "unhealthy"
			report.Checks["draining"] = "the process is shutting down"
		}
		answer(w, report)
	})
}

// report runs the checks side by side and waits for each at most ProbeTimeout. kind keeps a live and a ready check of
// the same name apart.
func (h *Health) report(ctx context.Context, kind string, checks []Check) Report {
	ctx, cancel := context.WithTimeout(ctx, ProbeTimeout)
	defer cancel()
	runs := make([]<-chan singleflight.Result, len(checks))
	for i, check := range checks {
		runs[i] = h.start(ctx, kind, check)
	}
	report := Report{Status: "ok", Checks: map[string]string{}, Details: h.copyDetails()}
	for i, check := range checks {
		report.Checks[check.Name] = "ok"
		if err := await(ctx, runs[i]); err != nil {
			report.Status = "unhealthy"
			report.Checks[check.Name] = err.Error()
		}
	}
	return report
}

func (h *Health) copyDetails() map[string]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.details)
}

// start runs the probe, or joins the run that is under way. The run has its own time limit: whoever asked first may
// hang up while others wait for the same answer.
func (h *Health) start(ctx context.Context, kind string, check Check) <-chan singleflight.Result {
	return h.running.DoChan(kind+" "+check.Name, func() (any, error) {
		probe, cancel := context.WithTimeout(context.WithoutCancel(ctx), ProbeTimeout)
		defer cancel()
		return nil, check.Probe(probe)
	})
}

func await(ctx context.Context, run <-chan singleflight.Result) error {
	select {
	case result := <-run:
		return result.Err
	default:
	}
	select {
	case result := <-run:
		return result.Err
	case <-ctx.Done():
		return fmt.Errorf("no result within %s", ProbeTimeout)
	}
}

func answer(w http.ResponseWriter, report Report) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if report.Status != "ok" {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(report) // the caller has gone: nobody to tell
}
