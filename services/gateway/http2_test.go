package gateway

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/pkg/ops"
)

// http2Client speaks HTTP/2 without TLS from the first byte on.
func http2Client(t testing.TB) *http.Client {
	t.Helper()
	transport := &http.Transport{Protocols: new(http.Protocols), DisableCompression: true}
	transport.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 2 * testPatience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// h2cBackend is a function that speaks HTTP/2 without TLS, and nothing else.
func h2cBackend(t testing.TB, handler http.HandlerFunc) (address string) {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// serveH2C makes a function whose replica speaks HTTP/2.
func (f *fixture) serveH2C(name string, handler http.HandlerFunc) {
	f.t.Helper()
	s := state(name, h2cBackend(f.t, handler))
	s.Function.Protocol, s.Endpoints[0].Protocol = function.ProtocolH2C, function.ProtocolH2C
	f.put(s)
}

// TestHTTP2Callers: a function that speaks HTTP/1.1 is called as ever by who speaks HTTP/2, in both modes, and the other way round.
func TestHTTP2Callers(t *testing.T) {
	f := start(t)
	handler, requests := recorder()
	f.serve("old", handler)
	f.serveH2C("new", handler)
	for protocol, client := range map[string]*http.Client{"HTTP/1.1": f.client, "HTTP/2.0": http2Client(t)} {
		for _, name := range []string{"old", "new"} {
			for _, body := range []string{"", "a body"} {
				r := f.requestWithAll("/function/" + name + "/a%2Fb//?q=%20")
				r.Header.Del("Connection")
				r.Header.Del("Keep-Alive")
				r.Header.Del("Proxy-Connection")
				r.Header.Del("Te")
				r.Header.Del("X-Mine")
				r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
				if body == "" {
					r.Body = nil
				}
				f.client = client
				answer := f.do(r)
				if answer.StatusCode != http.StatusOK || answer.Proto != protocol {
					t.Errorf("%s to %s: %s %s", protocol, name, answer.Proto, answer.Status)
					continue
				}
				checkStamps(t, protocol+" to "+name, answer, false)
				got := <-requests
				if got.target != "/a%2Fb//?q=%20" || got.body != body || got.length != int64(len(body)) || got.header.Get("Cookie") != "a=b; c=d; e=f" && protocol == "HTTP/2.0" {
					t.Errorf("%s to %s: %+v", protocol, name, got)
				}
				checkForwarded(t, got.header)
				for reservedName := range reserved {
					if got.header.Get(reservedName) != "" {
						t.Errorf("%s to %s: %s passed", protocol, name, reservedName)
					}
				}
			}
			answer := f.send("POST", "/async-function/"+name+"/x?y", "async")
			if call := f.fetch(name, 1)[0].Call; answer.StatusCode != http.StatusAccepted || string(call.Body) != "async" || call.Path != "/x" || call.Query != "y" {
				t.Errorf("%s to %s: %s %+v", protocol, name, answer.Status, call)
			}
			if answer := f.send("HEAD", "/function/"+name, ""); answer.StatusCode != http.StatusOK || (<-requests).method != "HEAD" {
				t.Errorf("%s to %s: HEAD %s", protocol, name, answer.Status)
			}
		}
		expectProblem(t, f.send("GET", "/function/nobody", ""), unknownFunction)
	}
}

// TestHTTP2AnswersLeaveTheConnectionOpen: what closes a connection over HTTP/1.1 must not end the calls of others over HTTP/2.
func TestHTTP2AnswersLeaveTheConnectionOpen(t *testing.T) {
	f := start(t, func(o *options) { o.config.StartWait = 50 * time.Millisecond })
	peers := make(chan string, 10)
	f.serve("early", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close") // or the function's own server would wait for the body
		w.WriteHeader(http.StatusForbidden)
	})
	f.put(state("sleeping"))
	client := http2Client(t)
	for _, path := range []string{"/function/early", "/function/sleeping", "/async-function/nobody", "/function/nobody"} {
		body, out := io.Pipe()
		r := must(http.NewRequestWithContext(t.Context(), http.MethodPost, f.url(path), body))(t)
		trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { peers <- info.Conn.LocalAddr().String() }}
		answer, err := client.Do(r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		_ = answer.Body.Close()
		_ = out.Close()
	}
	first := <-peers
	for len(peers) > 0 {
		if next := <-peers; next != first {
			t.Errorf("a new connection was needed: %s, then %s", first, next)
		}
	}
}

// TestHTTP2StreamsDoNotStopEachOther: bodies that nobody reads yet, of held calls, leave room for others on the same connection.
func TestHTTP2StreamsDoNotStopEachOther(t *testing.T) {
	f := start(t)
	f.put(state("sleeping"))
	handler, requests := recorder()
	f.serve("f", handler)
	client := http2Client(t)
	ctx, hangUp := context.WithCancel(t.Context())
	var held sync.WaitGroup
	const calls = ops.MaxStreams - 1
	for range calls {
		r := must(http.NewRequestWithContext(ctx, http.MethodPost, f.url("/function/sleeping"), bytes.NewReader(make([]byte, 1<<20))))(t)
		held.Go(func() {
			if answer, err := client.Do(r); err == nil {
				_ = answer.Body.Close()
			}
		})
	}
	defer held.Wait()
	defer hangUp()
	f.held("sleeping", calls)
	r := must(http.NewRequestWithContext(ctx, http.MethodPost, f.url("/function/f"), bytes.NewReader(make([]byte, 1<<20))))(t)
	answer, err := client.Do(r)
	if err != nil || answer.StatusCode != http.StatusOK || len((<-requests).body) != 1<<20 {
		t.Fatalf("%v, %v", answer, err)
	}
	_ = answer.Body.Close()
}

// TestHTTP2Drains: at shutdown a call over HTTP/2 ends whole, and the connection after it.
func TestHTTP2Drains(t *testing.T) {
	f := start(t)
	running, finish := make(chan struct{}), make(chan struct{})
	f.serveH2C("f", func(w http.ResponseWriter, _ *http.Request) {
		close(running)
		<-finish
		_, _ = io.WriteString(w, "whole")
	})
	f.client = http2Client(t)
	answers := f.later(f.request("POST", "/function/f", "x"))
	wait(t, "the call", running)
	f.stopTaking()
	eventually(t, "the port to be closed", func() bool {
		conn, err := net.Dial("tcp", f.Addr())
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	})
	close(finish)
	if answer := wait(t, "the answer", answers); answer.err != nil || answer.body != "whole" {
		t.Errorf("%+v", answer)
	}
	if err := wait(t, "the end", f.ended); err != nil {
		t.Error(err)
	}
}

// TestWebSocketsStayOnHTTP1: a function that declares HTTP/2 gets the request without the wish to switch.
func TestWebSocketsStayOnHTTP1(t *testing.T) {
	f := start(t)
	f.serveH2C("f", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			t.Errorf("%v", r.Header)
		}
		w.WriteHeader(http.StatusUpgradeRequired)
	})
	answer := f.raw("GET /function/f HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	if answer.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("%s", answer.Status)
	}
}
