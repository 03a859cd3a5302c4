package gateway

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/sluicefaas/sluice/pkg/upstream"
)

// Headers of answers.
const (
	headerCallID    = "X-Call-Id"
	headerStart     = "X-Start-Time"
	headerDuration  = "X-Duration-Seconds"
	headerColdStart = "Sluice-Cold-Start"
	headerHeld      = "Sluice-Held-Ms"
	headerElementID = "SlimFaas-Element-Id"
)

// rewake is how often a held call repeats its wake, in case one was lost.
const rewake = time.Second

// callSync proxies a call to a ready replica, holding it until there is one.
func (g *Gateway) callSync(c echo.Context) error {
	ask, t, err := g.find(c)
	if err != nil {
		return err
	}
	start := time.Now()
	id := newCallID()
	stamp(c.Response().Header(), id, start)
	if g.activity.begin(t) {
		g.announce(t)
	}
	defer t.inFlight.Add(-1)

	lease, held, err := g.acquire(c.Request().Context(), t)
	g.metrics.heldFor(t.name, held)
	if err != nil {
		g.metrics.call(t.name, modeSync, err, time.Since(start))
		mark(c.Response().Header(), start, held)
		return err
	}
	call := upstream.ProxyCall{
		Endpoints: &t.endpoints,
		Lease:     lease,
		Path:      ask.path,
		Timeout:   t.state.Load().Function.Configuration.DefaultSync.Timeout(),
		RequestHeader: func(h http.Header) {
			h.Set(headerCallID, id)
			h.Set(headerStart, strconv.FormatInt(start.UnixNano(), 10))
		},
		ResponseHeader: func(h http.Header) {
			own := c.Response().Header()
			mark(own, start, held)
			for name := range own {
				delete(h, name) // the proxy adds h to what is there
			}
		},
		Done: func(o upstream.Outcome) { g.metrics.proxied(t.name, o, time.Since(start)) },
	}
	mark(c.Response().Header(), start, held)
	g.proxy.Serve(c.Response(), c.Request(), call)
	return nil
}

// find looks up the function that a request names.
func (g *Gateway) find(c echo.Context) (functionTarget, *target, error) {
	ask, err := parseTarget(c.Request())
	if err != nil {
		return ask, nil, unreadable("request target", err)
	}
	t := g.functions.get(ask.name)
	if t == nil || t.private() {
		if err := g.functions.Known(c.Request().Context()); err != nil {
			return ask, nil, problem(http.StatusServiceUnavailable, "starting", "The gateway is starting", "%v", err).retryAfter(1)
		}
		return ask, nil, functionNotFound(ask.name)
	}
	return ask, t, nil
}

// acquire takes a slot on the least loaded replica. If none is ready it wakes the function and waits.
func (g *Gateway) acquire(ctx context.Context, t *target) (lease *upstream.Lease, held time.Duration, err error) {
	if lease, ok := t.endpoints.Acquire(upstream.Limits{}); ok {
		return lease, 0, nil
	}
	start := time.Now()
	timeout := time.NewTimer(g.config.StartWait)
	defer timeout.Stop()
	again := time.NewTicker(rewake)
	defer again.Stop()
	g.sendWake(t)
	for {
		changed := t.endpoints.Changed()
		if lease, ok := t.endpoints.Acquire(upstream.Limits{}); ok {
			return lease, time.Since(start), nil
		}
		select {
		case <-changed:
		case <-again.C:
			g.sendWake(t)
		case <-t.gone:
			return nil, time.Since(start), functionNotFound(t.name)
		case <-timeout.C:
			return nil, time.Since(start), g.notReady(t)
		case <-ctx.Done():
			return nil, time.Since(start), errCallerGone
		}
	}
}

// notReady says that no replica became ready in time, and what is known about why.
func (g *Gateway) notReady(t *target) *Problem {
	detail := ""
	if problems := t.state.Load().Problems; len(problems) > 0 {
		detail = ": " + problems[len(problems)-1]
	}
	return problem(http.StatusServiceUnavailable, "function-not-ready", "The function is not ready",
		"no replica of %q became ready within %s%s", t.name, g.config.StartWait, detail).retryAfter(5)
}

// errCallerGone is for a caller who has hung up; nobody reads the answer.
var errCallerGone = problem(499, "caller-gone", "The caller has gone", "")

// failed answers a call for which the function gave no answer.
func (g *Gateway) failed(w http.ResponseWriter, r *http.Request, failure upstream.Failure) {
	ask, _ := parseTarget(r)
	failureProblem(ask.name, failure).write(w)
}

// stamp sets the headers that OpenFaaS has on every answer, but the duration.
func stamp(h http.Header, id string, start time.Time) {
	h.Set(headerCallID, id)
	h.Set(headerStart, strconv.FormatInt(start.UnixNano(), 10))
}

// mark sets the headers that say how long the call has taken so far, and whether it waited for a start.
func mark(h http.Header, start time.Time, held time.Duration) {
	h.Set(headerDuration, strconv.FormatFloat(time.Since(start).Seconds(), 'f', 6, 64))
	h.Set(headerColdStart, strconv.FormatBool(held > 0))
	h.Set(headerHeld, strconv.FormatInt(held.Milliseconds(), 10))
}
