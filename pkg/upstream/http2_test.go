package upstream

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/function"
)

// h2cBackend is a function that speaks HTTP/2 without TLS, and nothing else.
func h2cBackend(t *testing.T, handler http.HandlerFunc, changes ...func(*http.Server)) (address string) {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	for _, change := range changes {
		change(server.Config)
	}
	server.Start()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func overH2C(addresses ...string) []function.Endpoint {
	list := listed(addresses...)
	for i := range list {
		list[i].Protocol = function.ProtocolH2C
	}
	return list
}

// newH2CGateway calls functions over HTTP/2, and is called over both protocols.
func newH2CGateway(t *testing.T, addresses ...string) *gateway {
	t.Helper()
	g := newGateway(t, addresses...)
	g.endpoints.Update(overH2C(addresses...))
	return g
}

// echoLines answers each line at once, and ends with a trailer.
func echoLines(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Proto", r.Proto)
	control := http.NewResponseController(w)
	_ = control.EnableFullDuplex()
	_ = control.Flush()
	for lines := bufio.NewScanner(r.Body); lines.Scan(); {
		_, _ = fmt.Fprintf(w, "got %s\n", lines.Text())
		_ = control.Flush()
	}
	w.Header().Set(http.TrailerPrefix+"X-Status", "0")
	w.Header().Set(http.TrailerPrefix+"X-Asked", r.Trailer.Get("X-Ask"))
}

// TestStreamingInEveryProtocol: callers and functions of both, lines both ways at the same time, and trailers.
func TestStreamingInEveryProtocol(t *testing.T) {
	for name, protocols := range map[string][2]bool{"1 to 1": {false, false}, "1 to 2": {false, true}, "2 to 1": {true, false}, "2 to 2": {true, true}} {
		t.Run(name, func(t *testing.T) {
			var g *gateway
			want := "HTTP/1.1"
			if protocols[1] {
				g, want = newH2CGateway(t, h2cBackend(t, echoLines)), "HTTP/2.0"
			} else {
				g = newGateway(t, backend(t, echoLines))
			}
			transport := NewTransport()
			defer transport.CloseIdleConnections()
			body, out := io.Pipe()
			request := newTestRequest(t, http.MethodPost, g.url("/"), body)
			request.Trailer = http.Header{"X-Ask": nil}
			if protocols[0] {
				request.URL.Scheme = schemeH2C
			}
			answer, err := transport.RoundTrip(request)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			lines := bufio.NewReader(answer.Body)
			for i := range 20 {
				_, _ = fmt.Fprintln(out, i)
				if line, err := lines.ReadString('\n'); err != nil || line != fmt.Sprintf("got %d\n", i) {
					t.Fatalf("line %d: %q, %v", i, line, err)
				}
			}
			request.Trailer.Set("X-Ask", "yes")
			_ = out.Close()
			if rest, err := io.ReadAll(lines); err != nil || len(rest) > 0 {
				t.Errorf("%q, %v", rest, err)
			}
			if answer.Trailer.Get("X-Status") != "0" || answer.Trailer.Get("X-Asked") != "yes" || answer.Header.Get("X-Proto") != want || answer.Header.Get("Connection") != "" {
				t.Errorf("%v, trailer %v", answer.Header, answer.Trailer)
			}
			if o := g.outcome(t); o.Failure.Kind != None || o.Status != http.StatusOK {
				t.Errorf("%+v", o)
			}
		})
	}
}

// TestH2CRequestArrivesAsSent: method, target byte for byte, headers, TE: trailers; no wish for another protocol.
func TestH2CRequestArrivesAsSent(t *testing.T) {
	seen := make(chan *http.Request, 1)
	g := newH2CGateway(t, h2cBackend(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		seen <- r
	}))
	for _, path := range []string{"/a%2Fb//?u=http://x/&a;b", "//x", "/x|y", "/?", "/caf\xc3\xa9"} {
		answer := exchangeRaw(t, g.address, "PUT "+prefix+path+" HTTP/1.1\r\nHost: asked\r\nTE: trailers, deflate\r\nCookie: a=b\r\nContent-Length: 4\r\n\r\nbody")
		if answer.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", path, answer.Status)
			continue
		}
		r := <-seen
		if r.RequestURI != path || r.Method != http.MethodPut || r.ProtoMajor != 2 || r.ContentLength != 4 || r.Header.Get("Te") != "trailers" ||
			r.Header.Get("Cookie") != "a=b" || r.Host != g.outcome(t).Endpoint.Address || r.Header.Get("X-Forwarded-Host") != "asked" {
			t.Errorf("%s arrived as %s %s %s %v", path, r.Method, r.RequestURI, r.Host, r.Header)
		}
	}
	answer := exchangeRaw(t, g.address, "GET "+prefix+"/ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	if r := <-seen; answer.StatusCode != http.StatusOK || r.Header.Get("Upgrade") != "" || r.Header.Get("Connection") != "" {
		t.Errorf("a web socket: %s, %v", answer.Status, r.Header)
	}
}

