package upstream

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func expectOurs(t *testing.T, answer result, status int, kind Kind) {
	t.Helper()
	if answer.StatusCode != status || answer.Header.Get("X-Ours") == "" || strings.TrimSpace(answer.body) != kind.String() {
		t.Errorf("%s %v %q, want %d %s", answer.Status, answer.Header, answer.body, status, kind)
	}
}

// TestGarbageFromTheFunction has row 14 of the bugs of others, the side of the answers: two readings make a 502.
func TestGarbageFromTheFunction(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":             "",
		"no HTTP":             "SSH-2.0-OpenSSH_9.9\r\n",
		"half a head":         "HTTP/1.1 200 OK\r\nContent-Le",
		"no status":           "HTTP/1.1 OK\r\n\r\n",
		"two lengths":         "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"negative length":     "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
		"length list":         "HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\na",
		"unknown coding":      "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"space before colon":  "HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\na",
		"no colon":            "HTTP/1.1 200 OK\r\nfoo\r\n\r\n",
		"huge header":         "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", 70<<10) + "\r\n\r\n",
		"many headers":        "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: aaaaaaaaaaaaaaaa\r\n", 4000) + "\r\n",
		"endless 1xx":         strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n", 1000),
		"huge 1xx":            "HTTP/1.1 103 Early Hints\r\nX: " + strings.Repeat("a", 70<<10) + "\r\n\r\n",
		"unasked switch":      "HTTP/1.1 101 Switching Protocols\r\n\r\n",
		"unasked web socket":  "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		"header of no name":   "HTTP/1.1 200 OK\r\n: a\r\n\r\n",
		"first line is fold":  "HTTP/1.1 200 OK\r\n X: a\r\n\r\n",
		"NUL in a value":      "HTTP/1.1 200 OK\r\nX: a\x00b\r\n\r\n",
		"binary":              "\x16\x03\x01\x00\x00\r\n\r\n",
		"HTTP/2 without us":   "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"closing in mid line": "HTT",
	} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t, answering(t, text))
			expectOurs(t, get(t, g.url("/")), http.StatusBadGateway, Broken)
			if o := g.outcome(t); o.Failure.Kind != Broken || o.Failure.Cause == nil || o.Status != 0 {
				t.Errorf("outcome %+v", o)
			}
		})
	}
}

// TestWhatGoAcceptsOfAFunction notes answers that could be refused but are read in one way by net/http, and go to the
// caller in the framing of our own server.
func TestWhatGoAcceptsOfAFunction(t *testing.T) {
	for name, text := range map[string]string{
		"CL and TE":        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		"same CL twice":    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
		"bare LF":          "HTTP/1.1 200 OK\nContent-Length: 2\nConnection: close\n\nok",
		"obs-fold":         "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: a\r\n b\r\nConnection: close\r\n\r\nok",
		"ends with close":  "HTTP/1.0 200 OK\r\n\r\nok",
		"more than length": "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 500 Smuggled\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t, answering(t, text))
			for range 2 {
				answer := get(t, g.url("/"))
				if answer.StatusCode != http.StatusOK || answer.body != "ok" || answer.err != nil {
					t.Errorf("%s %q %v", answer.Status, answer.body, answer.err)
				}
				if lengths := answer.Header["Content-Length"]; len(lengths) > 1 || name == "CL and TE" && len(lengths) > 0 {
					t.Errorf("Content-Length %v", lengths)
				}
			}
		})
	}
}

// TestAnswerBreaksAfterItsHeaders: the caller must not take what came for the whole.
func TestAnswerBreaksAfterItsHeaders(t *testing.T) {
	for name, text := range map[string]string{
		"short of its length":  "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart",
		"no last chunk":        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n4\r\npart\r\n",
		"garbage for a chunk":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\nzzz\r\n",
		"bare LF in a chunk":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n1\nx\r\n0\r\n\r\n",
		"breaks in a trailer":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n4\r\npart\r\n0\r\nX-Su",
		"huge trailer":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n4\r\npart\r\n0\r\nX-Sum: " + strings.Repeat("a", 1<<20) + "\r\n\r\n",
		"chunk size too large": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\nfffffffffffffffff\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t, answering(t, text))
			answer := get(t, g.url("/"))
			if answer.StatusCode != http.StatusOK || !isBrokenBody(answer.err) || answer.Trailer.Get("X-Sum") != "" {
				t.Errorf("%s %q %v, trailer %v", answer.Status, answer.body, answer.err, answer.Trailer)
			}
			if o := g.outcome(t); o.Failure.Kind != Broken || o.Status != http.StatusOK {
				t.Errorf("outcome %+v", o)
			}
		})
	}
}

func TestHeaderTimeout(t *testing.T) {
	ended := make(chan struct{}, 1)
	silent := rawBackend(t, func(_ net.Conn, r *bufio.Reader) {
		_ = readRawRequest(r)
		_, _ = r.ReadByte() // until we close
		ended <- struct{}{}
	})
	g := newGateway(t, silent)
	g.call.Timeout = 50 * time.Millisecond
	expectOurs(t, get(t, g.url("/")), http.StatusGatewayTimeout, Timeout)
	if o := g.outcome(t); o.Failure.Kind != Timeout {
		t.Errorf("outcome %+v", o)
	}
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("the function's connection stayed open")
	}
}

