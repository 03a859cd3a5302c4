package ops_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/sluicefaas/sluice/pkg/ops"
)

// served is a server that runs, with the two ends of its life.
type served struct {
	*ops.Server
	url             string
	take, interrupt context.CancelFunc
	done            <-chan error
}

func serve(t *testing.T, handler http.HandlerFunc) *served {
	t.Helper()
	return serveConfig(t, ops.ServerConfig{Handler: handler})
}

func serveConfig(t *testing.T, cfg ops.ServerConfig) *served {
	t.Helper()
	cfg.Name, cfg.Addr, cfg.Flag, cfg.Logger = "test", "127.0.0.1:0", "--listen", zerolog.Nop()
	server := ops.NewServer(cfg)
	if err := server.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	work, interrupt := context.WithCancel(context.Background())
	take, stop := context.WithCancel(work)
	done := background(func() error { return server.Run(take, work) })
	t.Cleanup(func() { interrupt(); http.DefaultClient.CloseIdleConnections() })
	return &served{server, "http://" + server.Addr().String(), stop, interrupt, done}
}

// refused waits until the server's port takes no connection.
func (s *served) refused(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); <-time.After(time.Millisecond) {
		conn, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			return
		}
		conn.Close()
	}
	t.Fatal("the server still accepts connections")
}

type result struct {
	body string
	err  error
}

func get(url string) <-chan result {
	got := make(chan result, 1)
	go func() {
		response, err := http.Get(url)
		if err != nil {
			got <- result{err: err}
			return
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		got <- result{string(body), err}
	}()
	return got
}

func TestServerFinishesARequestInFlight(t *testing.T) {
	entered, finish := make(chan struct{}), make(chan struct{})
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-finish
		_, _ = fmt.Fprintf(w, "whole answer, context: %v", r.Context().Err())
	})
	answer := get(s.url)
	within(t, "the request", entered)
	s.take()
	s.refused(t)
	select {
	case err := <-s.done:
		t.Fatalf("Run returned %v with a request in flight", err)
	default:
	}
	close(finish)
	if got := within(t, "the answer", answer); got.err != nil || got.body != "whole answer, context: <nil>" {
		t.Errorf("got %+v", got)
	}
	if err := within(t, "the end of Run", s.done); err != nil {
		t.Error(err)
	}
}

func TestServerWaitsForHijackedConnections(t *testing.T) {
	s := serve(t, upgradeAndEcho)
	conn, reader := upgrade(t, s)
	s.take()
	s.refused(t)
	for _, line := range []string{"one\n", "two\n"} {
		if _, err := io.WriteString(conn, line); err != nil {
			t.Fatal(err)
		}
		if got, err := reader.ReadString('\n'); err != nil || got != line {
			t.Fatalf("after take ended: %q %v", got, err)
		}
	}
	if n := s.Active(); n != 1 {
		t.Errorf("%d active requests", n)
	}
	select {
	case err := <-s.done:
		t.Fatalf("Run returned %v with a hijacked connection", err)
	default:
	}
	conn.Close()
	if err := within(t, "the end of Run", s.done); err != nil {
		t.Error(err)
	}
}

func TestServerInterruptsWhatRunsWhenWorkEnds(t *testing.T) {
	entered, cause := make(chan struct{}), make(chan error, 1)
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			upgradeUntilInterrupted(r.Context())
			return
		}
		close(entered)
		<-r.Context().Done()
		cause <- r.Context().Err()
	})
	answer := get(s.url)
	within(t, "the request", entered)
	s.take()
	s.interrupt()
	if err := within(t, "the end of the handler", cause); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	within(t, "the caller's answer", answer)
	if err := within(t, "the end of Run", s.done); err != nil {
		t.Error(err)
	}
}

func TestServerInterruptsHijackedConnections(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = buffered.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: lines\r\nConnection: Upgrade\r\n\r\n")
		_ = buffered.Flush()
		upgradeUntilInterrupted(r.Context())
	})
	_, reader := upgrade(t, s)
	s.take()
	s.interrupt()
	if err := within(t, "the end of Run", s.done); err != nil {
		t.Error(err)
	}
	if _, err := reader.ReadByte(); err == nil {
		t.Error("the hijacked connection is still open")
	}
}

func upgradeUntilInterrupted(ctx context.Context) { <-ctx.Done() }

// upgradeAndEcho hijacks the connection and echoes lines until the client ends it.
func upgradeAndEcho(w http.ResponseWriter, _ *http.Request) {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = buffered.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: lines\r\nConnection: Upgrade\r\n\r\n")
	_ = buffered.Flush()
	_, _ = io.Copy(conn, buffered)
}

func upgrade(t *testing.T, s *served) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: lines\r\n\r\n")
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, nil)
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("upgrade: %v %v", response, err)
	}
	return conn, reader
}

func TestServerWhoseListenerBreaksFails(t *testing.T) {
	var listener net.Listener
	s := serveConfig(t, ops.ServerConfig{
		Handler:      http.NotFoundHandler(),
		WrapListener: func(l net.Listener) net.Listener { listener = l; return l },
	})
	listener.Close()
	if err := within(t, "the end of Run", s.done); !errors.Is(err, net.ErrClosed) || !strings.Contains(err.Error(), "serve on 127.0.0.1:0") {
		t.Errorf("got %v", err)
	}
}

func TestServerHooksAndLimits(t *testing.T) {
	type key struct{}
	states, wrapped := make(chan http.ConnState, 10), false
	s := serveConfig(t, ops.ServerConfig{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, r.Context().Value(key{}).(string))
		}),
		WrapListener: func(l net.Listener) net.Listener { wrapped = true; return l },
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
			return context.WithValue(ctx, key{}, "from ConnContext")
		},
		ConnState: func(_ net.Conn, state http.ConnState) { states <- state },
	})
	if got := within(t, "the answer", get(s.url)); got.body != "from ConnContext" {
		t.Errorf("got %+v", got)
	}
	if got := within(t, "the first state", states); got != http.StateNew || !wrapped {
		t.Errorf("state %v, wrapped %v", got, wrapped)
	}
	request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url, nil)
	request.Header.Set("X-Large", strings.Repeat("x", 80<<10))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("80 KiB of headers: %d", response.StatusCode)
	}
	s.take()
	if err := within(t, "the end of Run", s.done); err != nil {
		t.Error(err)
	}
}