// TestAsyncCallOverH2C: as it is stored, over one connection, and large ones too.
func TestAsyncCallOverH2C(t *testing.T) {
	peers := make(chan string, 3)
	address := h2cBackend(t, func(w http.ResponseWriter, r *http.Request) {
		peers <- r.RemoteAddr
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.Copy(w, r.Body)
	})
	caller := newTestCaller(t)
	for _, size := range []int{0, 10, 50_000} {
		body := strings.Repeat("x", size)
		answer := caller.Do(t.Context(), overH2C(address)[0], Request{Method: "POST", Path: "/p", Header: http.Header{"Te": {"trailers"}}, Body: []byte(body), Timeout: patience})
		if answer.Kind != None || answer.Status != http.StatusAccepted || string(answer.Body) != body {
			t.Errorf("%d bytes: %+v", size, answer)
		}
	}
	if a, b, c := <-peers, <-peers, <-peers; a != b || b != c {
		t.Errorf("calls came over %s, %s and %s", a, b, c)
	}
}

// TestBodyFromAStream is read once, closed, and sent with its length, in both protocols.
func TestBodyFromAStream(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "%d %s %v", r.ContentLength, body, r.TransferEncoding)
	}
	for _, endpoint := range []function.Endpoint{listed(backend(t, echo))[0], overH2C(h2cBackend(t, echo))[0]} {
		for _, text := range []string{"", "a body"} {
			stream := &closingReader{Reader: strings.NewReader(text)}
			answer := newTestCaller(t).Do(t.Context(), endpoint, Request{Method: "POST", Stream: stream, Size: int64(len(text)), Timeout: patience})
			if answer.Kind != None || string(answer.Body) != fmt.Sprintf("%d %s []", len(text), text) || !stream.closed.Load() {
				t.Errorf("%s: %+v %q, closed %v", endpoint.Protocol, answer, answer.Body, stream.closed.Load())
			}
		}
	}
	stream := &closingReader{Reader: strings.NewReader("x")}
	if answer := newTestCaller(t).Do(t.Context(), listed("127.0.0.1:1")[0], Request{Method: "NO METHOD", Stream: stream, Size: 1}); answer.Kind != Invalid || !stream.closed.Load() {
		t.Errorf("%+v, closed %v", answer, stream.closed.Load())
	}
}

type closingReader struct {
	io.Reader
	closed atomic.Bool
}

func (r *closingReader) Close() error {
	r.closed.Store(true)
	return nil
}

// TestH2CFailures are sorted like those over HTTP/1.1.
func TestH2CFailures(t *testing.T) {
	waiting := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	for name, test := range map[string]struct {
		address string
		kind    Kind
	}{
		"refused":       {closedAddress(t), Refused},
		"late":          {h2cBackend(t, waiting), Timeout},
		"resets":        {h2cBackend(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), Broken},
		"only HTTP/1.1": {backend(t, func(http.ResponseWriter, *http.Request) {}), Broken},
		"closes":        {rawBackend(t, func(_ net.Conn, r *bufio.Reader) { _, _ = r.ReadByte() }), Broken},
		"huge header": {h2cBackend(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("a", 70<<10))
		}), Broken},
	} {
		t.Run(name, func(t *testing.T) {
			answer := newTestCaller(t).Do(t.Context(), overH2C(test.address)[0], Request{Method: "POST", Body: []byte("x"), Timeout: patience / 20})
			if answer.Kind != test.kind || answer.Err == nil {
				t.Errorf("a call: %v %v", answer.Kind, answer.Err)
			}
			g := newH2CGateway(t, test.address)
			g.call.Timeout = patience / 20
			expectOurs(t, get(t, g.url("/")), map[Kind]int{Timeout: 504, Refused: 502, Broken: 502}[test.kind], test.kind)
			_ = g.outcome(t)
		})
	}
	calls := newH2CGateway(t, closedAddress(t))
	calls.endpoints.Update(append(overH2C(closedAddress(t), closedAddress(t)), overH2C(h2cBackend(t, func(http.ResponseWriter, *http.Request) {}))...))
	if answer := get(t, calls.url("/")); answer.StatusCode != http.StatusOK {
		t.Errorf("two replicas refuse: %s", answer.Status)
	}
}

