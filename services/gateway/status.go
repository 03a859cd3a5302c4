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
	t, err := g.public(c.Param("name"))
	if err != nil {
		return err
	}
	if err := g.deps.Bus.Wake(t.name); err != nil {
		return problem(silentQueue, "the wake could not be sent: %v", err)
	}
	t.called.Store(true) // the next report repeats it, in case the wake is lost
	return c.NoContent(http.StatusNoContent)
}

// statusAll answers in the shape of SlimFaas.
func (g *Gateway) statusAll(c echo.Context) error {
	if p := g.notStarted(); p != nil {
		return p
	}
	statuses := []function.Status{}
	for _, t := range g.functions.all() {
		statuses = append(statuses, t.state.Load().Status())
	}
	return c.JSON(http.StatusOK, statuses)
}

func (g *Gateway) status(c echo.Context) error {
	t, err := g.named(c.Param("name"))
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

// public is the function of that name, if it may be called from outside.
func (g *Gateway) public(name string) (*target, error) {
	t, err := g.named(name)
	if err != nil {
		return nil, err
	}
	if t.private() {
		return nil, functionNotFound(name)
	}
	return t, nil
}

// named is the function of that name.
func (g *Gateway) named(name string) (*target, error) {
	if t := g.functions.get(name); t != nil {
		return t, nil
	}
	if p := g.notStarted(); p != nil {
		return nil, p
	}
	return nil, functionNotFound(name)
}

// notStarted is what to answer as long as it is not known which functions there are; then it is nil.
func (g *Gateway) notStarted() *Problem {
	if err := g.functions.Known(context.Background()); err != nil {
		return problem(starting, "%v", err)
	}
	return nil
}

// private reports whether the function may only be called from inside. Nobody is inside yet, so it is answered as if it
// were not there.
func (t *target) private() bool {
	return t.state.Load().Function.DefaultVisibility == function.Private
}
