package upstream

import (
	"context"
	"errors"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

// exchange is one call through a Proxy: the hooks of its httputil.ReverseProxy. The goroutine of Serve owns it.
type exchange struct {
	proxy  *Proxy
	call   ProxyCall
	in     *http.Request
	writer *answerWriter
	url    *url.URL // for the function; RoundTrip directs it to a replica

	ctx    context.Context // of the call to the function; ends at the latest with Serve
	cancel context.CancelCauseFunc
	timer  *time.Timer // of the answer's headers; nil without a limit

	tried   []string    // addresses that refused the connection
	body    *callerBody // nil if the request has none
	outcome Outcome
}

// rewrite turns the caller's request into the one for the function; the replica is chosen in RoundTrip.
func (e *exchange) rewrite(pr *httputil.ProxyRequest) {
	out := pr.Out
	out.URL = e.url
	out.Host = ""
	keepOnlyWebSocket(out.Header)
	removeReserved(out.Header)
	SetForwarded(out.Header, pr.In, e.call.TrustPeer)
	if e.call.RequestHeader != nil {
		e.call.RequestHeader(out.Header)
	}
	if out.Body != nil && e.body != nil {
		e.body.body = out.Body
		out.Body, out.Trailer = e.body, e.body.trailer
		if len(out.Trailer) > 0 { // over HTTP/1.1 only a body of unknown length has them
			out.ContentLength = -1
		}
	}
}

// RoundTrip sends the request to the leased replica and, as long as none takes a connection, to others.
func (e *exchange) RoundTrip(out *http.Request) (*http.Response, error) {
	for {
		direct(out.URL, e.call.Lease.Endpoint)
		answer, err := e.proxy.transport.RoundTrip(out)
		if err == nil || !isDialError(err) || e.ctx.Err() != nil || !e.leaseAnother() {
			return answer, err
		}
	}
}

// leaseAnother gives the lease back and takes one on a replica that has not been tried.
func (e *exchange) leaseAnother() bool {
	e.tried = append(e.tried, e.call.Lease.Endpoint.Address)
	lease, ok := e.call.Endpoints.Acquire(Limits{}, e.tried...)
	if !ok {
		return false
	}
	e.call.Lease.Release()
	e.call.Lease = lease
	return true
}

// abort ends the call because of us. The transport waits for the reading of the caller's body, so a caller who has
// stopped to send must be interrupted.
func (e *exchange) abort(cause error) {
	e.cancel(cause)
	if e.unread() {
		_ = http.NewResponseController(e.writer).SetReadDeadline(time.Now())
	}
}

func (e *exchange) unread() bool { return e.body != nil && !e.body.ended.Load() }

// answered is called with the headers of the final answer, before any of them goes to the caller.
func (e *exchange) answered(answer *http.Response) error {
	if e.timer != nil && !e.timer.Stop() {
		return ErrHeaderTimeout
	}
	switched := answer.StatusCode == http.StatusSwitchingProtocols
	if switched && !switchAsked(answer) {
		return errUnaskedSwitch
	}
	if err := checkHeader(answer.Header); err != nil {
		return err
	}
	e.outcome.Status = answer.StatusCode
	if !switched {
		e.writer.empty = answer.ContentLength == 0
		e.closeIfUnread(answer.Header)
	}
	if e.call.ResponseHeader != nil {
		e.call.ResponseHeader(answer.Header)
	}
	return nil
}

// closeIfUnread has the caller's connection closed after an answer that begins before his body has ended. Otherwise
// net/http would read the rest of the body before it sends the answer, which ends streaming both ways; and its
// EnableFullDuplex panics on a kept connection when the handler leaves some of the body unread. Over HTTP/2 there is no such
// trouble, and the connection has the calls of others.
func (e *exchange) closeIfUnread(answer http.Header) {
	if e.in.ProtoMajor < 2 && e.unread() {
		answer.Set("Connection", "close")
	}
}

// keepOnlyWebSocket drops every other wish for a switch of protocols. What follows a switch is out of our sight: over
// "Upgrade: h2c", requests would reach paths of the function that are private.
func keepOnlyWebSocket(out http.Header) {
	if !strings.EqualFold(out.Get("Upgrade"), "websocket") {
		out.Del("Upgrade")
		out.Del("Connection")
	}
}

// switchAsked reports whether the answer switches to the protocol that was asked for (RFC 9110 §15.2.2). Without this
// check a 101 that nobody asked for would make a raw tunnel of the caller's connection.
func switchAsked(answer *http.Response) bool {
	asked := answer.Request.Header.Get("Upgrade")
	return asked != "" && strings.EqualFold(asked, answer.Header.Get("Upgrade")) &&
		httpguts.HeaderValuesContainsToken(answer.Header["Connection"], "Upgrade")
}

// failed is called if there is no answer. After a switch of protocols the connection is not ours to answer on.
func (e *exchange) failed(w http.ResponseWriter, _ *http.Request, err error) {
	failure := e.failureOf(err)
	e.outcome.Failure, e.outcome.Status = failure, 0
	if failure.Kind == CallerGone || e.writer.hijacked {
		return
	}
	e.closeIfUnread(w.Header())
	e.proxy.fail(w, e.in, failure)
}

// reject answers a request that cannot be sent.
func (e *exchange) reject(cause error) {
	e.outcome.Failure = Failure{Kind: Invalid, Cause: cause}
	e.closeIfUnread(e.writer.Header())
	e.proxy.fail(e.writer, e.in, e.outcome.Failure)
}

func (e *exchange) failureOf(err error) Failure {
	failure := failureOf(e.in.Context(), e.ctx, err)
	if e.body == nil || e.ctx.Err() != nil {
		return failure
	}
	if cause := e.body.failure(); cause != nil {
		return Failure{Kind: Invalid, Cause: cause}
	}
	return failure
}

// finish ends what the call holds and reports the outcome. panicked is what stopped the copying of the answer, nil
// if nothing did.
func (e *exchange) finish(panicked any) {
	if panicked != nil && e.outcome.Failure.Kind == None {
		e.outcome.Failure = failureOf(e.in.Context(), e.ctx, errAnswerBroke)
	}
	if e.timer != nil {
		e.timer.Stop()
	}
	e.cancel(context.Canceled)
	e.outcome.Endpoint = e.call.Lease.Endpoint
	e.call.Lease.Release()
	if e.call.Done != nil {
		e.call.Done(e.outcome)
	}
}

var errAnswerBroke = errors.New("the answer broke after its headers")
