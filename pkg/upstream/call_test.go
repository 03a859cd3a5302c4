package upstream

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func newTestCaller(t *testing.T) *Caller {
	t.Helper()
	transport := NewTransport()
	t.Cleanup(transport.CloseIdleConnections)
	return NewCaller(transport)
}

func call(t *testing.T, address string, request Request) Answer {
	t.Helper()
	if request.Method == "" {
		request.Method = http.MethodPost
	}
	return newTestCaller(t).Do(t.Context(), listed(address)[0], request)
}

func TestAsyncCallArrivesAsStored(t *testing.T) {
	seen := make(chan *http.Request, 1)
	address := backend(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		seen <- r
		w.Header().Set("X-Answer", "1")
		w.WriteHeader(http.StatusFound)
		_, _ = w.Write(body)
	})
	header := http.Header{"Slimfaas-Try-Number": {"0"}, "Cookie": {"a", "b"}, "Connection": {"X-Hop"}, "X-Hop": {"1"}, "Content-Length": {"99"}}
	for _, method := range []string{"GET", "POST", "DELETE", "OPTIONS"} {
		answer := call(t, address, Request{Method: method, Path: "/a%2Fb//", Query: "u=http://x/&a;b", Header: header.Clone(), Body: []byte("body")})
		r := <-seen
		if answer.Status != http.StatusFound || string(answer.Body) != "body" || answer.Header.Get("X-Answer") != "1" || answer.Truncated ||
			answer.Kind != None || answer.Err != nil || answer.Duration <= 0 {
			t.Errorf("%s: %+v", method, answer)
		}
		want := http.Header{"Slimfaas-Try-Number": {"0"}, "Cookie": {"a", "b"}, "Content-Length": {"4"}}
		if r.Method != method || r.RequestURI != "/a%2Fb//?u=http://x/&a;b" || r.Host != address || fmt.Sprint(r.Header) != fmt.Sprint(want) {
			t.Errorf("arrived: %s %s %s %v", r.Method, r.RequestURI, r.Host, r.Header)
		}
	}
}

func TestAsyncGarbage(t *testing.T) {
	for name, text := range map[string]string{
		"nothing": "", "no HTTP": "hello\r\n\r\n", "half a head": "HTTP/1.1 200 OK\r\nX", "endless 1xx": strings.Repeat("HTTP/1.1 102 P\r\n\r\n", 10_000),
		"huge header": "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", 70<<10) + "\r\n\r\n", "switch": "HTTP/1.1 101 S\r\nUpgrade: x\r\n\r\n",
		"two lengths": "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
	} {
		if answer := call(t, answering(t, text), Request{}); answer.Kind != Broken || answer.Err == nil || answer.Status != 0 {
			t.Errorf("%s: %+v", name, answer)
		}
	}
	for name, text := range map[string]string{
		"short body": "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart", "no last chunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
	} {
		answer := call(t, answering(t, text), Request{})
		if answer.Kind != Broken || answer.Status != http.StatusOK || string(answer.Body) != "part" {
			t.Errorf("%s: %+v", name, answer)
		}
	}
}

