// Command slow is a demo function: it takes its time, and counts the calls that run at once, so that one can see
// limits at work.
package main

import (
	"net/http"
	"sync"
	"time"

	"github.com/sluicefaas/sluice/deploy/demo/serve"
)

func main() { serve.Main(&slow{}) }

// maxTime bounds ?seconds=.
const maxTime = time.Hour

// stats are the counts since the process started.
type stats struct {
	InFlight    int   `json:"inFlight"`
	MaxInFlight int   `json:"maxInFlight"`
	Calls       int64 `json:"calls"`
}

type slow struct {
	mu    sync.Mutex
	stats stats // guarded by mu
}

// ServeHTTP answers GET /stats at once, and any other path after ?seconds= (1 without it).
func (s *slow) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet && r.URL.Path == "/stats" {
		serve.JSON(w, http.StatusOK, s.read())
		return
	}
	query := serve.NewQuery(r)
	wait := query.Seconds("seconds", time.Second, maxTime)
	if query.Refused(w) {
		return
	}
	s.begin()
	defer s.end()
	// The server notices that a caller hangs up only once the body is read.
	if _, ok := serve.Body(w, r); ok && serve.Pause(r, wait) {
		serve.JSON(w, http.StatusOK, map[string]float64{"seconds": wait.Seconds()})
	}
}

func (s *slow) read() stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

func (s *slow) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Calls++
	s.stats.InFlight++
	s.stats.MaxInFlight = max(s.stats.MaxInFlight, s.stats.InFlight)
}

func (s *slow) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.InFlight--
}