// TestCallerStallsInItsBody: neither he nor a function that died meanwhile holds the call for longer than its time.
func TestCallerStallsInItsBody(t *testing.T) {
	for name, address := range map[string]string{
		"reads":  backend(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }),
		"closes": rawBackend(t, func(_ net.Conn, r *bufio.Reader) { _, _ = r.ReadByte() }),
	} {
		g := newGateway(t, address)
		g.call.Timeout = 50 * time.Millisecond
		answer := exchangeRaw(t, g.address, "POST "+prefix+"/ HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nbegin")
		if o := g.outcome(t); answer.StatusCode < 502 || !answer.Close || o.Failure.Kind == CallerGone {
			t.Errorf("%s: %s, %+v", name, answer.Status, o)
		}
	}
}

// TestInformationalAnswersDoNotStopTheClock: only the final headers do.
func TestInformationalAnswersDoNotStopTheClock(t *testing.T) {
	g := newGateway(t, rawBackend(t, func(conn net.Conn, r *bufio.Reader) {
		_ = readRawRequest(r)
		_, _ = io.WriteString(conn, "HTTP/1.1 102 Processing\r\n\r\n")
		_, _ = r.ReadByte()
	}))
	g.call.Timeout = 50 * time.Millisecond
	expectOurs(t, get(t, g.url("/")), http.StatusGatewayTimeout, Timeout)
}

// TestTimeoutEndsWithTheHeaders: the body may take longer.
func TestTimeoutEndsWithTheHeaders(t *testing.T) {
	const limit = 2 * time.Second
	g := newGateway(t, backend(t, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		select {
		case <-time.After(limit + 500*time.Millisecond):
			_, _ = io.WriteString(w, "late")
		case <-r.Context().Done():
		}
	}))
	g.call.Timeout = limit
	if answer := get(t, g.url("/")); answer.body != "late" || answer.err != nil {
		t.Errorf("%q, %v", answer.body, answer.err)
	}
}

// TestRefusedConnectionIsTriedElsewhere: with the body intact.
func TestRefusedConnectionIsTriedElsewhere(t *testing.T) {
	alive := backend(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
	})
	g := newGateway(t, closedAddress(t), closedAddress(t), alive)
	body := strings.Repeat("body", 100_000)
	for range 6 {
		answer := send(t, newTestRequest(t, http.MethodPost, g.url("/"), struct{ io.Reader }{strings.NewReader(body)}))
		if answer.StatusCode != http.StatusOK || answer.body != body {
			t.Errorf("%s, %d bytes", answer.Status, len(answer.body))
		}
		if o := g.outcome(t); o.Endpoint.Address != alive {
			t.Errorf("outcome %+v", o)
		}
	}
}

func TestAllRefuse(t *testing.T) {
	g := newGateway(t, closedAddress(t), closedAddress(t))
	answer := send(t, newTestRequest(t, http.MethodPost, g.url("/"), strings.NewReader("body")))
	expectOurs(t, answer, http.StatusBadGateway, Refused)
	if o := g.outcome(t); o.Failure.Kind != Refused || o.Failure.Cause == nil {
		t.Errorf("outcome %+v", o)
	}
}

// TestConnectionsSurviveFailures: net/http panics if it reads a body that a handler left, see closeIfUnread.
func TestConnectionsSurviveFailures(t *testing.T) {
	g := newGateway(t, closedAddress(t))
	for _, body := range []string{"", "Content-Length: 4\r\n\r\nbody", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"} {
		if body == "" {
			body = "\r\n"
		}
		for range 20 {
			conn, r := dialRaw(t, g.address)
			for range 3 {
				_, _ = io.WriteString(conn, "POST "+prefix+"/ HTTP/1.1\r\nHost: a\r\n"+body)
				answer, err := http.ReadResponse(r, nil)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, answer.Body)
				if answer.StatusCode != http.StatusBadGateway || answer.Close != (len(body) > 2) {
					t.Errorf("%q: %s, close %v", body, answer.Status, answer.Close)
				}
				if answer.Close {
					break
				}
			}
			_ = conn.Close()
		}
	}
}

// TestBrokenCallIsNotTriedElsewhere: the function may have done its work.
func TestBrokenCallIsNotTriedElsewhere(t *testing.T) {
	calls := make(chan struct{}, 10)
	broken := func() string {
		return rawBackend(t, func(_ net.Conn, r *bufio.Reader) { _ = readRawRequest(r); calls <- struct{}{} })
	}
	g := newGateway(t, broken(), broken())
	for _, method := range []string{http.MethodPost, http.MethodGet} {
		expectOurs(t, send(t, newTestRequest(t, method, g.url("/"), nil)), http.StatusBadGateway, Broken)
		if <-calls; len(calls) > 0 {
			t.Errorf("%s was sent more than once", method)
		}
	}
}

// TestFunctionDiesMidCall: while the caller's body is being sent.
func TestFunctionDiesMidCall(t *testing.T) {
	g := newGateway(t, rawBackend(t, func(conn net.Conn, r *bufio.Reader) {
		_, _ = io.CopyN(io.Discard, r, 100)
		_ = conn.(*net.TCPConn).SetLinger(0)
	}))
	answer := send(t, newTestRequest(t, http.MethodPost, g.url("/"), strings.NewReader(strings.Repeat("a", 10<<20))))
	expectOurs(t, answer, http.StatusBadGateway, Broken)
}

// TestCallersBrokenBody is the caller's fault, not the function's.
func TestCallersBrokenBody(t *testing.T) {
	g := newGateway(t, backend(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	answer := exchangeRaw(t, g.address, "POST "+prefix+"/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\nnot a size\r\n")
	if answer.StatusCode != http.StatusBadRequest {
		t.Errorf("%s", answer.Status)
	}
	if o := g.outcome(t); o.Failure.Kind != Invalid {
		t.Errorf("outcome %+v", o)
	}
}
