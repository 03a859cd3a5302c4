package upstream

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// tellRequestLine answers with the request target as it came over the wire.
func tellRequestLine(conn net.Conn, r *bufio.Reader) {
	line, _ := r.ReadString('\n')
	for field := ""; field != "\r\n"; {
		var err error
		if field, err = r.ReadString('\n'); err != nil {
			return
		}
	}
	parts := strings.Split(line, " ")
	if len(parts) != 3 {
		return
	}
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(parts[1]), parts[1])
}

func TestPathAndQueryArriveAsSent(t *testing.T) {
	g := newGateway(t, rawBackend(t, tellRequestLine))
	for _, target := range []string{
		"/", "/a", "/a/", "/a//b", "//", "//a/", "/a%2Fb%3Fc%23d", "/%2f", "/a%20b", "/%7Ea~", "/a|b", "/a\"b{}", "/caf\xc3\xa9", "/a;b=1",
		"/x?u=http://x/", "/x?a;b", "/x?a|b", "/x?a=%2F&a=1&&b", "/x?", "/x?%41%zz", "/x??", "/a?b=c/d?e", "/..%2f../a", "/a/../b", "/a?q=caf\xc3\xa9",
	} {
		answer := exchangeRaw(t, g.address, "GET "+prefix+target+" HTTP/1.1\r\nHost: a\r\n\r\n")
		got, _ := io.ReadAll(answer.Body)
		if string(got) != target {
			t.Errorf("%q arrived as %q", target, got)
		}
	}
	answer := exchangeRaw(t, g.address, "GET "+prefix+" HTTP/1.1\r\nHost: a\r\n\r\n")
	if got, _ := io.ReadAll(answer.Body); string(got) != "/" {
		t.Errorf("no path arrived as %q", got)
	}
}

func TestEveryVerbWithABody(t *testing.T) {
	g := newGateway(t, backend(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("X-Saw", fmt.Sprintf("%s %d %v %s", r.Method, r.ContentLength, r.TransferEncoding, body))
		w.WriteHeader(http.StatusCreated)
	}))
	for _, method := range []string{"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"} {
		answer := send(t, newTestRequest(t, method, g.url("/"), strings.NewReader("body")))
		if saw := answer.Header.Get("X-Saw"); answer.StatusCode != http.StatusCreated || saw != method+" 4 [] body" {
			t.Errorf("%s: %s, saw %q", method, answer.Status, saw)
		}
		answer = send(t, newTestRequest(t, method, g.url("/"), struct{ io.Reader }{strings.NewReader("body")}))
		if saw := answer.Header.Get("X-Saw"); saw != method+" -1 [chunked] body" {
			t.Errorf("%s chunked: %s, saw %q", method, answer.Status, saw)
		}
		answer = send(t, newTestRequest(t, method, g.url("/"), nil))
		if saw := answer.Header.Get("X-Saw"); saw != strings.TrimSpace(method+" 0 []") {
			t.Errorf("%s without: %s, saw %q", method, answer.Status, saw)
		}
	}
}

// TestRequestHeaders has rows 13 and 15 of the bugs of others, and what must arrive as it was.
func TestRequestHeaders(t *testing.T) {
	seen := make(chan *http.Request, 1)
	address := backend(t, func(_ http.ResponseWriter, r *http.Request) { seen <- r })
	g := newGateway(t, address)
	g.call.RequestHeader = func(h http.Header) { h.Set("X-Call-Id", "7") }
	_ = exchangeRaw(t, g.address, "GET "+prefix+"/ HTTP/1.1\r\nHost: example.org\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n"+
		"Keep-Alive: 1\r\nProxy-Authorization: x\r\nTE: trailers\r\nUpgrade: h2c\r\nSluice-Path: /x\r\nSlimFaas-Try-Number: 3\r\n"+
		"Slimfaas-Last-Try: true\r\nSlimFaas-Element-Id: 1\r\nX-SlimFaas-Job-Name: j\r\nNats-Rollup: all\r\nNats-Msg-Id: 1\r\n"+
		"X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Host: evil\r\nForwarded: for=10.0.0.1\r\nAuthorization: Bearer x\r\n"+
		"Cookie: a=1\r\nCookie: b=2\r\nAccept-Encoding: br\r\nX-Empty:\r\nContent-Type: text/x\r\n\r\n")
	r := <-seen
	if r.Host != address {
		t.Errorf("Host %q, not that of the replica", r.Host)
	}
	want := http.Header{
		"Nats-Rollup": {"all"}, "Nats-Msg-Id": {"1"}, "Authorization": {"Bearer x"}, "Cookie": {"a=1", "b=2"}, "Te": {"trailers"},
		"Accept-Encoding": {"br"}, "X-Empty": {""}, "Content-Type": {"text/x"}, "X-Call-Id": {"7"},
		"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Host": {"example.org"}, "X-Forwarded-Proto": {"http"},
	}
	if fmt.Sprint(r.Header) != fmt.Sprint(want) {
		t.Errorf("arrived: %v\nwanted:  %v", r.Header, want)
	}
}

// TestH2CUpgradeIsNotPassedOn: over it, requests would reach any path of the function.
func TestH2CUpgradeIsNotPassedOn(t *testing.T) {
	seen := make(chan http.Header, 1)
	g := newGateway(t, backend(t, func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header }))
	_ = exchangeRaw(t, g.address, "GET "+prefix+"/ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n")
	if h := <-seen; h.Get("Upgrade") != "" || h.Get("Connection") != "" || h.Get("Http2-Settings") != "" {
		t.Errorf("arrived: %v", h)
	}
}

// TestAnswersPassUntouched has row 26 of the bugs of others: no redirect is followed, no cookie kept.
func TestAnswersPassUntouched(t *testing.T) {
	g := newGateway(t, rawBackend(t, func(conn net.Conn, r *bufio.Reader) {
		if request := readRawRequest(r); request != nil && request.Header.Get("Cookie") != "" {
			t.Error("a cookie of another caller came back")
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 302 Found\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nLocation: /elsewhere\r\n"+
			"Connection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nContent-Encoding: gzip\r\nContent-Length: 21\r\n\r\n"+
			"<html>not really gzip")
	}))
	g.call.ResponseHeader = func(h http.Header) { h.Set("Sluice-Cold-Start", "false") }
	for range 2 {
		answer := get(t, g.url("/"))
		if answer.StatusCode != http.StatusFound || answer.body != "<html>not really gzip" || answer.err != nil {
			t.Errorf("%s %q", answer.Status, answer.body)
		}
		answer.Header.Del("Date")
		want := http.Header{
			"Set-Cookie": {"a=1", "b=2"}, "Location": {"/elsewhere"}, "Content-Encoding": {"gzip"}, "Content-Length": {"21"},
			"Sluice-Cold-Start": {"false"},
		}
		if fmt.Sprint(answer.Header) != fmt.Sprint(want) {
			t.Errorf("answered %v", answer.Header)
		}
		if o := g.outcome(t); o.Failure.Kind != None || o.Status != http.StatusFound || o.Endpoint.Address == "" {
			t.Errorf("outcome %+v", o)
		}
	}
}

func TestHeadKeepsTheLength(t *testing.T) {
	g := newGateway(t, answering(t, "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n"))
	answer := send(t, newTestRequest(t, http.MethodHead, g.url("/"), nil))
	if answer.Header.Get("Content-Length") != "12345" || answer.body != "" {
		t.Errorf("%v", answer.Header)
	}
}
