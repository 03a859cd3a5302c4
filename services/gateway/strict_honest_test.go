package gateway

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// echoBody answers with the body, or without having read it.
func echoBody(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/unread" {
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
	}
	_, _ = w.Write(body)
}

// TestHonestRequestsPass sends a hundred requests on one connection, bodies of many sizes and codings, in one write,
// in tiny ones, and two at a time.
func TestHonestRequestsPass(t *testing.T) {
	address := strictServer(t, http.HandlerFunc(echoBody))
	for _, piece := range []int{1 << 20, 7, 1} {
		t.Run(fmt.Sprintf("pieces of %d bytes", piece), func(t *testing.T) {
			conn, answers := dialStrict(t, address)
			for i := range 100 {
				request := honestRequest(i, 1<<min(i%14, 6+piece/2))
				go func() {
					for text := request; text != ""; text = text[min(piece, len(text)):] {
						_, _ = io.WriteString(conn, text[:min(piece, len(text))])
					}
				}()
				expectStatus(t, answers, http.StatusOK)
			}
		})
	}
}

func honestRequest(i, size int) string {
	body, path := strings.Repeat("x\r\n\n", size/4), "/"
	if i%3 == 0 {
		path = "/unread"
	}
	switch i % 5 {
	case 0:
		return "GET " + path + " HTTP/1.1\r\nHost: a\r\nX: 1\r\nX: 2\r\n\r\n"
	case 1, 2:
		return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: a\r\ncontent-length:%d\r\n\r\n%s", path, len(body), body)
	case 3: // an empty line before a request is allowed after a POST (RFC 9112 §2.2)
		return "POST " + path + " HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(body) + "0\r\n\r\n"
	}
	return "\r\nPUT " + path + " HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\nTrailer: T\r\n\r\n" + chunks(body) + "0;e=1\r\nT: a\r\nU: b\r\n\r\n"
}

func chunks(body string) string {
	var b strings.Builder
	for body != "" {
		n := min(len(body), 1+rand.IntN(5000))
		fmt.Fprintf(&b, "%X;ext=\"a\"\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	return b.String()
}

// TestPipelinedRequestsPass: a burst in one packet is served in order.
func TestPipelinedRequestsPass(t *testing.T) {
	address := strictServer(t, http.HandlerFunc(echoBody))
	conn, answers := dialStrict(t, address)
	var burst strings.Builder
	for i := range 20 {
		burst.WriteString(honestRequest(i, 64))
	}
	write(t, conn, burst.String())
	for range 20 {
		expectStatus(t, answers, http.StatusOK)
	}
}

// TestLargeUnreadBodies: the server drains a body or closes; in either case the next request is served.
func TestLargeUnreadBodies(t *testing.T) {
	address := strictServer(t, http.HandlerFunc(echoBody))
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for _, size := range []int{1, 100_000, 200_000, 1 << 20} {
		for _, path := range []string{"/", "/unread"} {
			answer, err := client.Post("http://"+address+path, "text/plain", struct{ io.Reader }{bytes.NewReader(make([]byte, size))})
			if err != nil {
				if path == "/unread" && size > 256<<10 {
					continue // the server closed while the body was being sent
				}
				t.Fatal(err)
			}
			body, err := io.ReadAll(answer.Body)
			_ = answer.Body.Close()
			if err != nil || answer.StatusCode != http.StatusOK || path == "/" && len(body) != size {
				t.Errorf("%s with %d bytes: %s, %d bytes, %v", path, size, answer.Status, len(body), err)
			}
		}
	}
}

// TestWebSocketPassesTheCheck: after the switch anything may be sent, also what looks like bad HTTP.
func TestWebSocketPassesTheCheck(t *testing.T) {
	address := strictServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Errorf("accept: %v", err)
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
	ctx, cancel := context.WithTimeout(context.Background(), testPatience)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, "ws://"+address, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	for i := range 50 {
		want := strings.Repeat("a\nb\r\n", i*20)
		if err := ws.Write(ctx, websocket.MessageText, []byte(want)); err != nil {
			t.Fatal(err)
		}
		if _, got, err := ws.Read(ctx); err != nil || string(got) != want {
			t.Fatalf("message %d: %d bytes, %v", i, len(got), err)
		}
	}
}

// TestTunnelThatCarriesHTTP: bytes after a switch are not judged, even if they look like an ambiguous request.
func TestTunnelThatCarriesHTTP(t *testing.T) {
	address := strictServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Errorf("hijack: %v", err)
			return
		}
		defer conn.Close()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_ = rw.Flush()
		_, _ = io.Copy(conn, rw)
	}))
	conn, answers := dialStrict(t, address)
	write(t, conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	if _, err := http.ReadResponse(answers, nil); err != nil {
		t.Fatal(err)
	}
	const bad = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nnot a size\r\nmore\n"
	write(t, conn, bad)
	got := make([]byte, len(bad))
	if _, err := io.ReadFull(answers, got); err != nil || string(got) != bad {
		t.Fatalf("%q, %v", got, err)
	}
}

// TestFullDuplexPassesTheCheck: a handler that answers while it reads.
func TestFullDuplexPassesTheCheck(t *testing.T) {
	address := strictServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		_ = control.EnableFullDuplex()
		buffer := make([]byte, 100)
		for {
			n, err := r.Body.Read(buffer)
			_, _ = w.Write(buffer[:n])
			_ = control.Flush()
			if err != nil {
				return
			}
		}
	}))
	in, out := io.Pipe()
	request, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address, in)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	first := make(chan struct{})
	go func() { _, _ = out.Write([]byte("ping")); close(first) }()
	answer, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	<-first
	for i := range 10 {
		got := make([]byte, 4)
		if _, err := io.ReadFull(answer.Body, got); err != nil || string(got) != "ping" {
			t.Fatalf("round %d: %q, %v", i, got, err)
		}
		_, _ = out.Write([]byte("ping"))
	}
	_ = out.Close()
	_ = answer.Body.Close()
}

// TestStrictBehindAProxy: many connections at once through a proxy, for the race detector.
func TestStrictBehindAProxy(t *testing.T) {
	address := strictServer(t, http.HandlerFunc(echoBody))
	target, _ := url.Parse("http://" + address)
	transport := &http.Transport{MaxIdleConnsPerHost: 8}
	defer transport.CloseIdleConnections()
	front := strictServer(t, &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }})
	done := make(chan error, 8)
	for range cap(done) {
		go func() { done <- postMany("http://"+front, 50) }()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func postMany(address string, count int) error {
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for i := range count {
		answer, err := client.Post(address, "text/plain", bytes.NewReader(make([]byte, i*100)))
		if err != nil {
			return err
		}
		body, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err != nil || len(body) != i*100 {
			return fmt.Errorf("%s: %d bytes of %d, %w", answer.Status, len(body), i*100, err)
		}
	}
	return nil
}
