package services_test

import (
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"
)

// replica is a replica of a function: a real HTTP server that notes every call. POST /?ms=N takes N milliseconds.
type replica struct {
	address string
	server  *http.Server
	stopped chan struct{}

	mu      sync.Mutex
	started int            // guarded by mu
	ended   map[string]int // by call id, empty for sync calls; guarded by mu
}

// serveReplica starts a replica on a free port of loopback, which ends with the test.
func serveReplica(t *testing.T) *replica {
	t.Helper()
	r, err := newReplica("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.stop)
	return r
}

// newReplica starts a replica, which the caller stops.
func newReplica(address string) (*replica, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	r := &replica{address: listener.Addr().String(), ended: map[string]int{}, stopped: make(chan struct{})}
	r.server = &http.Server{Handler: r}
	go func() {
		defer close(r.stopped)
		_ = r.server.Serve(listener)
	}()
	return r, nil
}

// stop closes the port and every connection.
func (r *replica) stop() {
	_ = r.server.Close()
	<-r.stopped
}

// ServeHTTP implements http.Handler.
func (r *replica) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	r.mu.Lock()
	r.started++
	r.mu.Unlock()
	ms, _ := strconv.Atoi(request.URL.Query().Get("ms"))
	select {
	case <-time.After(time.Duration(ms) * time.Millisecond):
	case <-request.Context().Done():
		return
	}
	r.mu.Lock()
	r.ended[request.Header.Get("SlimFaas-Element-Id")]++
	r.mu.Unlock()
	fmt.Fprint(w, "hello from "+r.address)
}

// calls are how many have begun, and how often each queued one has ended.
func (r *replica) calls() (started int, ended map[string]int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ended = map[string]int{}
	for id, n := range r.ended {
		if id != "" {
			ended[id] = n
		}
	}
	return r.started, ended
}
