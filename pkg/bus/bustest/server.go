// Package bustest starts an embedded NATS server with JetStream for one test, on a free port of loopback, in a
// folder of the test's own. A server takes milliseconds, so tests never share one.
package bustest

import (
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// startTimeout bounds the wait for the server to serve.
const startTimeout = 30 * time.Second

// Server is one embedded NATS server that can be stopped and started again.
type Server struct {
	t       testing.TB
	options server.Options
	running *server.Server
}

// Option changes the server's options before it starts.
type Option func(*server.Options)

// Start starts a server, which ends with the test.
func Start(t testing.TB, changes ...Option) *Server {
	t.Helper()
	s := &Server{t: t, options: server.Options{
		Host: "127.0.0.1", Port: FreePort(t), NoLog: true, NoSigs: true,
		JetStream: true, StoreDir: t.TempDir(), MaxPayload: 1 << 20,
	}}
	for _, change := range changes {
		change(&s.options)
	}
	s.Start()
	t.Cleanup(s.Stop)
	return s
}

// URL is the address for clients; it stays the same when the server is started again.
func (s *Server) URL() string {
	return "nats://" + net.JoinHostPort(s.options.Host, strconv.Itoa(s.options.Port))
}

// Start starts a server that was stopped, on the same port and folder.
func (s *Server) Start() {
	s.t.Helper()
	s.launch()
	s.await()
}

func (s *Server) launch() {
	s.t.Helper()
	options := s.options
	running, err := server.NewServer(&options)
	if err != nil {
		s.t.Fatalf("make a NATS server: %v", err)
	}
	s.running = running
	running.Start()
}

func (s *Server) await() {
	s.t.Helper()
	if !s.running.ReadyForConnections(startTimeout) {
		s.t.Fatal("the NATS server does not serve")
	}
}

// Stop ends the server and keeps its folder.
func (s *Server) Stop() {
	if s.running != nil {
		s.running.Shutdown()
		s.running.WaitForShutdown()
		s.running = nil
	}
}

// Lose ends the server and starts it again without anything that it had stored, on the same port.
func (s *Server) Lose() {
	s.t.Helper()
	s.Stop()
	s.options.StoreDir = s.t.TempDir()
	s.Start()
}
