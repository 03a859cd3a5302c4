package gateway

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
)

const typicalHead = "GET /function/fibonacci1/path?a=b HTTP/1.1\r\nHost: functions.example.org\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n" +
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-GB,en;q=0.5\r\n" +
	"Accept-Encoding: gzip, deflate, br, zstd\r\nConnection: keep-alive\r\nCookie: session=0123456789abcdef\r\n" +
	"Content-Type: application/json\r\nContent-Length: 12\r\n\r\n{\"input\":10}"

// BenchmarkStrictRequest is what the check costs for each request: well below 1 µs.
func BenchmarkStrictRequest(b *testing.B) {
	var f framing
	request := []byte(typicalHead)
	b.ReportAllocs()
	for b.Loop() {
		if problem := f.follow(request); problem != nil {
			b.Fatal(problem)
		}
	}
}

// TestLongLineIsBounded: a line without an end is not kept for ever.
func TestLongLineIsBounded(t *testing.T) {
	var f framing
	for i := 0; ; i++ {
		if problem := f.follow(bytes.Repeat([]byte("a"), 1000)); problem != nil {
			break
		}
		if i > 100 {
			t.Fatal("more than 100,000 bytes of one line were taken")
		}
	}
	if f.line != nil {
		t.Errorf("%d bytes are still held", len(f.line))
	}
}

// FuzzFraming: where the check has no objection, it agrees with net/http about where a request ends.
func FuzzFraming(f *testing.F) {
	for _, entry := range smugglingCorpus {
		f.Add([]byte(entry.request), 3)
	}
	for i := range 10 {
		f.Add([]byte(honestRequest(i, 64)), 1+i)
	}
	f.Fuzz(func(t *testing.T, data []byte, piece int) {
		const next = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
		read := bufio.NewReader(io.MultiReader(bytes.NewReader(data), strings.NewReader(next)))
		request, err := http.ReadRequest(read)
		if err != nil || request.ProtoMajor != 1 {
			return
		}
		if _, err := io.Copy(io.Discard, request.Body); err != nil {
			return
		}
		rest, _ := io.ReadAll(read)
		used := len(data) + len(next) - len(rest)
		if used > len(data) {
			return // it ran into the next request
		}
		var check framing
		for taken := data[:used]; len(taken) > 0; {
			n := min(len(taken), 1+max(piece, 0)%64)
			if check.follow(taken[:n]) != nil {
				return
			}
			taken = taken[n:]
		}
		if check.state != atRequestLine || len(check.line) > 0 {
			t.Errorf("net/http took %q as a request, the check is in state %d with %q", data[:used], check.state, check.line)
		}
	})
}
