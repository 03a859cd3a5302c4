package gateway

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
)

var (
	errHTTP2Method    = errors.New(":method is not a method such as GET (RFC 9110 §9.1)")
	errHTTP2Path      = errors.New(`:path does not begin with "/", or has a byte that must be percent-escaped (RFC 9113 §8.3.1)`)
	errHTTP2Host      = errors.New("the Host is not the same as :authority, or neither is there (RFC 9113 §8.3.1)")
	errHTTP2Length    = errors.New("the Content-Length is not the length of the body (RFC 9113 §8.1.1)")
	errHTTP2Extension = errors.New(":protocol is not for requests to functions (RFC 8441)")
)

// checkHTTP2 refuses what net/http takes over HTTP/2 though it could not be sent on over HTTP/1.1, or would mean something else there. The
// names and values of fields, and those that concern one connection, are net/http's to check.
func checkHTTP2(r *http.Request) error {
	switch {
	case !isToken(r.Method):
		return errHTTP2Method
	case r.Header[":protocol"] != nil:
		return errHTTP2Extension
	case r.Method != http.MethodConnect && !isOriginForm(r): // the handlers refuse CONNECT
		return errHTTP2Path
	case !oneHost(r):
		return errHTTP2Host
	case !trueLength(r):
		return errHTTP2Length
	}
	delete(r.Header, "Host") // as over HTTP/1.1
	return nil
}

// isToken reports whether s is a token (RFC 9110 §5.6.2).
func isToken(s string) bool {
	return s != "" && strings.IndexFunc(s, func(c rune) bool {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		return !letter && !strings.ContainsRune("!#$%&'*+-.^_`|~", c)
	}) < 0
}

// isOriginForm reports whether the target could stand in a request line as it is.
func isOriginForm(r *http.Request) bool {
	if r.RequestURI == "*" {
		return r.Method == http.MethodOptions
	}
	return strings.HasPrefix(r.RequestURI, "/") && strings.IndexFunc(r.RequestURI, func(c rune) bool { return c <= ' ' || c == 0x7f }) < 0
}

func oneHost(r *http.Request) bool {
	hosts := r.Header["Host"]
	return r.Host != "" && (len(hosts) == 0 || len(hosts) == 1 && hosts[0] == r.Host)
}

// trueLength looks at what was announced; net/http ends a stream whose body is longer or shorter.
func trueLength(r *http.Request) bool {
	lengths := r.Header["Content-Length"]
	if len(lengths) == 0 {
		return true
	}
	length, err := strconv.ParseUint(lengths[0], 10, 63)
	return err == nil && len(lengths) == 1 && int64(length) == r.ContentLength
}

// http2Writer keeps an answer over HTTP/2 from closing the connection, which has the calls of others: handlers ask for that where HTTP/1.1
// needs it.
type http2Writer struct{ http.ResponseWriter }

// WriteHeader passes the status on.
func (w *http2Writer) WriteHeader(status int) {
	delete(w.Header(), "Connection")
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w *http2Writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
