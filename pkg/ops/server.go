package ops

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/rs/zerolog"
)

// Limits of a Server whose ServerConfig leaves them at zero.
const (
	DefaultReadHeaderTimeout = 10 * time.Second
	DefaultIdleTimeout       = 120 * time.Second
	DefaultMaxHeaderBytes    = 64 << 10
)

// Limits of one HTTP/2 connection. A stream that nobody reads takes its share of the connection's window and no more, so
// that it cannot stop the others: the shares of all streams together fit in.
const (
	// MaxStreams is what clients take for granted before they have heard of a limit (RFC 9113 §6.5.2).
	MaxStreams = 100
	// streamWindow is not below what a client may send before it has heard of it (RFC 9113 §6.9.2), in bytes.
	streamWindow     = 64 << 10
	connectionWindow = MaxStreams * streamWindow
)

// handlerGrace is how long handlers may take to return after they were interrupted. It is shorter than InterruptGrace, so
// that the server itself says which requests hang.
const handlerGrace = InterruptGrace - 2*time.Second

// ServerConfig is what NewServer needs. There is no limit on reading a body or writing an answer: streams last as
// long as they last, and a handler sets its own deadlines.
type ServerConfig struct {
	// Name stands in the log and in errors.
	Name string
	// Addr is host:port; an empty host is all addresses, port 0 any free one.
	Addr string
	// Flag is the flag that Addr came from, such as "--listen", for the sentence that says what to do.
	Flag    string
	Handler http.Handler
	Logger  zerolog.Logger

	// ReadHeaderTimeout, IdleTimeout and MaxHeaderBytes have the defaults above.
	ReadHeaderTimeout time.Duration
	IdleTimeout       time.Duration
	MaxHeaderBytes    int
	// H2C says that HTTP/2 without TLS is served beside HTTP/1.1, to clients that begin with it (RFC 9113 §3.3).
	H2C bool

	// WrapListener, ConnContext and ConnState are optional; the last two are those of http.Server.
	WrapListener func(net.Listener) net.Listener
	ConnContext  func(context.Context, net.Conn) context.Context
	ConnState    func(net.Conn, http.ConnState)
}

// Server is an HTTP server that drains. Its Run is a Stage's.
type Server struct {
	cfg ServerConfig
	// listener is set by Listen, before Run.
	listener net.Listener
	inFlight inFlight
}

// NewServer returns a server that does not listen yet.
func NewServer(cfg ServerConfig) *Server {
	cfg.ReadHeaderTimeout = orDefault(cfg.ReadHeaderTimeout, DefaultReadHeaderTimeout)
	cfg.IdleTimeout = orDefault(cfg.IdleTimeout, DefaultIdleTimeout)
	cfg.MaxHeaderBytes = orDefault(cfg.MaxHeaderBytes, DefaultMaxHeaderBytes)
	return &Server{cfg: cfg}
}

func orDefault[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}

// Listen opens the port, before Run, so that a mistake shows at start. The error says what to do. Connections wait in
// the system's backlog until Run. Calling it again does nothing.
func (s *Server) Listen(ctx context.Context) error {
	if s.listener != nil {
		return nil
	}
	if _, _, err := net.SplitHostPort(s.cfg.Addr); err != nil { // the system would choose any port for an empty text
		return explainListen(s.cfg.Flag, s.cfg.Addr, err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.cfg.Addr)
	if err != nil {
		return explainListen(s.cfg.Flag, s.cfg.Addr, err)
	}
	if s.cfg.WrapListener != nil {
		listener = s.cfg.WrapListener(listener)
	}
	s.listener = listener
	return nil
}

// Addr is the address that the server listens on; nil before Listen.
func (s *Server) Addr() net.Addr {
	if s.listener == nil {
		return nil
	}
	return s.listener.Addr()
}

// Active is the number of requests whose handlers have not returned, those with hijacked connections included.
func (s *Server) Active() int { return s.inFlight.active() }

// Run serves until take ends. Then it closes the listener and idle connections, and waits for every handler that
// still runs, also for those that have hijacked their connection (WebSocket). When work ends, it cancels the contexts of
// what still runs and closes the connections. It listens if Listen was not called.
func (s *Server) Run(take, work context.Context) error {
	if err := s.Listen(take); err != nil {
		return err
	}
	handlers, interrupt := context.WithCancel(work)
	defer interrupt()
	server := s.httpServer(handlers)
	accepting := make(chan struct{})
	var failure error // read after accepting was closed
	go func() {
		defer close(accepting)
		if err := server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			failure = fmt.Errorf("serve on %s: %w", s.cfg.Addr, err)
		}
	}()
	select {
	case <-accepting:
		interrupt()
	case <-take.Done():
	case <-work.Done():
	}
	err := s.drain(handlers, server, interrupt)
	<-accepting
	return errors.Join(failure, err)
}

// drain ends what runs: by waiting until the context of the handlers ends, then by interrupting. http.Server.Shutdown
// alone would not wait for handlers whose connection is hijacked.
func (s *Server) drain(handlers context.Context, server *http.Server, interrupt func()) error {
	if server.Shutdown(handlers) == nil && s.inFlight.wait(handlers) == nil {
		return nil
	}
	interrupt()
	s.cfg.Logger.Warn().Str("server", s.cfg.Name).Int("requests", s.Active()).Msg("interrupting requests in flight")
	_ = server.Close() // closes all connections whatever it returns
	grace, cancel := context.WithTimeout(context.WithoutCancel(handlers), handlerGrace)
	defer cancel()
	if s.inFlight.wait(grace) != nil {
		return fmt.Errorf("%d requests did not end within %s of being interrupted", s.Active(), handlerGrace)
	}
	return nil
}

func (s *Server) httpServer(handlers context.Context) *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(s.cfg.H2C)
	return &http.Server{
		Protocols: &protocols,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: MaxStreams, MaxReceiveBufferPerStream: streamWindow, MaxReceiveBufferPerConnection: connectionWindow,
		},
		Handler:           s.inFlight.count(s.cfg.Handler),
		ReadHeaderTimeout: s.cfg.ReadHeaderTimeout,
		IdleTimeout:       s.cfg.IdleTimeout,
		MaxHeaderBytes:    s.cfg.MaxHeaderBytes,
		ConnState:         s.cfg.ConnState,
		ConnContext:       s.cfg.ConnContext,
		BaseContext:       func(net.Listener) context.Context { return handlers },
		ErrorLog:          log.New(errorLog{s.cfg.Logger, s.cfg.Name}, "", 0),
	}
}

// errorLog turns the lines of net/http (panics of handlers, failed accepts) into log events.
type errorLog struct {
	logger zerolog.Logger
	server string
}

func (e errorLog) Write(line []byte) (int, error) {
	e.logger.Warn().Str("server", e.server).Msg(string(line))
	return len(line), nil
}
