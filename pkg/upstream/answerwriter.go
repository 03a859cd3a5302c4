package upstream

import (
	"bufio"
	"maps"
	"net"
	"net/http"
)

// maxInformational is how many 1xx answers of one call are passed on; each is as large as an answer header may be.
const maxInformational = 16

// answerWriter stands between ReverseProxy and the caller's ResponseWriter: it bounds 1xx answers, keeps what the
// gateway's own handlers have put into the header, and knows whether the connection was taken over.
//
// ReverseProxy serialises its use: the transport writes 1xx answers until RoundTrip returns, Serve's goroutine the rest.
type answerWriter struct {
	http.ResponseWriter
	in *http.Request
	// tooMany is called instead of passing one 1xx too many on.
	tooMany func()
	// ours is the header as it was before the call.
	ours          http.Header
	informational int
	hijacked      bool
	// empty says that the answer has no body: its header is sent when the call ends, and over HTTP/2 says that nothing follows, as gRPC wants it
	// of an answer that is an error.
	empty bool
}

func newAnswerWriter(w http.ResponseWriter, in *http.Request, tooMany func()) *answerWriter {
	return &answerWriter{ResponseWriter: w, in: in, tooMany: tooMany, ours: maps.Clone(w.Header())}
}

// WriteHeader passes the status on.
func (w *answerWriter) WriteHeader(status int) {
	if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		w.writeInformational(status)
		return
	}
	w.prepareFinal()
	w.ResponseWriter.WriteHeader(status)
}

// writeInformational leaves 1xx out for HTTP/1.0 callers, who cannot understand it (RFC 9110 §15.2).
func (w *answerWriter) writeInformational(status int) {
	w.informational++
	if w.informational > maxInformational {
		w.tooMany()
		return
	}
	if w.in.ProtoAtLeast(1, 1) {
		innermost(w.ResponseWriter).WriteHeader(status)
	}
}

// innermost is the server's own writer: those of web frameworks take the first status, even 103, for the final one.
func innermost(w http.ResponseWriter) http.ResponseWriter {
	for {
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = wrapper.Unwrap()
	}
}

// prepareFinal puts back what ReverseProxy clears after each 1xx, and keeps net/http from guessing a Content-Type.
func (w *answerWriter) prepareFinal() {
	h := w.Header()
	if w.informational > 0 {
		for name, values := range w.ours {
			if _, ok := h[name]; !ok {
				h[name] = values
			}
		}
	}
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil
	}
}

// FlushError sends what was written. It is for http.ResponseController.
func (w *answerWriter) FlushError() error {
	if w.empty {
		return nil
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack takes the connection over, for a switch of protocols.
func (w *answerWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	w.hijacked = w.hijacked || err == nil
	return conn, rw, err
}

// Unwrap is for http.ResponseController.
func (w *answerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