// TestH2CAnswerBreaks after its headers: the caller does not take what came for the whole.
func TestH2CAnswerBreaks(t *testing.T) {
	g := newH2CGateway(t, h2cBackend(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "part")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	if answer := get(t, g.url("/")); answer.StatusCode != http.StatusOK || !isBrokenBody(answer.err) {
		t.Errorf("%s %q %v", answer.Status, answer.body, answer.err)
	}
	if o := g.outcome(t); o.Failure.Kind != Broken || o.Status != http.StatusOK {
		t.Errorf("%+v", o)
	}
}

// TestH2CCallerGone: the function's stream ends, and the connection stays for others.
func TestH2CCallerGone(t *testing.T) {
	peers, started, ended := make(chan string, 2), make(chan struct{}, 1), make(chan struct{}, 1)
	address := h2cBackend(t, func(_ http.ResponseWriter, r *http.Request) {
		peers <- r.RemoteAddr
		if r.URL.Path == "/wait" {
			started <- struct{}{}
			<-r.Context().Done()
			ended <- struct{}{}
		}
	})
	caller := newTestCaller(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-started
		cancel()
	}()
	if answer := caller.Do(ctx, overH2C(address)[0], Request{Method: "POST", Path: "/wait"}); answer.Kind != CallerGone {
		t.Errorf("%+v", answer)
	}
	wait(t, "the end of the function's request", ended)
	if answer := caller.Do(t.Context(), overH2C(address)[0], Request{Method: "POST"}); answer.Kind != None {
		t.Errorf("%+v", answer)
	}
	if a, b := <-peers, <-peers; a != b {
		t.Errorf("the connection was given up: %s, then %s", a, b)
	}
}

// TestH2CMoreCallsThanStreams: a replica that takes one stream per connection gets more connections, and no call waits for another.
func TestH2CMoreCallsThanStreams(t *testing.T) {
	const calls = 5
	var together sync.WaitGroup
	together.Add(calls)
	address := h2cBackend(t, func(http.ResponseWriter, *http.Request) {
		together.Done()
		together.Wait()
	}, func(s *http.Server) { s.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 1} })
	caller := newTestCaller(t)
	answers := make(chan Answer, calls)
	for range calls {
		go func() {
			answers <- caller.Do(t.Context(), overH2C(address)[0], Request{Method: "POST", Body: []byte("x"), Timeout: 4 * patience})
		}()
	}
	for range calls {
		if answer := <-answers; answer.Kind != None {
			t.Errorf("%+v", answer)
		}
	}
}

// TestH2CServerThatEnds: a replica drains its connection (GOAWAY) while calls run. Those end whole; new ones go over another connection to the
// process that takes its place.
func TestH2CServerThatEnds(t *testing.T) {
	address := closedAddress(t)
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	running, finish := make(chan struct{}, 1), make(chan struct{})
	serve := func(listener net.Listener, answer string) (*http.Server, chan error) {
		server := &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				running <- struct{}{}
				<-finish
			}
			_, _ = io.WriteString(w, answer)
		})}
		server.Protocols.SetUnencryptedHTTP2(true)
		ended := make(chan error, 1)
		go func() { ended <- server.Serve(listener) }()
		return server, ended
	}
	first, ended := serve(listener, "first")
	caller := newTestCaller(t)
	do := func(path string) Answer {
		return caller.Do(t.Context(), overH2C(address)[0], Request{Method: "POST", Path: path, Body: []byte("x"), Timeout: patience})
	}
	slow := make(chan Answer, 1)
	go func() { slow <- do("/slow") }()
	<-running
	shutdown := make(chan error, 1)
	go func() { shutdown <- first.Shutdown(context.Background()) }()
	<-ended
	if listener, err = net.Listen("tcp", address); err != nil {
		t.Fatal(err)
	}
	second, secondEnded := serve(listener, "second")
	defer func() {
		_ = second.Close()
		<-secondEnded
	}()
	deadline := time.After(patience)
	for got := ""; got != "second"; { // until the GOAWAY has come, calls go to the first one, which still takes them
		select {
		case <-deadline:
			t.Fatal("calls still go to the process that ends")
		default:
		}
		answer := do("/")
		if got = string(answer.Body); answer.Kind != None {
			t.Fatalf("%+v", answer)
		}
	}
	close(finish)
	if answer := <-slow; answer.Kind != None || string(answer.Body) != "first" {
		t.Errorf("the call that ran: %+v", answer)
	}
	if err := <-shutdown; err != nil {
		t.Error(err)
	}
}

// TestH2CUnreadAnswerIsBounded: a caller who does not read costs a window, not the whole answer, and stops no other call on the connection.
func TestH2CUnreadAnswerIsBounded(t *testing.T) {
	var sent atomic.Int64
	address := h2cBackend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/large" {
			return
		}
		piece := make([]byte, 10_000)
		for r.Context().Err() == nil {
			n, err := w.Write(piece)
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	transport := NewTransport()
	defer transport.CloseIdleConnections()
	request := newTestRequest(t, http.MethodGet, "http://"+address+"/large", nil)
	request.URL.Scheme = schemeH2C
	answer, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	for range 20 {
		if other := NewCaller(transport).Do(t.Context(), overH2C(address)[0], Request{Method: "GET", Timeout: patience}); other.Kind != None {
			t.Fatalf("%+v", other)
		}
	}
	if n := sent.Load(); n > 2*maxAheadOfCaller {
		t.Errorf("%d bytes were taken", n)
	}
}
