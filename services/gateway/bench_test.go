package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sluicefaas/sluice/pkg/bus"
)

// benchmarkCalls sends the same request over kept connections, with a client that costs next to nothing.
func benchmarkCalls(b *testing.B, f *fixture, path string, status int) {
	request := "POST " + path + " HTTP/1.1\r\nHost: a\r\nUser-Agent: bench\r\nContent-Type: application/json\r\nContent-Length: 1024\r\n\r\n" + strings.Repeat("x", 1024)
	want := fmt.Sprintf("HTTP/1.1 %d ", status)
	var failed atomic.Pointer[string]
	b.ReportAllocs()
	b.SetParallelism(16)
	b.ResetTimer()
	b.RunParallel(func(loop *testing.PB) {
		conn, answers := dial(b, f.Addr())
		for loop.Next() {
			_, _ = io.WriteString(conn, request)
			if line, err := readPlain(answers); err != nil || !strings.HasPrefix(line, want) {
				text := fmt.Sprintf("%q, %v", line, err)
				failed.Store(&text)
				return
			}
		}
	})
	if text := failed.Load(); text != nil {
		b.Fatal(*text)
	}
}

// readPlain reads an answer without a body.
func readPlain(r *bufio.Reader) (status string, err error) {
	for {
		line, err := r.ReadSlice('\n')
		if err != nil || len(line) == len("\r\n") {
			return status, err
		}
		if status == "" {
			status = string(line)
		}
	}
}

// BenchmarkCallSync is a call of 1 KiB through the gateway to a function that does nothing.
func BenchmarkCallSync(b *testing.B) {
	f := start(b)
	f.serve("f", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNoContent)
	})
	benchmarkCalls(b, f, "/function/f", http.StatusNoContent)
}

// BenchmarkCallAsync is a call of 1 KiB into the queue of an embedded server, up to the 202.
func BenchmarkCallAsync(b *testing.B) {
	f := start(b, func(o *options) {
		o.settings = bus.Settings{Prefix: "sluice", QueueLimit: 10_000_000, PublishPatience: testPatience}
	})
	f.put(state("f"))
	benchmarkCalls(b, f, "/async-function/f", http.StatusAccepted)
}
