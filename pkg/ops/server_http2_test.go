package ops_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sluicefaas/sluice/pkg/ops"
)

// http2Client speaks HTTP/2 without TLS from the first byte on.
func http2Client(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

func echoProto(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }

func TestServerSpeaksHTTP2OnlyIfAsked(t *testing.T) {
	both := serveConfig(t, ops.ServerConfig{Handler: http.HandlerFunc(echoProto), H2C: true})
	old := serve(t, echoProto)
	if answer, err := http2Client(t).Get(old.url); err == nil {
		answer.Body.Close()
		t.Errorf("HTTP/2 without H2C: %s", answer.Status)
	}
	for _, s := range []*served{both, old} {
		if got := within(t, "the answer", get(s.url)); got.body != "HTTP/1.1" {
			t.Errorf("%+v", got)
		}
	}
	answer, err := http2Client(t).Get(both.url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if body, err := io.ReadAll(answer.Body); string(body) != "HTTP/2.0" || err != nil {
		t.Errorf("%q, %v", body, err)
	}
	request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, both.url, nil)
	request.Header.Set("X-Large", strings.Repeat("x", 80<<10))
	if large, err := http2Client(t).Do(request); err == nil {
		large.Body.Close()
		if large.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("80 KiB of headers: %s", large.Status)
		}
	}
}

// TestServerDrainsHTTP2: a stream that runs is finished, or interrupted when work ends; idle connections do not keep the server.
func TestServerDrainsHTTP2(t *testing.T) {
	for _, interrupted := range []bool{false, true} {
		entered, finish, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		s := serveConfig(t, ops.ServerConfig{H2C: true, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			close(entered)
			select {
			case <-finish:
			case <-r.Context().Done():
			}
			ended <- context.Cause(r.Context())
		})})
		answered := make(chan error, 1)
		go func() {
			answer, err := http2Client(t).Get(s.url)
			if err == nil {
				answer.Body.Close()
			}
			answered <- err
		}()
		within(t, "the request", entered)
		s.take()
		s.refused(t)
		if interrupted {
			s.interrupt()
		} else {
			close(finish)
		}
		if cause := within(t, "the end of the handler", ended); (cause != nil) != interrupted {
			t.Errorf("interrupted %v: the handler's context ended with %v", interrupted, cause)
		}
		if err := within(t, "the answer", answered); err != nil && !interrupted {
			t.Error(err)
		}
		if err := within(t, "the end of Run", s.done); err != nil {
			t.Error(err)
		}
	}
}
