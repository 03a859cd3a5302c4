package gateway

import (
	"errors"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/upstream"
)

// asyncCall is one call to be queued.
type asyncCall struct {
	ask    functionTarget
	target *target
	start  time.Time
	prefer preferences
	key    string // of idempotency
	// wait is nil if its caller does not wait for the end.
	wait *callWait
}

// callAsync queues a call and answers 202 once the queue has acknowledged it, or with what the function answers if its caller waits for
// that.
func (g *Gateway) callAsync(c echo.Context) error {
	ask, t, err := g.find(c)
	if err != nil {
		return err
	}
	call := asyncCall{ask: ask, target: t, start: time.Now()}
	id, err := g.enqueue(c, &call)
	defer call.wait.end()
	if err != nil {
		g.metrics.refused(t, err, time.Since(call.start))
		return err
	}
	g.metrics.queued(t, time.Since(call.start))
	g.flow.enqueued(c.Request(), t)
	h := c.Response().Header()
	if applied := call.prefer.applied(); applied != "" {
		h.Set("Preference-Applied", applied)
	}
	if result, ok := g.await(c.Request().Context(), call.wait); ok {
		defer g.budget.give(int64(len(result.Body)))
		return answerResult(c, call, result)
	}
	stampQueued(h, id, call.start)
	h["Content-Length"] = []string{"0"}
	return c.NoContent(http.StatusAccepted)
}

// stampQueued sets the headers that say which call this is to its caller.
func stampQueued(h http.Header, id string, start time.Time) {
	stampCall(h, id, start)
	h[headerElementID] = h[headerCallID]
}

// enqueue reads what the caller asks for, and queues the call.
func (g *Gateway) enqueue(c echo.Context, call *asyncCall) (id string, err error) {
	r := c.Request()
	key, p := idempotencyKey(r.Header)
	if p != nil {
		return "", p
	}
	call.key = key
	body, err := g.readBody(c.Response().Writer, r, g.config.AsyncBodyLimit, g.inlineLimit())
	if err != nil {
		return "", err
	}
	defer body.release()
	if len(r.Header["Prefer"]) > 0 {
		call.prefer = parsePrefer(r.Header)
		call.wait = g.beginWait(&call.prefer)
	}
	return g.publish(r, call, body)
}

// inlineLimit is the size up to which a body is held in memory, because it travels in the call's message.
func (g *Gateway) inlineLimit() int64 {
	if inline := g.deps.Bus.InlineBody(); inline > 0 {
		return inline
	}
	return g.config.AsyncBodyLimit // NATS has not been reached, and will refuse it
}

func (g *Gateway) publish(r *http.Request, call *asyncCall, body *queuedBody) (id string, err error) {
	message := bus.Call{
		Function: call.target.name, Method: r.Method, Path: call.ask.path, Query: call.ask.query,
		Header: upstream.CallerHeader(r, g.trustsPeer(r)), Body: body.data, IdempotencyKey: call.key, ResultTo: call.wait.name(),
	}
	if body.stream != nil {
		message.Body, message.Reader, message.Size = nil, body.stream, body.stream.size
	}
	id, err = g.deps.Bus.PublishCall(r.Context(), message)
	if err != nil {
		return "", publishProblem(r, call.target.name, body, err)
	}
	if body.stream != nil {
		body.finish(r)
	}
	return id, nil
}

// publishProblem says why a call was not queued: its body was not whole, its caller has gone, or the queue did not take it.
func publishProblem(r *http.Request, name string, body *queuedBody, err error) *Problem {
	if p := body.problem(); p != nil {
		return p
	}
	if r.Context().Err() != nil {
		return callerGone()
	}
	if errors.Is(err, bus.ErrKeyReused) {
		return problem(reusedKey, "%s: a different call of %q came with this key before", headerIdempotencyKey, name)
	}
	return queueProblem(name, err)
}
