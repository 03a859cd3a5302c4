package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/upstream"
)

// problemType starts the type of every problem. What follows never changes its meaning: clients tell problems apart by it.
const problemType = "urn:sluice:problem:"

// Problem is one answer of ours that is an error (RFC 9457).
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	// CallID is the id of the call, where there is one.
	CallID string `json:"callId,omitempty"`
	// RetryAfter is in seconds, and sent as the header of that name; 0 means that repeating does not help by itself.
	RetryAfter int `json:"-"`
}

// Error makes a Problem an error, so that handlers return it.
func (p *Problem) Error() string { return p.Title + ": " + p.Detail }

func problem(status int, name, title, format string, args ...any) *Problem {
	return &Problem{Type: problemType + name, Title: title, Status: status, Detail: fmt.Sprintf(format, args...)}
}

func (p *Problem) retryAfter(seconds int) *Problem {
	p.RetryAfter = seconds
	return p
}

// write sends the problem.
func (p *Problem) write(w http.ResponseWriter) {
	p.CallID = w.Header().Get(headerCallID)
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Del("Content-Length")
	if p.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(p.RetryAfter))
	}
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // a caller who has gone needs no answer
}

func functionNotFound(name string) *Problem {
	return problem(http.StatusNotFound, "function-not-found", "No such function", "no function has the name %q", name)
}

func unreadable(what string, err error) *Problem {
	return problem(http.StatusBadRequest, "bad-request", "The request cannot be read", "%s: %v", what, err)
}

// queueProblem says why a call could not be queued.
func queueProblem(name string, err error) *Problem {
	switch {
	case errors.Is(err, bus.ErrQueueFull):
		return problem(http.StatusTooManyRequests, "queue-full", "The function's queue is full", "as many calls of %q are queued as may be", name).retryAfter(5)
	case errors.Is(err, bus.ErrStorageFull):
		return problem(http.StatusServiceUnavailable, "queue-storage-full", "The queue's storage is full", "no call can be queued until others have been taken").retryAfter(30)
	case errors.Is(err, bus.ErrTooLarge):
		return problem(http.StatusRequestEntityTooLarge, "body-too-large", "The call is too large", "body and headers together are more than a queued call can carry")
	default:
		return problem(http.StatusServiceUnavailable, "queue-unavailable", "The queue does not answer", "the call was not accepted in time: %v", err).retryAfter(1)
	}
}

// failureProblem says why a function gave no answer.
func failureProblem(name string, failure upstream.Failure) *Problem {
	switch failure.Kind {
	case upstream.Timeout:
		return problem(http.StatusGatewayTimeout, "function-timeout", "The function did not answer in time", "%q sent no answer within its HttpTimeout", name)
	case upstream.Refused:
		return problem(http.StatusBadGateway, "function-unreachable", "The function cannot be reached", "no replica of %q took the connection", name).retryAfter(1)
	case upstream.Invalid:
		return problem(http.StatusBadRequest, "bad-request", "The request cannot be passed on", "%v", failure.Cause)
	default:
		return problem(http.StatusBadGateway, "function-broke-off", "The function's answer broke off", "the connection to %q ended before a whole answer", name)
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
		p = problem(routing.Code, "method-not-allowed", "Method not allowed", "%s is not a method of %s", c.Request().Method, c.Request().URL.Path)
	case errors.As(err, &routing) && routing.Code == http.StatusNotFound:
		p = problem(routing.Code, "route-not-found", "No such route", "%s is no route of this gateway: see /function/<name>, /async-function/<name>, /status-functions", c.Request().URL.Path)
	default:
		g.deps.Logger.Error().Err(err).Str("path", c.Request().URL.Path).Msg("a request failed")
		p = problem(http.StatusInternalServerError, "internal", "Internal error", "the gateway's log says more")
	}
	p.write(c.Response())
}

// refuseHead answers a request whose head is not one well-formed HTTP request.
func refuseHead(w http.ResponseWriter, _ *http.Request, reason error) {
	problem(http.StatusBadRequest, "bad-request", "The request is malformed", "%v", reason).write(w)
}
