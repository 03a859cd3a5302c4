package upstream

import (
	"maps"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/sluicefaas/sluice/pkg/function"
)

const (
	// maxAnswerHeader is the limit, in bytes, of one header block of an answer.
	maxAnswerHeader = 64 << 10
	// maxIdlePerReplica and maxIdle bound the connections that are kept.
	maxIdlePerReplica = 256
	maxIdle           = 8192
	// idleTimeout is below the 5 s after which common servers (node, uvicorn, Apache) close a kept connection, so
	// that they seldom close one that we are about to use.
	idleTimeout = 4 * time.Second
	dialTimeout = 2 * time.Second
	// bufferSize is for each direction of each connection.
	bufferSize = 16 << 10
	// maxAheadOfCaller is how much of an answer over HTTP/2 is taken, in bytes, while its caller does not read.
	maxAheadOfCaller = 256 << 10
	// writeTimeout ends a connection over HTTP/2 on which nothing could be written for so long: all its calls wait for it.
	writeTimeout = 30 * time.Second
)

// schemeH2C is the scheme of the URLs of endpoints that speak HTTP/2 without TLS. It is between direct and Transport only.
const schemeH2C = "h2c"

// direct points u at an endpoint, and says in which protocol it is to be spoken to.
func direct(u *url.URL, to function.Endpoint) {
	u.Scheme, u.Host = "http", to.Address
	if to.Protocol == function.ProtocolH2C {
		u.Scheme = schemeH2C
	}
}

// Transport carries all calls to replicas, in the protocol that each endpoint speaks: HTTP/1.1, or HTTP/2 from the first byte
// on. It uses no proxy, keeps connections for a few seconds, and passes bodies on as they are. It is used through
// RoundTrip, so there are no redirects and no cookies.
type Transport struct{ http1, http2 *http.Transport }

// NewTransport returns a Transport. CloseIdleConnections when it is no longer needed.
func NewTransport() *Transport {
	return &Transport{http1: newHTTP1Transport(), http2: newHTTP2Transport()}
}

func newHTTP1Transport() *http.Transport {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:                  nil, // replicas are reached directly, whatever the environment says
		DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
		Protocols:              &protocols,
		DisableCompression:     true,
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    maxIdlePerReplica,
		IdleConnTimeout:        idleTimeout,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: maxAnswerHeader,
		WriteBufferSize:        bufferSize,
		ReadBufferSize:         bufferSize,
	}
}

// newHTTP2Transport has as many calls on one connection as the replica allows, and opens another one for more. It sends no
// pings of its own accord: gRPC servers end the connection of a client that does.
func newHTTP2Transport() *http.Transport {
	t := newHTTP1Transport()
	t.Protocols.SetHTTP1(false)
	t.Protocols.SetUnencryptedHTTP2(true)
	t.HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: maxAheadOfCaller, WriteByteTimeout: writeTimeout}
	return t
}

// RoundTrip sends a request whose URL was made by direct.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme == schemeH2C {
		return t.http2.RoundTrip(overHTTP2(r))
	}
	return t.http1.RoundTrip(r)
}

// CloseIdleConnections closes the connections that no call uses.
func (t *Transport) CloseIdleConnections() {
	t.http1.CloseIdleConnections()
	t.http2.CloseIdleConnections()
}

// overHTTP2 is r as it is sent over HTTP/2, which has no switch of protocols (RFC 9113 §8.6): the function sees a request
// without that wish.
func overHTTP2(r *http.Request) *http.Request {
	u := *r.URL
	u.Scheme = "http"
	out := *r
	out.URL = &u
	if _, ok := r.Header["Upgrade"]; ok {
		out.Header = maps.Clone(r.Header)
		delete(out.Header, "Upgrade")
		delete(out.Header, "Connection")
	}
	return &out
}
