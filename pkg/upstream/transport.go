package upstream

import (
	"net"
	"net/http"
	"time"
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
)

// NewTransport returns the transport for all calls to replicas: HTTP/1.1 without a proxy, connections kept for a few
// seconds, bodies passed on as they are. CloseIdleConnections when it is no longer needed. It is used through
// RoundTrip, so there are no redirects and no cookies.
func NewTransport() *http.Transport {
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
