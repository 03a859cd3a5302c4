package upstream

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"sync"
	"time"

	"github.com/sluicefaas/sluice/pkg/function"
)

// Proxy passes callers' requests to functions and the answers back, streaming both ways. It makes one attempt; only
// a connection that cannot be made is tried on another replica.
type Proxy struct {
	transport http.RoundTripper
	fail      func(http.ResponseWriter, *http.Request, Failure)
	log       *log.Logger
	buffers   copyBuffers
}

// NewProxy returns a Proxy over transport. fail writes our own answer when the function has given none (504 for
// Timeout, 502 for Broken and Refused, 400 or 413 for Invalid); it is not called with CallerGone.
func NewProxy(transport http.RoundTripper, fail func(http.ResponseWriter, *http.Request, Failure)) *Proxy {
	// All that ReverseProxy would log is in an Outcome.
	return &Proxy{transport: transport, fail: fail, log: log.New(io.Discard, "", 0)}
}

// ProxyCall is one call of a function.
type ProxyCall struct {
	// Endpoints give another replica if the leased one refuses the connection.
	Endpoints *Endpoints
	// Lease is the replica to call. Serve releases it.
	Lease *Lease
	// Path is the path for the function, escaped as the caller sent it. The query is that of the request.
	Path string
	// Timeout bounds the time from the start of the call to the headers of its answer; 0 is no bound. What follows
	// the headers may take any time.
	Timeout time.Duration
	// TrustPeer says that the caller's peer is a proxy whose X-Forwarded-* fields are to be believed.
	TrustPeer bool
	// RequestHeader, if set, may change the header that the function gets. It must not keep it.
	RequestHeader func(http.Header)
	// ResponseHeader, if set, may change the header of the function's answer. It must not keep it.
	ResponseHeader func(http.Header)
	// Done, if set, is called once at the end, also if Serve panics.
	Done func(Outcome)
}

// Outcome is how a call through a Proxy ended.
type Outcome struct {
	// Endpoint is the replica that was called, or tried last.
	Endpoint function.Endpoint
	// Status is that of the function's answer, 0 if there was none.
	Status int
	// Failure is None if the whole answer was passed on. With a Status, the answer broke after its headers.
	Failure Failure
}

// Serve passes r to a replica and the answer to w. If the answer breaks after its headers were passed on, Serve
// panics with http.ErrAbortHandler, which makes the server cut the caller's connection without a word in the log:
// nothing else tells the caller that the body is not whole.
func (p *Proxy) Serve(w http.ResponseWriter, r *http.Request, call ProxyCall) {
	ctx, cancel := context.WithCancelCause(r.Context())
	e := &exchange{proxy: p, call: call, in: r, ctx: ctx, cancel: cancel}
	e.writer = newAnswerWriter(w, r, func() { e.abort(errTooManyInformational) })
	if r.ContentLength != 0 {
		e.body = newCallerBody(r)
	}
	defer func() { //nolint:contextcheck // the exchange holds its contexts
		panicked := recover()
		e.finish(panicked)
		if panicked != nil {
			panic(panicked)
		}
	}()
	if call.Timeout > 0 {
		e.timer = time.AfterFunc(call.Timeout, func() { e.abort(ErrHeaderTimeout) })
	}
	var err error
	if e.url, err = target(call.Path, r.URL.RawQuery); err != nil {
		e.reject(err)
		return
	}
	e.url.ForceQuery = r.URL.ForceQuery
	p.reverseProxy(e).ServeHTTP(e.writer, r.WithContext(ctx))
}

func (p *Proxy) reverseProxy(e *exchange) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite:        e.rewrite,
		Transport:      e,
		FlushInterval:  -1,
		ErrorLog:       p.log,
		BufferPool:     &p.buffers,
		ModifyResponse: e.answered,
		ErrorHandler:   e.failed,
	}
}

const copyBufferSize = 32 << 10

// copyBuffers are reused for the copying of answers.
type copyBuffers struct{ pool sync.Pool }

// Get returns a buffer.
func (b *copyBuffers) Get() []byte {
	if buffer, ok := b.pool.Get().(*[copyBufferSize]byte); ok {
		return buffer[:]
	}
	return make([]byte, copyBufferSize)
}

// Put takes it back.
func (b *copyBuffers) Put(buffer []byte) { b.pool.Put((*[copyBufferSize]byte)(buffer)) }
