package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/upstream"
)

// Problem is one answer of ours that is an error (RFC 9457).
type Problem struct {
	// Type is that of a ProblemKind.
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	// CallID is the id of the call, where there is one.
	CallID string `json:"callId,omitempty"`
	// Reason, Field and Message say what a job does not allow: a word, the part of the request, and a sentence.
	Reason  string `json:"reason,omitempty"`
	Field   string `json:"field,omitempty"`
	Message string `json:"message,omitempty"`
	// RetryAfter is in seconds, and sent as the header of that name; 0 means that repeating does not help by itself.
	RetryAfter int `json:"-"`
}

// Error makes a Problem an error, so that handlers return it.
func (p *Problem) Error() string { return p.Title + ": " + p.Detail }

// name is the Type without what all types begin with.
func (p *Problem) name() string { return strings.TrimPrefix(p.Type, problemType) }

func problem(kind problemKind, format string, args ...any) *Problem {
	k := problemKinds[kind]
	return &Problem{Type: k.Type(), Title: k.Title, Status: k.Status, Detail: fmt.Sprintf(format, args...), RetryAfter: k.RetryAfter}
}

// write sends the problem. One Problem may be written by several goroutines.
func (p *Problem) write(w http.ResponseWriter) {
	answer := *p
	answer.CallID = w.Header().Get(headerCallID)
	body, _ := json.Marshal(answer) // strings and numbers can be written
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if p.Status == http.StatusRequestTimeout { // or net/http would wait for the body once more (RFC 9110 §15.5.9)
		w.Header().Set("Connection", "close")
	}
	if p.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(p.RetryAfter))
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) // a caller who has gone needs no answer
}

func functionNotFound(name string) *Problem {
	return problem(unknownFunction, "no function has the name %q", name)
}

func unreadable(what string, err error) *Problem { return problem(badRequest, "%s: %v", what, err) }

func callerGone() *Problem { return problem(goneCaller, "nobody reads this") }

// queueProblem says why a call could not be queued.
func queueProblem(name string, err error) *Problem {
	switch {
	case errors.Is(err, bus.ErrQueueFull):
		return problem(fullQueue, "as many calls of %q are queued as may be", name)
	case errors.Is(err, bus.ErrStorageFull):
		return problem(fullStorage, "no call can be queued until others have been taken")
	case errors.Is(err, bus.ErrTooLarge):
		return problem(largeBody, "body and headers together are more than a queued call can carry")
	default:
		return problem(silentQueue, "the call was not accepted in time: %v", err)
	}
}

// failureProblem says why a function gave no answer.
func failureProblem(name string, failure upstream.Failure) *Problem {
	switch failure.Kind {
	case upstream.Timeout:
		return problem(lateFunction, "%q sent no answer within its HttpTimeout", name)
	case upstream.Refused:
		return problem(unreachableFunction, "no replica of %q took the connection", name)
	case upstream.Invalid:
		return problem(badRequest, "it cannot be passed on: %v", failure.Cause)
	case upstream.CallerGone:
		return callerGone()
	default:
		return problem(brokenFunction, "the connection to %q ended before a whole answer", name)
	}
}

// routeError is where every error of a handler is turned into an answer.
func (g *Gateway) routeError(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	var p *Problem
	var routing *echo.HTTPError
	switch {
	case errors.As(err, &p):
	case errors.As(err, &routing) && routing.Code == http.StatusMethodNotAllowed:
		p = problem(wrongMethod, "%s is not a method of %s", c.Request().Method, c.Request().URL.Path)
	case errors.As(err, &routing) && routing.Code == http.StatusNotFound:
		p = problem(unknownRoute, "%s is no route of this gateway: see /function/<name>, /async-function/<name>, /job/<name>, /status-functions", c.Request().URL.Path)
	default:
		g.deps.Logger.Error().Err(err).Str("path", c.Request().URL.Path).Msg("a request failed")
		p = problem(internalError, "the gateway's log says more")
	}
	p.write(c.Response())
}

// refuseHead answers a request whose head is not one well-formed HTTP request.
func refuseHead(w http.ResponseWriter, _ *http.Request, reason error) {
	unreadable("framing", reason).write(w)
}
