package upstream

import (
	"context"
	"io"
	"net/http"
)

// stream is a body that is closed as soon as its call is over, also while it is read: net/http waits for the end of the reading first, and
// what is read may have stalled.
type stream struct {
	io.ReadCloser
	stop func() bool // ends the wait for the call's end
}

func newStream(ctx context.Context, body io.ReadCloser) io.ReadCloser {
	return stream{body, context.AfterFunc(ctx, func() { _ = body.Close() })}
}

// Close implements io.Closer.
func (s stream) Close() error {
	s.stop()
	return s.ReadCloser.Close()
}

// setStream gives the request to a function a body that is read from elsewhere.
func setStream(out *http.Request, request Request) {
	if request.Size == 0 { // net/http takes that for an unknown length
		closeStream(request)
		out.Body = http.NoBody
		return
	}
	ctx := out.Context()
	out.ContentLength, out.Body = request.Size, newStream(ctx, request.Stream)
	if request.Reopen == nil {
		return
	}
	out.GetBody = func() (io.ReadCloser, error) {
		body, err := request.Reopen()
		if err != nil {
			return nil, err
		}
		return newStream(ctx, body), nil
	}
}

func closeStream(request Request) {
	if request.Stream != nil {
		_ = request.Stream.Close() // it was not read
	}
}
