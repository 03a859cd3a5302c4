package upstream

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

func TestStreamingBothWays(t *testing.T) {
	g := newGateway(t, backend(t, func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		_ = control.EnableFullDuplex()
		_ = control.Flush()
		lines := bufio.NewScanner(r.Body)
		for lines.Scan() {
			_, _ = fmt.Fprintf(w, "got %s\n", lines.Text())
			_ = control.Flush()
		}
	}))
	body, out := io.Pipe()
	transport := NewTransport()
	defer transport.CloseIdleConnections()
	answer, err := transport.RoundTrip(newTestRequest(t, http.MethodPost, g.url("/"), body))
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
	_ = out.Close()
	if _, err := io.ReadAll(lines); err != nil {
		t.Error(err)
	}
}

// TestServerSentEvents: each event arrives before the next is sent, also with a known length of the whole.
func TestServerSentEvents(t *testing.T) {
	for _, header := range []string{"Content-Type: text/event-stream\r\n", "Content-Length: 40\r\n", ""} {
		next := make(chan struct{})
		g := newGateway(t, rawBackend(t, func(conn net.Conn, r *bufio.Reader) {
			_ = readRawRequest(r)
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\n"+header+"\r\n")
			for range 4 {
				<-next
				_, _ = io.WriteString(conn, "data: 12\n\n")
			}
		}))
		transport := NewTransport()
		answer, err := transport.RoundTrip(newTestRequest(t, http.MethodGet, g.url("/"), nil))
		if err != nil {
			t.Fatal(err)
		}
		for range 4 {
			next <- struct{}{}
			event := make([]byte, 10)
			if _, err := io.ReadFull(answer.Body, event); err != nil || string(event) != "data: 12\n\n" {
				t.Fatalf("%q, %v", event, err)
			}
		}
		_ = answer.Body.Close()
		transport.CloseIdleConnections()
	}
}

func TestTrailersBothWays(t *testing.T) {
	g := newGateway(t, backend(t, func(w http.ResponseWriter, r *http.Request) {
		announced := len(r.Trailer)
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Trailer", "X-Answer")
		_, _ = fmt.Fprintf(w, "%d announced, %v", announced, r.Trailer)
		w.Header().Set("X-Answer", "a")
		w.Header().Set(http.TrailerPrefix+"X-Unannounced", "b")
	}))
	conn, r := dialRaw(t, g.address)
	_, _ = io.WriteString(conn, "POST "+prefix+"/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Ask\r\n\r\n"+
		"1\r\na\r\n0\r\nX-Ask: 1\r\nX-More: 2\r\nContent-Length: 5\r\nSluice-Path: /x\r\n\r\n")
	answer, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(answer.Body)
	if string(body) != "1 announced, map[X-Ask:[1] X-More:[2]]" {
		t.Errorf("the function saw %q", body)
	}
	if answer.Trailer.Get("X-Answer") != "a" || answer.Trailer.Get("X-Unannounced") != "b" {
		t.Errorf("the caller saw %v", answer.Trailer)
	}
}

func TestExpectContinue(t *testing.T) {
	g := newGateway(t, backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refuse" {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "%s %s", r.Header.Get("Expect"), body)
	}))
	conn, r := dialRaw(t, g.address)
	head := "POST " + prefix + "%s HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
	_, _ = fmt.Fprintf(conn, head, "/")
	if line, _ := r.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("first line %q", line)
	}
	_, _ = r.ReadString('\n')
	_, _ = io.WriteString(conn, "body")
	answer, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(answer.Body); string(body) != "100-continue body" {
		t.Errorf("the function saw %q", body)
	}
	_, _ = fmt.Fprintf(conn, head, "/refuse")
	if answer, err = http.ReadResponse(r, nil); err != nil || answer.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("%v, %v", answer, err)
	}
}

func TestEarlyHints(t *testing.T) {
	g := newGateway(t, backend(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a.css>")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		_, _ = io.WriteString(w, "done")
	}))
	var hints []string
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		hints = append(hints, fmt.Sprint(code, h.Get("Link")))
		return nil
	}}
	request := newTestRequest(t, http.MethodGet, g.url("/"), nil)
	answer := send(t, request.WithContext(httptrace.WithClientTrace(request.Context(), trace)))
	if answer.body != "done" || strings.Join(hints, " ") != "103</a.css> 103</a.css>" || answer.Header.Get("Link") != "" {
		t.Errorf("%q, %v, %v", answer.body, hints, answer.Header)
	}
	old := exchangeRaw(t, g.address, "GET "+prefix+"/ HTTP/1.0\r\nHost: a\r\n\r\n")
	if old.StatusCode != http.StatusOK {
		t.Errorf("an HTTP/1.0 caller got %s", old.Status)
	}
}

