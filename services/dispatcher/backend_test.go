package dispatcher

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/function"
)

// backend is one replica: a real HTTP server that counts for itself.
type backend struct {
	server  *httptest.Server
	address string
	total   *gauge // shared by the replicas of a function
	own     gauge
	handle  http.HandlerFunc
	streams bool // handle reads the body itself

	mu   sync.Mutex
	seen []seen           // guarded by mu
	next http.HandlerFunc // replaces handle; guarded by mu
}

// then makes the replica answer with another handler from now on.
func (b *backend) then(handle http.HandlerFunc) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next = handle
}

func (b *backend) handler() http.HandlerFunc {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next != nil {
		return b.next
	}
	return b.handle
}

// seen is one attempt as the function saw it.
type seen struct {
	id, body, try, last string
	at, until           time.Time
	request             *http.Request
}

// gauge counts what runs at the same time.
type gauge struct {
	mu           sync.Mutex
	now, highest int // guarded by mu
}

func (g *gauge) add(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now += n
	g.highest = max(g.highest, g.now)
}

func (g *gauge) current() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.now
}

func (g *gauge) max() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.highest
}

// forget starts the maximum anew.
func (g *gauge) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.highest = g.now
}

// newBackend starts a replica that answers with handle; total counts over several of them and may be nil.
func newBackend(t *testing.T, total *gauge, handle http.HandlerFunc) *backend {
	if total == nil {
		total = &gauge{}
	}
	b := &backend{total: total, handle: handle}
	b.server = httptest.NewServer(b)
	b.address = b.server.Listener.Addr().String()
	t.Cleanup(func() {
		b.server.CloseClientConnections()
		b.server.Close()
	})
	return b
}

func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.total.add(1)
	b.own.add(1)
	var body []byte
	if !b.streams {
		body, _ = io.ReadAll(r.Body)
	}
	entry := seen{
		id: r.Header.Get("SlimFaas-Element-Id"), try: r.Header.Get("SlimFaas-Try-Number"), last: r.Header.Get("Slimfaas-Last-Try"),
		body: string(body), at: time.Now(), request: r,
	}
	defer func() {
		b.own.add(-1)
		b.total.add(-1)
		entry.until = time.Now()
		b.mu.Lock()
		defer b.mu.Unlock()
		b.seen = append(b.seen, entry)
	}()
	b.handler()(w, r)
}

// calls are the attempts that have ended, in that order.
func (b *backend) calls() []seen {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.seen)
}

func (b *backend) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.seen)
}

func answer(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
}

// gate lets calls in and holds them until it is opened, or until their caller has gone.
type gate chan struct{}

func (g gate) hold(_ http.ResponseWriter, r *http.Request) {
	select {
	case <-g:
	case <-r.Context().Done():
	}
}

// work takes a moment for each call.
func work(d time.Duration) http.HandlerFunc {
	return func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(d):
		case <-r.Context().Done():
		}
	}
}

func spec(name string, changes ...func(*function.Function)) function.Function {
	f := function.Function{
		Name: name, Kind: function.KindDeployment, ReplicasAtStart: 1, NumberParallelRequest: 10, DefaultVisibility: function.Public,
		Configuration: function.Configuration{DefaultAsync: function.Policy{HTTPTimeout: 30, HTTPStatusRetries: []int{500, 502, 503}}},
	}
	for _, change := range changes {
		change(&f)
	}
	return f
}

func parallel(total, perPod int) func(*function.Function) {
	return func(f *function.Function) { f.NumberParallelRequest, f.NumberParallelRequestPerPod = total, perPod }
}

func retries(seconds ...int) func(*function.Function) {
	return func(f *function.Function) { f.Configuration.DefaultAsync.TimeoutRetries = seconds }
}

func timeout(seconds int) func(*function.Function) {
	return func(f *function.Function) { f.Configuration.DefaultAsync.HTTPTimeout = seconds }
}
