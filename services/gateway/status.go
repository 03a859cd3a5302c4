package gateway

import (
	"context"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/sluicefaas/sluice/pkg/function"
)

// statusAll answers in the shape of SlimFaas.
func (g *Gateway) statusAll(c echo.Context) error {
	if p := g.notStarted(); p != nil {
		return p
	}
	statuses := []function.Status{}
	for _, t := range g.allVisible(c.Request()) {
		statuses = append(statuses, t.state.Load().Status())
	}
	return c.JSON(http.StatusOK, statuses)
}

func (g *Gateway) status(c echo.Context) error {
	t, err := g.visible(c.Request(), c.Param("name"))
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

// insideOnly answers callers from outside as if there were no such route, unless all may know what the functions are.
func (g *Gateway) insideOnly(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if !g.config.ExposeFunctions && !g.isInside(c.Request()) {
			return echo.ErrNotFound
		}
		return next(c)
	}
}

func (g *Gateway) describeAll(c echo.Context) error {
	if p := g.notStarted(); p != nil {
		return p
	}
	descriptions := []Description{}
	for _, t := range g.functions.all() {
		descriptions = append(descriptions, t.describe())
	}
	return c.JSON(http.StatusOK, descriptions)
}

// depthTimeout bounds the look at a queue that a description may take.
const depthTimeout = time.Second

func (g *Gateway) describe(c echo.Context) error {
	t, err := g.named(c.Param("name"))
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

// notStarted is what to answer as long as it is not known which functions there are; then it is nil.
func (g *Gateway) notStarted() *Problem {
	if err := g.functions.Known(context.Background()); err != nil {
		return problem(starting, "%v", err)
	}
	return nil
}
