package upstream

import (
	"context"
	"errors"
	"net"
)

// Kind says how a call failed for us. An answer of the function, whatever its status, is no failure.
type Kind int

// The kinds of failure.
const (
	// None is the kind of a call that did not fail.
	None Kind = iota
	// Timeout: the headers of the answer did not come in time.
	Timeout
	// Broken: the connection broke, or what came is no HTTP answer within the limits.
	Broken
	// Refused: no replica took a connection, so nothing was sent.
	Refused
	// CallerGone: who called has gone away, or the context of the attempt was cancelled.
	CallerGone
	// Invalid: the request cannot be sent as it is. The fault is the caller's: a header, path or body that is
	// malformed or too large.
	Invalid
)

// String is the kind in lower case, fit for a metric's label.
func (k Kind) String() string {
	switch k {
	case None:
		return "none"
	case Timeout:
		return "timeout"
	case Broken:
		return "broken"
	case Refused:
		return "refused"
	case CallerGone:
		return "caller_gone"
	case Invalid:
		return "invalid"
	}
	return "unknown"
}

// Failure is why a call has no (complete) answer.
type Failure struct {
	Kind Kind
	// Cause is never nil in a Failure that is not None.
	Cause error
}

var (
	// ErrHeaderTimeout is the cause of a Timeout.
	ErrHeaderTimeout = errors.New("the headers of the answer did not come in time")
	// ErrNoReplica is the cause of a Refused if no ready replica was left to try.
	ErrNoReplica = errors.New("no ready replica")

	errTooManyInformational = errors.New("the function sent too many 1xx answers")
	errUnaskedSwitch        = errors.New("the function switched to a protocol that was not asked for")
)

// isDialError reports whether no connection was made, so that not one byte was sent.
func isDialError(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// failureOf sorts the error of an exchange. callerCtx is the caller's, callCtx the one of the exchange, whose cause
// says whether we ended it ourselves.
func failureOf(callerCtx, callCtx context.Context, err error) Failure {
	cause := context.Cause(callCtx)
	switch {
	case errors.Is(err, ErrHeaderTimeout), errors.Is(cause, ErrHeaderTimeout):
		return Failure{Kind: Timeout, Cause: ErrHeaderTimeout}
	case errors.Is(cause, errTooManyInformational), errors.Is(cause, errDrained):
		return Failure{Kind: Broken, Cause: cause}
	case callerCtx.Err() != nil:
		return Failure{Kind: CallerGone, Cause: context.Cause(callerCtx)}
	case isDialError(err):
		return Failure{Kind: Refused, Cause: err}
	}
	return Failure{Kind: Broken, Cause: err}
}
