package gateway

import (
	"net/http"

	"github.com/labstack/echo/v4"
)

// wake starts a function without calling it.
func (g *Gateway) wake(c echo.Context) error {
	t, err := g.visible(c.Request(), c.Param("name"))
	if err != nil {
		return err
	}
	return g.wakeEach(c, t)
}

// wakeAll starts every function that the caller may know of.
func (g *Gateway) wakeAll(c echo.Context) error {
	if p := g.notStarted(); p != nil {
		return p
	}
	return g.wakeEach(c, g.allVisible(c.Request())...)
}

func (g *Gateway) wakeEach(c echo.Context, targets ...*target) error {
	for _, t := range targets {
		if err := g.deps.Bus.Wake(t.name); err != nil {
			return problem(silentQueue, "the wake could not be sent: %v", err)
		}
		t.called.Store(true) // the next report repeats it, in case the wake is lost
	}
	return c.NoContent(http.StatusNoContent)
}
