package gateway

import (
	"bytes"
	"io"
	"net/http"
	"time"
)

// maxEarlyBody is the largest body that is read while its call is held.
const maxEarlyBody = 64 << 10

// earlyBody is the body of a call that is held. net/http learns that a caller has hung up only after it has read his whole
// body, so small ones are read at once: otherwise the call would be held, and sent, for nobody. All methods may be
// called on nil, which is a body that is left where it is.
type earlyBody struct {
	budget *budget
	size   int64
	// data and err belong to the reading goroutine until ended is closed.
	data  []byte
	err   error
	ended chan struct{}
}

// readEarly starts to read the body of r, if it is a small one that is on its way.
func (g *Gateway) readEarly(r *http.Request) *earlyBody {
	size := r.ContentLength
	if size <= 0 || size > maxEarlyBody || len(r.Trailer) > 0 || // trailers come with the end of the body, which is not read here
		r.Header.Get("Expect") != "" || !g.budget.take(size) {
		return nil
	}
	b := &earlyBody{budget: g.budget, size: size, data: make([]byte, size), ended: make(chan struct{})}
	from := r.Body
	go func() {
		defer close(b.ended)
		_, b.err = io.ReadFull(from, b.data)
	}()
	return b
}

// arrival is closed when the body is there, or cannot be read.
func (b *earlyBody) arrival() <-chan struct{} {
	if b == nil {
		return nil
	}
	return b.ended
}

// whole is the body to be sent instead of the caller's, after arrival.
func (b *earlyBody) whole() io.ReadCloser { return io.NopCloser(bytes.NewReader(b.data)) }

// stop returns when nothing reads any more. A body that is not whole by now is lost.
func (b *earlyBody) stop(w http.ResponseWriter) {
	if b == nil {
		return
	}
	select {
	case <-b.ended:
		return
	default:
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0)) // every server of ours can
	w.Header().Set("Connection", "close")
	<-b.ended
}

// release gives its memory back.
func (b *earlyBody) release() {
	if b != nil {
		b.budget.give(b.size)
	}
}
