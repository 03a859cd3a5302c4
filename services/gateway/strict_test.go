package gateway

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

const testPatience = 30 * time.Second

// strictServer serves handler behind the check, without any keep from http.Server itself.
func strictServer(t *testing.T, handler http.Handler) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refuse := func(w http.ResponseWriter, _ *http.Request, reason error) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"detail":%q}`, reason)
	}
	server := &http.Server{Handler: Strict(handler, refuse), ConnContext: StrictContext}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(StrictListener(listener)) }()
	t.Cleanup(func() {
		_ = server.Close()
		<-ended
	})
	return listener.Addr().String()
}

func dialStrict(t *testing.T, address string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(testPatience))
	return conn, bufio.NewReader(conn)
}

// smugglingCorpus has heads that two servers can read differently. Some are refused by net/http, the others by us.
var smugglingCorpus = []struct{ name, request string }{
	{"CL and TE", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
	{"TE and CL", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n"},
	{"CL 0 and TE", "GET / HTTP/1.1\r\nHost: a\r\ncontent-length: 0\r\ntransfer-encoding: CHUNKED\r\n\r\n0\r\n\r\n"},
	{"CL and TE, body does not come", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n"},
	{"same CL twice", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na"},
	{"two CL", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"},
	{"CL list", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\na"},
	{"CL with sign", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na"},
	{"CL negative", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n"},
	{"CL hex", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\na"},
	{"CL empty", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n"},
	{"CL overflow", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551617\r\n\r\na"},
	{"TE in HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
	{"TE twice in HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
	{"bare LF after the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n"},
	{"bare LF after a field", "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"},
	{"bare LF everywhere", "GET / HTTP/1.1\nHost: a\n\n"},
	{"bare LF as the empty line", "GET / HTTP/1.1\r\nHost: a\r\n\n"},
	{"bare LF hides TE", "POST / HTTP/1.1\r\nHost: a\r\nX: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
	{"bare CR in a field", "GET / HTTP/1.1\r\nHost: a\r\nX: y\rTransfer-Encoding: chunked\r\n\r\n"},
	{"bare CR before CRLF", "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\r\n\r\n"},
	{"obs-fold", "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n"},
	{"obs-fold with tab hides TE", "POST / HTTP/1.1\r\nHost: a\r\nX: y\r\n\tTransfer-Encoding: chunked\r\n\r\n"},
	{"folded TE", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"},
	{"space before the first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n"},
	{"space before colon", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n"},
	{"tab before colon", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length\t: 1\r\n\r\na"},
	{"no colon", "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\r\n\r\n"},
	{"empty name", "GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n"},
	{"NUL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n"},
	{"two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"},
	{"same host twice", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"},
	{"no host", "GET / HTTP/1.1\r\nX: a\r\n\r\n"},
	{"space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"},
	{"chunk size with sign", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n\r\n"},
	{"chunk size 0x", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n"},
	{"bare LF after a chunk size", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n"},
	{"bare LF in a chunk extension", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;a\nb\r\n0\r\n\r\n"},
	{"chunk longer than its size", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n"},
	{"bare LF in a trailer", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\nZ: a\r\n\r\n"},
}

// TestSmugglingCorpus is row 14 of the bugs of others: whatever could be read in two ways is answered with 400, the
// connection is closed, and no handler sees it or what follows it.
func TestSmugglingCorpus(t *testing.T) {
	const next = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
	var calls atomic.Int64
	address := strictServer(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/honest" {
			calls.Add(1)
		}
	}))
	for _, entry := range smugglingCorpus {
		for _, before := range []string{"", "POST /honest HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"} {
			t.Run(entry.name+fmt.Sprintf(" after %d bytes", len(before)), func(t *testing.T) {
				conn, answers := dialStrict(t, address)
				if before != "" {
					write(t, conn, before)
					expectStatus(t, answers, http.StatusOK)
				}
				write(t, conn, entry.request+next)
				expectStatus(t, answers, http.StatusBadRequest)
				if rest, err := io.ReadAll(answers); len(rest) > 0 {
					t.Errorf("the connection went on with %q, %v", rest, err)
				}
				if n := calls.Swap(0); n != 0 {
					t.Errorf("the handler was called %d times", n)
				}
			})
		}
	}
}

// TestUnknownCodingIsRefused: net/http answers 501 itself, as RFC 9112 §6.1 says.
func TestUnknownCodingIsRefused(t *testing.T) {
	address := strictServer(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("handler called") }))
	for _, coding := range []string{"gzip, chunked", "chunked, identity", "identity", "xchunked", "chunked\r\nTransfer-Encoding: x"} {
		conn, answers := dialStrict(t, address)
		write(t, conn, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "+coding+"\r\n\r\n0\r\n\r\n")
		expectStatus(t, answers, http.StatusNotImplemented)
	}
}

// TestBadChunkWhileTheHandlerReads: the ambiguity comes too late for 400; the body fails and the connection ends.
func TestBadChunkWhileTheHandlerReads(t *testing.T) {
	started, failed := make(chan struct{}), make(chan error, 1)
	address := strictServer(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(started)
		_, err := io.ReadAll(r.Body)
		failed <- err
	}))
	conn, answers := dialStrict(t, address)
	write(t, conn, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
	<-started
	write(t, conn, "0\r\nX: y\nTransfer-Encoding: z\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
	if err := <-failed; err == nil || !strings.Contains(err.Error(), "LF alone") {
		t.Errorf("the body ended with %v", err)
	}
	if rest, _ := io.ReadAll(answers); strings.Count(string(rest), "HTTP/1.1 ") > 1 {
		t.Errorf("more than one answer: %q", rest)
	}
}

// TestStrictFailsClosed: without its listener the check would be lost in silence.
func TestStrictFailsClosed(t *testing.T) {
	var reason error
	handler := Strict(http.NotFoundHandler(), func(_ http.ResponseWriter, _ *http.Request, why error) { reason = why })
	request, _ := http.NewRequestWithContext(context.Background(), http.MethodGet, "/", nil)
	handler.ServeHTTP(discardAnswer{}, request)
	if reason == nil {
		t.Error("a request from an unchecked connection was passed on")
	}
}

type discardAnswer struct{}

func (discardAnswer) Header() http.Header         { return http.Header{} }
func (discardAnswer) Write(p []byte) (int, error) { return len(p), nil }
func (discardAnswer) WriteHeader(int)             {}

func write(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

func expectStatus(t *testing.T, answers *bufio.Reader, status int) {
	t.Helper()
	answer, err := http.ReadResponse(answers, nil)
	if err != nil {
		t.Fatalf("read answer: %v", err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != status {
		t.Fatalf("status %d, body %q, %v; want %d", answer.StatusCode, body, err, status)
	}
}
