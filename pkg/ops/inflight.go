package ops

import (
	"context"
	"net/http"
	"sync"
)

// inFlight counts the handlers that run. Unlike a sync.WaitGroup it may be waited for while new ones begin, and with
// a context.
type inFlight struct {
	mu    sync.Mutex // guards both
	n     int
	empty chan struct{} // made when n leaves 0, closed when it comes back
}

// count returns next with its running requests counted, from the first line to the return.
func (f *inFlight) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.begin()
		defer f.end()
		next.ServeHTTP(w, r)
	})
}

func (f *inFlight) begin() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n == 0 {
		f.empty = make(chan struct{})
	}
	f.n++
}

func (f *inFlight) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n--
	if f.n == 0 {
		close(f.empty)
	}
}

func (f *inFlight) active() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n
}

// wait returns nil when no handler runs, or the error of ctx when that ends first.
func (f *inFlight) wait(ctx context.Context) error {
	f.mu.Lock()
	n, empty := f.n, f.empty
	f.mu.Unlock()
	if n == 0 {
		return nil
	}
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
