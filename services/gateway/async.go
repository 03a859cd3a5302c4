package gateway

import (
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/upstream"
)

// callAsync queues a call and answers 202 once the queue has acknowledged it.
func (g *Gateway) callAsync(c echo.Context) error {
	ask, t, err := g.find(c)
	if err != nil {
		return err
	}
	start := time.Now()
	id, err := g.enqueue(c, ask)
	if err != nil {
		g.metrics.refused(t, err, time.Since(start))
		return err
	}
	g.metrics.queued(t, time.Since(start))
	h := c.Response().Header()
	stampCall(h, id, start)
	h[headerElementID] = h[headerCallID]
	h["Content-Length"] = []string{"0"}
	return c.NoContent(http.StatusAccepted)
}

func (g *Gateway) enqueue(c echo.Context, ask functionTarget) (id string, err error) {
	r := c.Request()
	body, release, err := g.readBody(c.Response().Writer, r)
	if err != nil {
		return "", err
	}
	defer release()
	id, err = g.deps.Bus.PublishCall(r.Context(), bus.Call{
		Function: ask.name, Method: r.Method, Path: ask.path, Query: ask.query,
		Header: upstream.CallerHeader(r), Body: body,
	})
	if err != nil && r.Context().Err() != nil {
		return "", callerGone()
	}
	if err != nil {
		return "", queueProblem(ask.name, err)
	}
	return id, nil
}
