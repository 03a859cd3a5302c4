package gateway

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/upstream"
)

// maxWaits bounds the callers who wait for the end of their async calls; those beyond it get their 202 at once.
const maxWaits = 10_000

// callWait is the wait of one caller for the end of his call. All methods may be called on nil, which is no wait.
type callWait struct {
	token    string
	result   <-chan bus.Result
	stop     func()
	patience time.Duration
	gateway  *Gateway
}

// beginWait begins the wait that is preferred, before the call is queued. If there can be none the preference is dropped.
func (g *Gateway) beginWait(p *preferences) *callWait {
	if p.wait == 0 {
		return nil
	}
	patience := p.wait
	p.wait = 0
	if g.waits.Add(1) > maxWaits {
		g.waits.Add(-1)
		return nil
	}
	token, result, stop, err := g.deps.Bus.AwaitResult()
	if err != nil {
		g.waits.Add(-1)
		g.deps.Logger.Debug().Err(err).Msg("the end of a call cannot be waited for")
		return nil
	}
	p.wait = patience
	return &callWait{token: token, result: result, stop: stop, patience: patience, gateway: g}
}

// name is what the dispatcher sends the result to.
func (w *callWait) name() string {
	if w == nil {
		return ""
	}
	return w.token
}

// end frees what the wait holds.
func (w *callWait) end() {
	if w != nil {
		w.stop()
		w.gateway.waits.Add(-1)
	}
}

// await returns how the call has ended, its body being within the budget; ok is false if it has not, its answer is too large, or nobody
// waits. A shutdown ends all waits, and who hangs up his own: the calls go on. A call that was queued before with the same
// idempotency key sends no second result.
func (g *Gateway) await(caller context.Context, w *callWait) (result bus.Result, ok bool) {
	if w == nil {
		return result, false
	}
	timeout := time.NewTimer(w.patience)
	defer timeout.Stop()
	select {
	case result, ok = <-w.result:
		return result, ok && !result.Truncated && g.budget.take(int64(len(result.Body)))
	case <-timeout.C:
	case <-g.closing:
	case <-caller.Done():
	}
	return result, false
}

// answerResult answers as the function has answered the call, or says why it has not.
func answerResult(c echo.Context, call asyncCall, result bus.Result) error {
	h := c.Response().Header()
	h.Add("Vary", "Prefer")
	if result.Status == 0 && result.Reason == "" { // it has succeeded by its callback, and the answer before that is forgotten
		result.Status = http.StatusOK
	}
	if p := resultProblem(call.target.name, result); p != nil {
		stampResult(h, call, result)
		return p
	}
	upstream.RemoveHopByHop(result.Header)
	for name, values := range result.Header {
		h[http.CanonicalHeaderKey(name)] = values
	}
	stampResult(h, call, result)
	if bodyAllowed(c.Request().Method, result.Status) {
		h.Set("Content-Length", strconv.Itoa(len(result.Body)))
	} else {
		result.Body = nil
	}
	writeResult(c.Response().Writer, result)
	return nil
}

// resultWrite bounds how long a caller may take to read a result, which is in memory for as long.
const resultWrite = 30 * time.Second

// writeResult sends status and body. The deadline must not be that of the connection's next request.
func writeResult(w http.ResponseWriter, result bus.Result) {
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Now().Add(resultWrite)) // every server of ours can
	w.WriteHeader(result.Status)
	_, _ = w.Write(result.Body) // a caller who has gone needs no answer
	_ = control.Flush()
	_ = control.SetWriteDeadline(time.Time{})
}

func stampResult(h http.Header, call asyncCall, result bus.Result) {
	stampQueued(h, result.ID, call.start)
	stampDuration(h, call.start)
}

// bodyAllowed reports whether an answer has a body (RFC 9110 §6.4.1).
func bodyAllowed(method string, status int) bool {
	return method != http.MethodHead && status != http.StatusNoContent && status != http.StatusNotModified
}

// Reasons of a Result, as the dispatcher gives them.
const (
	reasonTimeout = "timeout"
	reasonRefused = "refused"
	reasonBroken  = "broken"
	reasonInvalid = "invalid"
	reasonUnknown = "unknown_function"
)

// resultProblem says why the function has given no answer that can be passed on; nil if it has.
func resultProblem(name string, result bus.Result) *Problem {
	const lowest, highest = 200, 999 // what net/http writes as the status of a final answer
	answered := result.Status >= lowest && result.Status <= highest
	if answered && (result.Reason == "" || result.Status >= http.StatusBadRequest) {
		return nil
	}
	switch result.Reason {
	case reasonTimeout:
		return problem(lateFunction, "%q was not done within its HttpTimeout: %s", name, result.Detail)
	case reasonRefused:
		return problem(unreachableFunction, "no replica of %q took the connection: %s", name, result.Detail)
	case reasonInvalid:
		return problem(badRequest, "it cannot be passed on: %s", result.Detail)
	case reasonUnknown:
		return functionNotFound(name)
	case reasonBroken:
		return problem(brokenFunction, "the connection to %q ended before a whole answer: %s", name, result.Detail)
	default:
		return problem(lostCall, "the call of %q was given up: %s", name, result.Detail)
	}
}
