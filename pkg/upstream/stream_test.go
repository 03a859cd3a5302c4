package upstream

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// stalledReader gives nothing until it is closed.
type stalledReader struct {
	closed chan struct{}
	once   sync.Once
}

func newStalledReader() *stalledReader { return &stalledReader{closed: make(chan struct{})} }

func (r *stalledReader) Read([]byte) (int, error) {
	<-r.closed
	return 0, errors.New("the body is closed")
}

func (r *stalledReader) Close() error {
	r.once.Do(func() { close(r.closed) })
	return nil
}

// TestStalledStream: a body that does not go on outlives neither the function's time nor the interrupt.
func TestStalledStream(t *testing.T) {
	address := backend(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	for name, want := range map[string]Kind{"timeout": Timeout, "interrupt": CallerGone} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			timeout := 50 * time.Millisecond
			if want == CallerGone {
				timeout = patience
				defer time.AfterFunc(50*time.Millisecond, cancel).Stop()
			}
			body := newStalledReader()
			start := time.Now()
			answer := newTestCaller(t).Do(ctx, listed(address)[0], Request{Method: "POST", Stream: body, Size: 10, Timeout: timeout})
			if took := time.Since(start); answer.Kind != want || took > patience/2 {
				t.Errorf("%+v after %s", answer, took)
			}
			<-body.closed
		})
	}
}

// TestStreamIsOpenedAgain where net/http sends a request again: the kept connection was closed by the function before it answered.
func TestStreamIsOpenedAgain(t *testing.T) {
	address := rawOnce(t)
	caller := newTestCaller(t)
	opened := 0
	text := strings.Repeat("x", 100)
	body := func() io.ReadCloser { return io.NopCloser(strings.NewReader(text)) }
	for range 2 {
		answer := caller.Do(t.Context(), listed(address)[0], Request{
			Method: "GET", Stream: body(), Size: int64(len(text)), Timeout: patience,
			Reopen: func() (io.ReadCloser, error) { opened++; return body(), nil },
		})
		if answer.Kind != None || string(answer.Body) != text {
			t.Fatalf("%+v", answer)
		}
	}
	if opened != 1 {
		t.Errorf("the body was opened again %d times", opened)
	}
}

// rawOnce answers one request per connection with its body, and closes the connection when it has read the next one.
func rawOnce(t *testing.T) (address string) {
	return rawBackend(t, func(conn net.Conn, r *bufio.Reader) {
		request, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		body, _ := io.ReadAll(request.Body)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"+string(body))
		if request, err = http.ReadRequest(r); err == nil {
			_, _ = io.Copy(io.Discard, request.Body)
		}
	})
}

// TestKeepBodyOfOneCall replaces the Caller's.
func TestKeepBodyOfOneCall(t *testing.T) {
	long := bytes.Repeat([]byte("x"), 1_000)
	address := backend(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(long) })
	caller := newTestCaller(t)
	caller.KeepBody = 100
	for keep, want := range map[int]int{0: 100, 10: 10, 999: 999, 1_000: 1_000, 5_000: 1_000} {
		answer := caller.Do(t.Context(), listed(address)[0], Request{Method: "POST", KeepBody: keep, Timeout: patience})
		if len(answer.Body) != want || answer.Truncated != (want < len(long)) {
			t.Errorf("keep %d: %d bytes, truncated %v", keep, len(answer.Body), answer.Truncated)
		}
	}
}