func TestAsyncTimeoutAndCancellation(t *testing.T) {
	address := backend(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
	answer := call(t, address, Request{Timeout: 30 * time.Millisecond, Body: []byte("a")})
	if answer.Kind != Timeout || answer.Err == nil || answer.Duration < 30*time.Millisecond {
		t.Errorf("%+v", answer)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	answer = newTestCaller(t).Do(ctx, listed(address)[0], Request{Method: "GET"})
	if answer.Kind != CallerGone || answer.Err == nil {
		t.Errorf("%+v", answer)
	}
	if answer = call(t, closedAddress(t), Request{}); answer.Kind != Refused || answer.Err == nil {
		t.Errorf("%+v", answer)
	}
}

func TestAsyncInvalidRequests(t *testing.T) {
	address := backend(t, func(http.ResponseWriter, *http.Request) { t.Error("it was sent") })
	for name, request := range map[string]Request{
		"method": {Method: "PO ST"}, "header value": {Header: http.Header{"X": {"a\r\nY: b"}}}, "header name": {Header: http.Header{"X Y": {"a"}}},
		"path": {Path: "/a HTTP/1.1\r\n"}, "query": {Query: "a HTTP/1.1"}, "escape": {Path: "/%"},
	} {
		if answer := call(t, address, request); answer.Kind != Invalid || answer.Err == nil {
			t.Errorf("%s: %+v", name, answer)
		}
	}
}

// TestAnswerWithoutEnd: a huge answer is read up to DrainBody, a slow one for as long as its headers had; the status counts.
func TestAnswerWithoutEnd(t *testing.T) {
	for name, pause := range map[string]time.Duration{"huge": 0, "slow": 20 * time.Millisecond} {
		var sent atomic.Int64
		ended := make(chan struct{})
		address := backend(t, func(w http.ResponseWriter, r *http.Request) {
			defer close(ended)
			piece := make([]byte, 100_000)
			for sent.Load() < 1<<30 {
				n, err := w.Write(piece[:max(1, len(piece)-int(pause))])
				sent.Add(int64(n))
				if err != nil {
					return
				}
				if pause > 0 {
					_ = http.NewResponseController(w).Flush()
					select {
					case <-time.After(pause):
					case <-r.Context().Done():
						return
					}
				}
			}
		})
		caller := newTestCaller(t)
		caller.DrainBody = 32 << 20
		timeout := patience
		if pause > 0 {
			timeout = 2 * time.Second
		}
		answer := caller.Do(t.Context(), listed(address)[0], Request{Method: "GET", Timeout: timeout})
		if answer.Status != http.StatusOK || answer.Kind != None || !answer.Truncated || answer.Duration > patience/2 {
			t.Errorf("%s: status %d, %v, truncated %v, %s", name, answer.Status, answer.Err, answer.Truncated, answer.Duration)
		}
		if len(answer.Body) > caller.KeepBody || name == "huge" && len(answer.Body) != caller.KeepBody {
			t.Errorf("%s: %d bytes are kept", name, len(answer.Body))
		}
		wait(t, "the function's end", ended)
		if sent.Load() > 64<<20 {
			t.Errorf("%s: %d bytes were taken", name, sent.Load())
		}
	}
}

func TestKeptBodyLimits(t *testing.T) {
	for size, truncated := range map[int]bool{0: false, 100: false, 64 << 10: false, 64<<10 + 1: true, 1 << 20: true} {
		var connections atomic.Int64
		address := backend(t, func(w http.ResponseWriter, r *http.Request) {
			connections.Store(int64(len(r.RemoteAddr)))
			_, _ = w.Write(make([]byte, size))
		})
		if answer := call(t, address, Request{}); answer.Truncated != truncated || len(answer.Body) != min(size, 64<<10) || answer.Kind != None {
			t.Errorf("%d bytes: %d kept, truncated %v, %v", size, len(answer.Body), answer.Truncated, answer.Err)
		}
	}
}

// TestConnectionsAreKept: also after an answer that was read to its end without being kept.
func TestConnectionsAreKept(t *testing.T) {
	peers := make(chan string, 3)
	address := backend(t, func(w http.ResponseWriter, r *http.Request) {
		peers <- r.RemoteAddr
		_, _ = w.Write(make([]byte, 500_000))
	})
	caller := newTestCaller(t)
	for range cap(peers) {
		caller.Do(t.Context(), listed(address)[0], Request{Method: "POST", Body: []byte("a")})
	}
	if a, b, c := <-peers, <-peers, <-peers; a != b || b != c {
		t.Errorf("calls came over %s, %s and %s", a, b, c)
	}
}

// TestIdleConnectionClosedByTheFunction: the next call, a POST, does not fail because of it.
func TestIdleConnectionClosedByTheFunction(t *testing.T) {
	const answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	address := answering(t, answer) // and closes
	transport := NewTransport()
	defer transport.CloseIdleConnections()
	dropped := make(chan struct{}, 10)
	dial := transport.http1.DialContext
	transport.http1.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		return &closeNotifier{Conn: conn, closed: dropped}, err
	}
	caller := NewCaller(transport)
	for i := range 3 {
		if a := caller.Do(t.Context(), listed(address)[0], Request{Method: "POST", Body: []byte("a")}); a.Kind != None {
			t.Errorf("call %d: %+v", i, a)
		}
		wait(t, "notice of the close", dropped)
	}
}

type closeNotifier struct {
	net.Conn
	closed chan<- struct{}
}

func (c *closeNotifier) Close() error {
	err := c.Conn.Close()
	if err == nil {
		c.closed <- struct{}{}
	}
	return err
}

// TestFunctionThatFailsMidCallRunsOncePerAttempt: on a kept connection this looks like one that was closed while
// idle, and a POST must not be sent again.
func TestFunctionThatFailsMidCallRunsOncePerAttempt(t *testing.T) {
	var posts atomic.Int64
	address := rawBackend(t, func(conn net.Conn, r *bufio.Reader) {
		for {
			request := readRawRequest(r)
			if request == nil || request.Method == http.MethodPost {
				if request != nil {
					posts.Add(1)
				}
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	caller := newTestCaller(t)
	caller.Do(t.Context(), listed(address)[0], Request{Method: "GET"})
	answer := caller.Do(t.Context(), listed(address)[0], Request{Method: "POST", Body: []byte("a")})
	if answer.Kind != Broken || posts.Load() != 1 {
		t.Errorf("%+v after %d runs", answer, posts.Load())
	}
}
