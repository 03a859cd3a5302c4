package ops_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/sluicefaas/sluice/pkg/ops"
)

func ask(t *testing.T, handler http.Handler) (int, ops.Report) {
	t.Helper()
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/health", nil))
	var report ops.Report
	if err := json.Unmarshal(recorder.Body.Bytes(), &report); err != nil {
		t.Fatalf("body %q: %v", recorder.Body, err)
	}
	if got := recorder.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("content type %q", got)
	}
	return recorder.Code, report
}

func fine(context.Context) error { return nil }

func TestHealthReportsChecksAndDetails(t *testing.T) {
	health := ops.NewHealth()
	health.SetDetail("durability", "one replica, synced on each write")
	health.AddLive(ops.Check{Name: "progress", Probe: fine})
	status, report := ask(t, health.LiveHandler())
	want := ops.Report{
		Status:  "ok",
		Checks:  map[string]string{"progress": "ok"},
		Details: map[string]string{"durability": "one replica, synced on each write"},
	}
	if status != http.StatusOK || !reflect.DeepEqual(report, want) {
		t.Errorf("%d %+v", status, report)
	}

	health.AddLive(ops.Check{Name: "stuck", Probe: func(context.Context) error { return errors.New("nothing taken for 30s") }})
	status, report = ask(t, health.LiveHandler())
	if status != http.StatusServiceUnavailable || report.Status != "unhealthy" {
		t.Errorf("%d %+v", status, report)
	}
	if report.Checks["progress"] != "ok" || report.Checks["stuck"] != "nothing taken for 30s" {
		t.Errorf("checks %v", report.Checks)
	}
	if status, _ = ask(t, health.ReadyHandler()); status != http.StatusOK {
		t.Errorf("a failed live check made readiness %d", status)
	}
}

func TestHealthDrainingTurnsReadinessOffAndNotLiveness(t *testing.T) {
	health := ops.NewHealth()
	health.AddReady(ops.Check{Name: "nats", Probe: fine})
	if status, _ := ask(t, health.ReadyHandler()); status != http.StatusOK {
		t.Fatalf("before: %d", status)
	}
	health.SetDraining()
	status, report := ask(t, health.ReadyHandler())
	if status != http.StatusServiceUnavailable || !strings.Contains(report.Checks["draining"], "shutting down") {
		t.Errorf("%d %+v", status, report)
	}
	if status, _ := ask(t, health.LiveHandler()); status != http.StatusOK {
		t.Errorf("liveness %d", status)
	}
}

func TestHealthBoundsAProbeThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		health := ops.NewHealth()
		var runs atomic.Int32
		free := make(chan struct{})
		health.AddLive(ops.Check{Name: "fine", Probe: fine})
		health.AddLive(ops.Check{Name: "hangs", Probe: func(context.Context) error {
			runs.Add(1)
			<-free
			return nil
		}})
		var askers sync.WaitGroup
		for range 20 {
			askers.Go(func() {
				status, report := ask(t, health.LiveHandler())
				if status != http.StatusServiceUnavailable || report.Checks["hangs"] != "no result within 900ms" || report.Checks["fine"] != "ok" {
					t.Errorf("%d %+v", status, report)
				}
			})
		}
		askers.Wait()
		if got := runs.Load(); got != 1 {
			t.Errorf("%d runs of one probe at once", got)
		}
		close(free)
		synctest.Wait()
		if status, report := ask(t, health.LiveHandler()); status != http.StatusOK {
			t.Errorf("after it was freed: %d %+v", status, report)
		}
	})
}

func TestHealthGivesProbesADeadlineOfTheirOwn(t *testing.T) {
	health := ops.NewHealth()
	health.AddLive(ops.Check{Name: "deadline", Probe: func(ctx context.Context) error {
		if _, limited := ctx.Deadline(); !limited {
			return errors.New("no deadline")
		}
		return ctx.Err()
	}})
	if status, report := ask(t, health.LiveHandler()); status != http.StatusOK {
		t.Errorf("%d %+v", status, report)
	}
}