func TestWebSocket(t *testing.T) {
	closed := make(chan struct{})
	g := newGateway(t, backend(t, func(w http.ResponseWriter, r *http.Request) {
		defer close(closed)
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true, Subprotocols: []string{"chat"}})
		if err != nil {
			t.Error(err)
			return
		}
		defer ws.CloseNow()
		for {
			kind, message, err := ws.Read(r.Context())
			if err != nil || ws.Write(r.Context(), kind, message) != nil {
				return
			}
		}
	}))
	// The time limit is for the headers alone.
	g.call.Timeout = 2 * time.Second
	ws, answer, err := websocket.Dial(t.Context(), "ws://"+g.address+prefix+"/chat", &websocket.DialOptions{Subprotocols: []string{"chat"}})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	if answer.Header.Get("Sec-WebSocket-Protocol") != "chat" {
		t.Errorf("%v", answer.Header)
	}
	until := time.Now().Add(g.call.Timeout + 500*time.Millisecond)
	for i := 0; time.Now().Before(until); i++ {
		want := strings.Repeat("x", i%100*50)
		if err := ws.Write(t.Context(), websocket.MessageText, []byte(want)); err != nil {
			t.Fatal(err)
		}
		if _, got, err := ws.Read(t.Context()); err != nil || string(got) != want {
			t.Fatalf("message %d: %d bytes, %v", i, len(got), err)
		}
	}
	_ = ws.Close(websocket.StatusNormalClosure, "")
	wait(t, "the function's end", closed)
	if o := g.outcome(t); o.Status != http.StatusSwitchingProtocols || o.Failure.Kind != None {
		t.Errorf("outcome %+v", o)
	}
}

// TestCallerGone: the function's request ends when the caller goes, before or after the headers of the answer.
func TestCallerGone(t *testing.T) {
	for _, path := range []string{"/before", "/after"} {
		started, ended := make(chan struct{}), make(chan struct{})
		g := newGateway(t, backend(t, func(w http.ResponseWriter, r *http.Request) {
			defer close(ended)
			if r.URL.Path == "/after" {
				_, _ = io.WriteString(w, "begin")
				_ = http.NewResponseController(w).Flush()
			}
			close(started)
			<-r.Context().Done()
		}))
		conn, _ := dialRaw(t, g.address)
		_, _ = io.WriteString(conn, "GET "+prefix+path+" HTTP/1.1\r\nHost: a\r\n\r\n")
		wait(t, "start", started)
		_ = conn.Close()
		wait(t, "cancellation", ended)
		if o := g.outcome(t); o.Failure.Kind != CallerGone || o.Failure.Cause == nil {
			t.Errorf("%s: %+v", path, o)
		}
	}
}

// TestAnswerBeforeTheBodyIsRead: a function may refuse a body that is still being sent.
func TestAnswerBeforeTheBodyIsRead(t *testing.T) {
	g := newGateway(t, backend(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	}))
	for range 20 {
		conn, r := dialRaw(t, g.address)
		_, _ = io.WriteString(conn, "POST "+prefix+"/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nonly the beginning")
		answer, err := http.ReadResponse(r, nil)
		if err != nil || answer.StatusCode != http.StatusRequestEntityTooLarge {
			t.Fatalf("%v, %v", answer, err)
		}
		_ = conn.Close()
		_ = g.outcome(t)
	}
}

// TestLargeAnswerStreams: nothing of it is kept.
func TestLargeAnswerStreams(t *testing.T) {
	const size = 128 << 20
	g := newGateway(t, backend(t, func(w http.ResponseWriter, _ *http.Request) {
		piece := make([]byte, 1<<20)
		for range size / len(piece) {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	}))
	transport := NewTransport()
	defer transport.CloseIdleConnections()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	answer, err := transport.RoundTrip(newTestRequest(t, http.MethodGet, g.url("/"), nil))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if n, err := io.Copy(io.Discard, answer.Body); n != size || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	runtime.ReadMemStats(&after)
	if taken := after.TotalAlloc - before.TotalAlloc; taken > size/8 {
		t.Errorf("%d bytes were allocated for it", taken)
	}
}
