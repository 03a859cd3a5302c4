package gateway

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// rawBackend is a function that says what it likes once it has read a request.
func rawBackend(t testing.TB, speak func(net.Conn)) (address string) {
	t.Helper()
	listener := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(2 * testPatience))
			running.Go(func() {
				defer conn.Close()
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					speak(conn)
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		running.Wait()
	})
	return listener.Addr().String()
}

func TestFunctionThatAnswersGarbage(t *testing.T) {
	f := start(t)
	for name, text := range map[string]string{
		"closes early": "", "garbage": "hello\r\n\r\n", "half a head": "HTTP/1.1 200 OK\r\nA: b\r\n", "bad status": "HTTP/1.1 abc OK\r\n\r\n",
		"huge head":   "HTTP/1.1 200 OK\r\n" + strings.Repeat("A: "+strings.Repeat("x", 1000)+"\r\n", 100) + "\r\n",
		"two lengths": "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "endless 1xx": strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 100),
		"a switch nobody asked for": "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
	} {
		f.put(state("f", rawBackend(t, func(conn net.Conn) { _, _ = io.WriteString(conn, text) })))
		answer := f.send("POST", "/function/f", "body")
		checkStamps(t, name, answer, false)
		if p := expectProblem(t, answer, brokenFunction); p.CallID != answer.Header.Get("X-Call-Id") {
			t.Errorf("%s: call %q, header %q", name, p.CallID, answer.Header.Get("X-Call-Id"))
		}
	}
	f.held("f", 0)
}

func TestFunctionThatNeverAnswers(t *testing.T) {
	f := start(t)
	hangUp := make(chan struct{})
	address := rawBackend(t, func(net.Conn) { <-hangUp })
	defer close(hangUp)
	s := state("f", address)
	s.Function.Configuration.DefaultSync.HTTPTimeout = 1
	f.put(s)
	answer := f.send("POST", "/function/f", "body")
	expectProblem(t, answer, lateFunction)
	checkStamps(t, "504", answer, false)
	if took, err := strconv.ParseFloat(answer.Header.Get("X-Duration-Seconds"), 64); err != nil || took < 1 {
		t.Errorf("X-Duration-Seconds is %v, %v after a timeout of 1 s", took, err)
	}
}

// TestFunctionTakesTimeOverItsBody: HttpTimeout ends with the headers.
func TestFunctionTakesTimeOverItsBody(t *testing.T) {
	f := start(t)
	s := state("f", backend(t, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		select {
		case <-time.After(1200 * time.Millisecond):
		case <-r.Context().Done():
		}
		_, _ = io.WriteString(w, "late")
	}))
	s.Function.Configuration.DefaultSync.HTTPTimeout = 1
	f.put(s)
	if answer := f.send("GET", "/function/f", ""); answer.body != "late" || answer.err != nil {
		t.Errorf("%s %q %v", answer.Status, answer.body, answer.err)
	}
}

// TestFunctionDiesMidCall: before its answer that is 502; within it, the caller sees that the body is not whole.
func TestFunctionDiesMidCall(t *testing.T) {
	f := start(t)
	for name, text := range map[string]string{
		"length": "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "chunks": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
	} {
		f.put(state("f", rawBackend(t, func(conn net.Conn) { _, _ = io.WriteString(conn, text) })))
		if answer := f.send("GET", "/function/f", ""); answer.StatusCode != http.StatusOK || answer.err == nil {
			t.Errorf("%s: %s %q %v", name, answer.Status, answer.body, answer.err)
		}
		f.held("f", 0)
	}
	if n := f.value(t, "sluice_calls_total", "outcome", "function-broke-off"); n != 2 {
		t.Errorf("%v calls are counted as broken off", n)
	}
}

func TestNoReplicaTakesTheConnection(t *testing.T) {
	f := start(t)
	f.put(state("f", closedAddress(t), closedAddress(t)))
	answer := f.send("POST", "/function/f", "body")
	expectProblem(t, answer, unreachableFunction)
	checkStamps(t, "502", answer, false)
	handler, requests := recorder()
	f.put(state("f", closedAddress(t), backend(t, handler)))
	for range 4 {
		if answer := f.send("POST", "/function/f", "body"); answer.StatusCode != http.StatusOK || (<-requests).body != "body" {
			t.Errorf("with one of two replicas: %s", answer.Status)
		}
	}
}

// TestLargeAnswersStreamThrough: they do not pile up. (pkg/upstream does the same with 1 GiB.)
func TestLargeAnswersStreamThrough(t *testing.T) {
	f := start(t)
	const size, pieces = 128 << 20, 8
	f.serve("f", func(w http.ResponseWriter, _ *http.Request) {
		piece := make([]byte, 1<<20)
		for range size / len(piece) {
			_, _ = w.Write(piece)
		}
	})
	answer := must(f.client.Get(f.url("/function/f")))(t)
	defer answer.Body.Close()
	checkStamps(t, "large", result{Response: answer}, false)
	runtime.GC() // what other tests have left, in pools too
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	before, largest := memory.HeapAlloc, uint64(0)
	for range pieces {
		if n, err := io.CopyN(io.Discard, answer.Body, size/pieces); err != nil {
			t.Fatalf("%d bytes, %v", n, err)
		}
		runtime.ReadMemStats(&memory)
		largest = max(largest, memory.HeapAlloc)
	}
	if n, err := io.Copy(io.Discard, answer.Body); n > 0 || err != nil || largest > before+size/2 {
		t.Errorf("%d bytes too many, %v; from %d up to %d MiB of heap", n, err, before>>20, largest>>20)
	}
}

// TestRedirectsAreTheCallers and cookies too: nothing is followed or kept for another (row 26).
func TestRedirectsAreTheCallers(t *testing.T) {
	f := start(t)
	var calls atomic.Int64
	f.serve("f", func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		if r.Header.Get("Cookie") != "" {
			t.Errorf("a cookie came back: %v", r.Header)
		}
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
	})
	for range 2 {
		if answer := f.send("GET", "/function/f", ""); answer.StatusCode != http.StatusFound || answer.Header.Get("Location") != "/elsewhere" {
			t.Errorf("%s %v", answer.Status, answer.Header)
		}
	}
	if n := calls.Load(); n != 2 {
		t.Errorf("the function was called %d times", n)
	}
}
