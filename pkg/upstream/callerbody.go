package upstream

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"sync/atomic"
)

// callerBody is the caller's body on its way to the function. It survives the Close of an attempt that got no
// connection, remembers an error of reading, and hands the caller's trailers on.
type callerBody struct {
	body io.Reader
	in   *http.Request
	// trailer is the one of the request to the function: names first, values when the body has ended. Only the
	// goroutine that reads the body writes to it, and that one sends it.
	trailer http.Header
	ended   atomic.Bool
	failed  atomic.Pointer[error]
}

func newCallerBody(in *http.Request) *callerBody {
	b := &callerBody{body: in.Body, in: in, trailer: make(http.Header)}
	b.copyTrailer()
	return b
}

// Read reads from the caller. At the end the values of the trailer fields are there; of fields that Trailer did not
// announce only if the request is the server's own and no handler before us has copied it.
func (b *callerBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	switch {
	case err == nil:
	case errors.Is(err, io.EOF):
		b.copyTrailer()
		b.ended.Store(true)
	default:
		b.failed.Store(&err)
	}
	return n, err
}

// Close does nothing: another replica may still be given the body. ReverseProxy closes what lies below.
func (b *callerBody) Close() error { return nil }

// failure is the error that ended the reading, nil for none.
func (b *callerBody) failure() error {
	if err := b.failed.Load(); err != nil {
		return *err
	}
	return nil
}

func (b *callerBody) copyTrailer() {
	for name, values := range b.in.Trailer {
		if !forbiddenInTrailer(name) {
			b.trailer[name] = slices.Clone(values)
		}
	}
}

// forbiddenInTrailer reports fields that would change framing or routing (RFC 9110 §6.5.1), or speak for us.
func forbiddenInTrailer(name string) bool {
	return name == "Content-Length" || name == "Host" || isHopByHop(name) ||
		isForwarding(name) || ReservedFromOutside(name)
}
