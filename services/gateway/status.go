package gateway

import (
	"context"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/sluicefaas/sluice/pkg/function"
)

// wake starts a function without calling it.
func (g *Gateway) wake(c echo.Context) error {
	t, err := g.named(c)
	if err != nil {
		return err
	}
	t.called.Store(true) // the next report repeats it, in case the wake is lost
	g.sendWake(t)
	return c.NoContent(http.StatusNoContent)
}

// statusAll answers in the shape of SlimFaas.
func (g *Gateway) statusAll(c echo.Context) error {
	statuses := []function.Status{}
	for _, t := range g.functions.all() {
		statuses = append(statuses, t.state.Load().Status())
	}
	return c.JSON(http.StatusOK, statuses)
}

func (g *Gateway) status(c echo.Context) error {
	t, err := g.named(c)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, t.state.Load().Status())
}

// Description is what GET /functions/{name} answers: all that is known.
type Description struct {
	function.State
	// InFlight counts the calls at this gateway, held ones too, and Calls those by the replica's address.
	InFlight int64          `json:"inFlight"`
	Calls    map[string]int `json:"calls,omitempty"`
	// Queued is the depth of the queue; nil if it cannot be read, or in a list.
	Queued *uint64 `json:"queued,omitempty"`
}

func (t *target) describe() Description {
	return Description{State: *t.state.Load(), InFlight: t.inFlight.Load(), Calls: t.endpoints.InFlight()}
}

func (g *Gateway) describeAll(c echo.Context) error {
	descriptions := []Description{}
	for _, t := range g.functions.all() {
		descriptions = append(descriptions, t.describe())
	}
	return c.JSON(http.StatusOK, descriptions)
}

// depthTimeout bounds the look at a queue that a description may take.
const depthTimeout = time.Second

func (g *Gateway) describe(c echo.Context) error {
	t, err := g.named(c)
	if err != nil {
		return err
	}
	description := t.describe()
	ctx, cancel := context.WithTimeout(c.Request().Context(), depthTimeout)
	defer cancel()
	if depth, err := g.deps.Bus.Depth(ctx, t.name); err == nil {
		description.Queued = &depth
	}
	return c.JSON(http.StatusOK, description)
}

// named is the function that the route's parameter names.
func (g *Gateway) named(c echo.Context) (*target, error) {
	name := c.Param("name")
	t := g.functions.get(name)
	if t == nil {
		return nil, functionNotFound(name)
	}
	return t, nil
}

// private reports whether the function may only be called from inside. Nobody is inside yet, so it is answered as if it
// were not there.
func (t *target) private() bool {
	return t.state.Load().Function.DefaultVisibility == function.Private
}
