package local

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/sluicefaas/sluice/pkg/ops"
)

// callLedger is a function that runs in the test's own process and counts its calls by id.
type callLedger struct {
	mu    sync.Mutex
	calls map[string]int // guarded by mu
}

func (c *callLedger) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls[r.Header.Get("SlimFaas-Element-Id")]++
}

func (c *callLedger) count(id string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls[id]
}

// runLocal runs a whole Local in this process, with one function f that is at url.
func runLocal(t *testing.T, url string, flags ...string) *Local {
	t.Helper()
	return runManifest(t, fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: f, annotations: {sluice/Function: "true", sluice/LocalURL: %q, sluice/NumberParallelRequest: "32"}}
spec:
  selector: {matchLabels: {app: f}}
  template: {metadata: {labels: {app: f}}, spec: {containers: [{name: f, image: f}]}}
`, url), flags...)
}

// runManifest runs a whole Local in this process.
func runManifest(t testing.TB, text string, flags ...string) *Local {
	t.Helper()
	folder := t.TempDir()
	manifest := filepath.Join(folder, "f.yaml")
	if err := os.WriteFile(manifest, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var flagged struct {
		Config `embed:""`
	}
	args := append([]string{manifest, "--listen=127.0.0.1:0", "--nats-listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0", "--data=" + folder}, flags...)
	if _, err := ops.Parse(&flagged, args); err != nil {
		t.Fatal(err)
	}
	l := New(flagged.Config, zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.ErrorLevel), io.Discard)
	take, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(take, context.Background()) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the end of the system: %v", err)
		}
	})
	eventually(t, "the system is up", func() bool {
		select {
		case <-l.up:
			return true
		default:
			return false
		}
	})
	return l
}

// NATS stops and starts again under load: what was accepted is delivered, callers get 202 or 503 with Retry-After, sync calls go
// on, and everybody reconnects (row 18 of the bugs of others).
func TestNATSRestartsUnderLoad(t *testing.T) {
	ledger := &callLedger{calls: map[string]int{}}
	backend := httptest.NewServer(ledger)
	defer backend.Close()
	l := runLocal(t, backend.URL, "--publish-patience=500ms")
	client := &http.Client{Timeout: 20 * time.Second}
	defer client.CloseIdleConnections()

	var mu sync.Mutex
	var ids []string
	statuses := map[int]int{}
	one := func(method, path string) {
		request, err := http.NewRequestWithContext(t.Context(), method, l.url()+path, strings.NewReader("x"))
		if err != nil {
			t.Error(err)
			return
		}
		response, err := client.Do(request)
		if err != nil {
			t.Errorf("%s got no answer: %v", path, err)
			return
		}
		_ = response.Body.Close()
		mu.Lock()
		defer mu.Unlock()
		switch statuses[response.StatusCode]++; response.StatusCode {
		case http.StatusAccepted:
			ids = append(ids, response.Header.Get("X-Call-Id"))
		case http.StatusServiceUnavailable:
			if response.Header.Get("Retry-After") == "" || path != "/async-function/f" {
				t.Errorf("%s got 503 with Retry-After %q", path, response.Header.Get("Retry-After"))
			}
		case http.StatusOK:
		default:
			t.Errorf("%s got %d", path, response.StatusCode)
		}
	}
	stop := make(chan struct{})
	var callers sync.WaitGroup
	for _, path := range []string{"/async-function/f", "/async-function/f", "/async-function/f", "/function/f"} {
		callers.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
					one(http.MethodPost, path)
				}
			}
		})
	}
	refused := func() int { mu.Lock(); defer mu.Unlock(); return statuses[http.StatusServiceUnavailable] }
	took := func() int { mu.Lock(); defer mu.Unlock(); return len(ids) }
	for range 3 {
		before := took()
		eventually(t, "calls are accepted", func() bool { return took() > before+50 })
		l.nats.stop()
		already := refused()
		eventually(t, "calls are refused while NATS is away", func() bool { return refused() > already })
		if err := l.nats.start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	before := took()
	eventually(t, "calls are accepted after the last start", func() bool { return took() > before+50 })
	close(stop)
	callers.Wait()
	for _, id := range ids {
		eventually(t, "accepted call "+id+" is delivered", func() bool { return ledger.count(id) > 0 })
	}
	t.Logf("%d accepted and delivered; answers by status: %v", len(ids), statuses)
}
