package gateway

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
)

// Go's HTTP/1 server lets requests pass whose end other servers see elsewhere: Content-Length beside
// Transfer-Encoding, a repeated Content-Length, lines that end with a bare LF, folded header lines. A proxy before us
// that reads them differently can be made to smuggle requests past its rules. StrictListener, StrictContext and Strict
// together refuse them: the connections of the listener follow the framing of all that is read (strict_framing.go),
// and the handler answers 400 and closes the connection once something in it was ambiguous.
//
// Pipelined requests are served, but one that has an ambiguous successor in the same packet is refused with it
// (RFC 9112 §9.3.2 lets a server close). A connection that begins with the preface of HTTP/2 carries frames, whose requests
// are checked one by one (strict_http2.go).

// StrictListener watches the connections of l. It must be the outermost listener, outside of TLS, of a server that takes HTTP/2
// without TLS, or nothing after its preface.
func StrictListener(l net.Listener) net.Listener { return strictListener{l} }

// StrictContext is the http.Server's ConnContext.
func StrictContext(ctx context.Context, conn net.Conn) context.Context {
	if strict, ok := conn.(*strictConn); ok {
		return context.WithValue(ctx, strictKey{}, strict)
	}
	return ctx
}

var errNotStrict = errors.New("the listener of this server does not check the framing of requests")

// Strict passes requests with clear framing to next. For others it calls refuse, which is to answer 400, and has the
// connection closed. A request that did not come through a StrictListener is refused too, so that the check cannot be
// lost in silence.
func Strict(next http.Handler, refuse func(w http.ResponseWriter, r *http.Request, reason error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, reason := (*strictConn)(nil), errNotStrict
		if strict, ok := r.Context().Value(strictKey{}).(*strictConn); ok {
			conn, reason = strict, strict.unclear()
		}
		if r.ProtoMajor >= 2 && conn != nil {
			reason = checkHTTP2(r)
			w = &http2Writer{ResponseWriter: w}
		}
		if reason != nil {
			w.Header().Set("Connection", "close")
			refuse(w, r, reason)
			return
		}
		if _, ok := r.Header["Upgrade"]; ok {
			w = &switchingWriter{ResponseWriter: w, conn: conn}
		}
		next.ServeHTTP(w, r)
	})
}

type strictKey struct{}

type strictListener struct{ net.Listener }

func (l strictListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &strictConn{Conn: conn}, nil
}

// strictConn is a connection that follows what is read from it.
type strictConn struct {
	net.Conn
	// framing belongs to who reads: net/http never reads twice at the same time, and orders its reads.
	framing framing
	// problem is what was ambiguous. It is stored before the server sees the bytes, so before its handler runs.
	problem atomic.Pointer[framingError]
	// switched says that HTTP/1.1 has ended on this connection.
	switched atomic.Bool
}

// Read reads. At an ambiguity in a body whose handler may be running it fails; any other is left to Strict to refuse.
func (c *strictConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n == 0 || c.switched.Load() {
		return n, err
	}
	problem := c.framing.follow(p[:n])
	if c.framing.state == inHTTP2 {
		c.switched.Store(true)
	}
	if problem == nil {
		return n, err
	}
	c.problem.Store(problem)
	if problem.late {
		return 0, problem
	}
	return n, err
}

// CloseWrite is for net/http, which ends a connection so when the caller may still be sending, and for tunnels.
func (c *strictConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// arrived reports whether the whole request has been read from its connection, so that to read its body takes no time. It is called
// by a handler before it reads: until then nobody else does, but over HTTP/2.
func arrived(r *http.Request) bool {
	c, ok := r.Context().Value(strictKey{}).(*strictConn)
	return ok && r.ProtoMajor < 2 && c.framing.state == atRequestLine
}

func (c *strictConn) unclear() error {
	if problem := c.problem.Load(); problem != nil {
		return problem
	}
	return nil
}

// switchingWriter learns of a switch of protocols, after which bytes are no HTTP.
type switchingWriter struct {
	http.ResponseWriter
	conn *strictConn
}

// Hijack ends the check on the connection.
func (w *switchingWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.conn.switched.Store(true)
	}
	return conn, rw, err
}

// Unwrap is for http.ResponseController.
func (w *switchingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Flush passes on what was written.
func (w *switchingWriter) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }
