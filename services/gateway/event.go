package gateway

import (
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/pkg/upstream"
)

// publishEvent stores an event for the functions that subscribe to it.
func (g *Gateway) publishEvent(c echo.Context) error {
	r := c.Request()
	ask, err := parseTarget(r)
	if err != nil {
		return unreadable("request target", err)
	}
	if err := function.ValidEvent(ask.name); err != nil {
		return problem(badRequest, "%v", err)
	}
	if p := g.notStarted(); p != nil {
		return p
	}
	inside := g.isInside(r)
	subscribers := g.functions.subscribers(ask, inside)
	if len(subscribers) == 0 {
		return problem(unknownEvent, "no function subscribes to the event %q", ask.name)
	}
	if err := g.storeEvent(c, ask, !inside); err != nil {
		g.metrics.event(ask.name, outcomeOf(err))
		return err
	}
	g.metrics.event(ask.name, accepted)
	g.flow.published(r, subscribers)
	return c.NoContent(http.StatusNoContent)
}

func (g *Gateway) storeEvent(c echo.Context, ask functionTarget, public bool) error {
	r, limit := c.Request(), g.inlineLimit()
	body, err := g.readBody(c.Response().Writer, r, limit, limit)
	if err != nil {
		return err
	}
	defer body.release()
	err = g.deps.Bus.PublishEvent(r.Context(), bus.Event{
		Name: ask.name, Path: ask.path, Query: ask.query, Header: upstream.CallerHeader(r, g.trustsPeer(r)), Body: body.data, Public: public,
	})
	if err != nil && r.Context().Err() != nil {
		return callerGone()
	}
	if err != nil {
		return eventProblem(ask.name, err)
	}
	return nil
}

// eventProblem says why an event was not stored.
func eventProblem(name string, err error) *Problem {
	switch {
	case errors.Is(err, bus.ErrQueueFull), errors.Is(err, bus.ErrStorageFull):
		return problem(fullStorage, "the event %q cannot be stored until others have been taken", name)
	case errors.Is(err, bus.ErrTooLarge):
		return problem(largeBody, "body and headers of the event %q together are more than a message can carry", name)
	default:
		return problem(silentQueue, "the event %q was not accepted in time: %v", name, err)
	}
}

// subscribers are the functions that get the event, at that path, from a publisher who is inside, or is not.
func (f *functions) subscribers(event functionTarget, inside bool) (subscribers []*target) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	for _, t := range f.targets {
		if t.state.Load().Function.Receives(event.name, event.path, inside) {
			subscribers = append(subscribers, t)
		}
	}
	return subscribers
}
