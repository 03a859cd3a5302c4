package upstream

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
	"github.com/sluicefaas/sluice/pkg/function"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

// backend is a function served by net/http.
func backend(t *testing.T, handler http.HandlerFunc) (address string) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// rawBackend is a function that speaks what it likes on each connection.
func rawBackend(t *testing.T, speak func(net.Conn, *bufio.Reader)) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(patience))
			running.Go(func() {
				defer conn.Close()
				speak(conn, bufio.NewReader(conn))
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		running.Wait()
	})
	return listener.Addr().String()
}

// answering is a rawBackend that reads one request and sends text.
func answering(t *testing.T, text string) (address string) {
	t.Helper()
	return rawBackend(t, func(conn net.Conn, r *bufio.Reader) {
		if readRawRequest(r) != nil {
			_, _ = io.WriteString(conn, text)
		}
	})
}

func readRawRequest(r *bufio.Reader) *http.Request {
	request, err := http.ReadRequest(r)
	if err != nil {
		return nil
	}
	_, _ = io.Copy(io.Discard, request.Body)
	return request
}

// closedAddress refuses connections.
func closedAddress(t *testing.T) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(bustest.FreePort(t)))
}

func listed(addresses ...string) []function.Endpoint {
	var list []function.Endpoint
	for _, address := range addresses {
		list = append(list, function.Endpoint{Replica: "replica-" + address, Address: address})
	}
	return list
}

// gateway is a server whose calls of /function/f/… go through a Proxy.
type gateway struct {
	address   string
	endpoints Endpoints
	outcomes  chan Outcome
	// call is the template of every call.
	call ProxyCall
}

const prefix = "/function/f"

func newGateway(t *testing.T, addresses ...string) *gateway {
	t.Helper()
	g := &gateway{outcomes: make(chan Outcome, 100)}
	g.endpoints.Update(listed(addresses...))
	transport := NewTransport()
	proxy := NewProxy(transport, failForTest)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _, _ := strings.Cut(r.RequestURI, "?")
		lease, ok := g.endpoints.Acquire(Limits{})
		if !ok {
			t.Error("no lease")
			return
		}
		call := g.call
		call.Endpoints, call.Lease, call.Path = &g.endpoints, lease, strings.TrimPrefix(raw, prefix)
		call.Done = func(o Outcome) { g.outcomes <- o }
		proxy.Serve(&committingWriter{ResponseWriter: w}, r, call)
	}))
	log := &testLog{t: t}
	server.Config.ErrorLog = log.logger()
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(func() {
		server.Close()
		transport.CloseIdleConnections()
		if counts := g.endpoints.InFlight(); len(counts) > 0 {
			t.Errorf("calls still count as in flight: %v", counts)
		}
	})
	g.address = server.Listener.Addr().String()
	return g
}

// committingWriter takes the first status for the final one, as the writer of echo does.
type committingWriter struct {
	http.ResponseWriter
	committed bool
}

func (w *committingWriter) WriteHeader(status int) {
	if !w.committed {
		w.committed = true
		w.ResponseWriter.WriteHeader(status)
	}
}

func (w *committingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// failForTest answers with the status that the gateway would use and the kind as the body.
func failForTest(w http.ResponseWriter, _ *http.Request, failure Failure) {
	status := map[Kind]int{Timeout: 504, Broken: 502, Refused: 502, Invalid: 400}[failure.Kind]
	if failure.Cause == nil || status == 0 {
		status = http.StatusInternalServerError
	}
	w.Header().Set("X-Ours", "true")
	http.Error(w, failure.Kind.String(), status)
}

func (g *gateway) url(path string) string { return "http://" + g.address + prefix + path }

// outcome waits for the end of the next call.
func (g *gateway) outcome(t *testing.T) Outcome {
	t.Helper()
	select {
	case o := <-g.outcomes:
		return o
	case <-time.After(patience):
		t.Fatal("the call did not end")
		return Outcome{}
	}
}

// result is an answer that has been read.
type result struct {
	*http.Response
	body string
	err  error // of reading the body
}

// send makes one request over a connection of its own.
func send(t *testing.T, request *http.Request) result {
	t.Helper()
	transport := NewTransport()
	transport.http1.ResponseHeaderTimeout = patience
	defer transport.CloseIdleConnections()
	answer, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatalf("%s %s: %v", request.Method, request.URL, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 64<<20))
	return result{Response: answer, body: string(body), err: err}
}

func newTestRequest(t *testing.T, method, url string, body io.Reader) *http.Request {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return request
}

func get(t *testing.T, url string) result {
	t.Helper()
	return send(t, newTestRequest(t, http.MethodGet, url, nil))
}

// exchangeRaw sends text and returns all that comes back until the connection ends or the answer is there.
func exchangeRaw(t *testing.T, address, text string) *http.Response {
	t.Helper()
	conn, r := dialRaw(t, address)
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatalf("read answer to %q: %v", text, err)
	}
	return answer
}

func dialRaw(t *testing.T, address string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { _ = conn.Close() })
	return conn, bufio.NewReader(conn)
}

func wait(t *testing.T, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("waited in vain: %s", what)
	}
}

func isBrokenBody(err error) bool {
	return errors.Is(err, io.ErrUnexpectedEOF) || err != nil && !errors.Is(err, io.EOF)
}
