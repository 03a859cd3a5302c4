package upstream

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/sluicefaas/sluice/pkg/function"
)

// Bounds of what is read of an answer to an async call.
const (
	defaultKeepBody  = 64 << 10
	defaultDrainBody = 256 << 20
)

// Request is an async call as it is sent to a function.
type Request struct {
	Method string
	// Path and Query are escaped as the caller sent them; an empty Path is "/".
	Path, Query string
	// Header is taken over. Fields that concern one connection only are not sent.
	Header http.Header
	Body   []byte
	// Stream, if set, is the body in place of Body. It is read once and closed, also while it is read when the call is interrupted. Size
	// is its length in bytes.
	Stream io.ReadCloser
	Size   int64
	// Reopen, if set, gives Stream's body anew, for a request that is sent again.
	Reopen func() (io.ReadCloser, error)
	// KeepBody replaces that of the Caller unless it is 0.
	KeepBody int
	// Timeout bounds the time from the start of the call to the headers of its answer, and again the time from there to
	// the end of the answer; 0 is no bound. Only the first is a failure.
	Timeout time.Duration
}

// Answer is what came of an attempt. The function has answered if Status is not 0; the answer is complete, as far as
// it was read, if Kind is None.
type Answer struct {
	Status int
	Header http.Header
	// Body is at most KeepBody bytes; Truncated says that there was, or may have been, more.
	Body      []byte
	Truncated bool
	// Kind is None, Timeout, Broken, Refused, Invalid, or CallerGone if ctx was cancelled.
	Kind Kind
	// Err is the cause of Kind, nil with None.
	Err error
	// Duration is from the start of the call to the end of the reading.
	Duration time.Duration
}

// Caller makes single attempts of async calls.
type Caller struct {
	transport http.RoundTripper
	// KeepBody is how many bytes of an answer are returned, DrainBody how many are read: a function may go on working
	// while it writes. What goes beyond closes the connection and is no failure: the status counts.
	KeepBody, DrainBody int
}

// NewCaller returns a Caller over transport with the usual bounds.
func NewCaller(transport http.RoundTripper) *Caller {
	return &Caller{
		transport: transport,
		KeepBody:  defaultKeepBody, DrainBody: defaultDrainBody,
	}
}

// errDrained is why we stopped to read an answer.
var errDrained = errors.New("enough of the answer was read")

// Do sends the request to the endpoint once. Cancelling ctx interrupts it.
//
// A kept connection that the function closed while it was idle is not used. If the close crosses with the request,
// net/http sends it again where that is safe: when nothing was written, and when no byte of an answer came for a
// method that may be repeated (GET, HEAD, OPTIONS, TRACE, or with an Idempotency-Key). Otherwise the attempt is
// Broken: a function that fails in the middle of a POST looks just the same, and must not run twice in one attempt.
func (c *Caller) Do(ctx context.Context, endpoint function.Endpoint, request Request) Answer {
	start := time.Now()
	answer := c.do(ctx, endpoint, request)
	answer.Duration = time.Since(start)
	return answer
}

func (c *Caller) do(ctx context.Context, endpoint function.Endpoint, request Request) Answer {
	callCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(context.Canceled)
	out, err := newRequest(callCtx, endpoint, request)
	if err != nil {
		closeStream(request)
		return Answer{Kind: Invalid, Err: err}
	}
	stop := cancelAfter(request.Timeout, cancel, ErrHeaderTimeout)
	response, err := c.transport.RoundTrip(out)
	inTime := stop()
	if err != nil {
		failure := failureOf(ctx, callCtx, err)
		return Answer{Kind: failure.Kind, Err: failure.Cause}
	}
	defer response.Body.Close()
	if !inTime {
		return Answer{Kind: Timeout, Err: ErrHeaderTimeout}
	}
	if response.StatusCode == http.StatusSwitchingProtocols {
		return Answer{Kind: Broken, Err: errUnaskedSwitch}
	}
	if err := checkHeader(response.Header); err != nil {
		return Answer{Kind: Broken, Err: err}
	}
	answer := Answer{Status: response.StatusCode, Header: response.Header}
	if response.ContentLength == 0 {
		return answer
	}
	defer cancelAfter(request.Timeout, cancel, errDrained)()
	keep := cmp.Or(request.KeepBody, c.KeepBody)
	c.read(&answer, response, keep, func(err error) Failure { return failureOf(ctx, callCtx, err) })
	return answer
}

// cancelAfter cancels with cause after d, never if d is 0. The returned function stops that, and reports whether it
// was in time.
func cancelAfter(d time.Duration, cancel context.CancelCauseFunc, cause error) (stop func() bool) {
	if d <= 0 {
		return func() bool { return true }
	}
	return time.AfterFunc(d, func() { cancel(cause) }).Stop
}

// read keeps the beginning of the body and drops some of the rest.
func (c *Caller) read(answer *Answer, response *http.Response, keep int, failureOf func(error) Failure) {
	body, size := response.Body, response.ContentLength
	var kept bytes.Buffer
	if size > 0 {
		kept.Grow(int(min(size, int64(keep))) + bytes.MinRead) // as it is read, it wants so much more
	}
	_, err := io.CopyN(&kept, body, int64(keep))
	answer.Body = kept.Bytes()
	if err == nil {
		var dropped int64
		dropped, err = io.CopyN(io.Discard, body, int64(max(1, c.DrainBody-keep)))
		answer.Truncated = dropped > 0
	}
	if err == nil || errors.Is(err, io.EOF) {
		return
	}
	failure := failureOf(err)
	if errors.Is(failure.Cause, errDrained) {
		answer.Truncated = true
		return
	}
	answer.Kind, answer.Err = failure.Kind, failure.Cause
}

func newRequest(ctx context.Context, endpoint function.Endpoint, request Request) (*http.Request, error) {
	u, err := target(request.Path, request.Query)
	if err != nil {
		return nil, err
	}
	direct(u, endpoint)
	if err := checkFields(request); err != nil {
		return nil, err
	}
	out := (&http.Request{
		Method: request.Method, URL: u, Header: request.Header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
	if out.Header == nil {
		out.Header = make(http.Header)
	}
	RemoveHopByHop(out.Header)
	if _, ok := out.Header["User-Agent"]; !ok {
		out.Header["User-Agent"] = []string{""} // net/http would send its own
	}
	setBody(out, request)
	return out, nil
}

func setBody(out *http.Request, request Request) {
	switch {
	case request.Stream != nil:
		setStream(out, request)
	case len(request.Body) > 0:
		out.ContentLength = int64(len(request.Body))
		out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(request.Body)), nil }
		out.Body, _ = out.GetBody()
	}
}

// checkFields refuses what would not be one well-formed request on the wire: messages are published by anybody.
func checkFields(request Request) error {
	if !httpguts.ValidHeaderFieldName(request.Method) {
		return fmt.Errorf("method %q is no token such as POST", request.Method)
	}
	return checkHeader(request.Header)
}
