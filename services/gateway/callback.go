package gateway

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/sluicefaas/sluice/pkg/bus"
)

// callbackTimeout bounds how long a callback waits for NATS.
const callbackTimeout = 10 * time.Second

// callback ends a call that its function has taken over.
func (g *Gateway) callback(c echo.Context) error {
	word, id := c.Param("word"), c.Param("id")
	if word != bus.CallbackSuccess && word != bus.CallbackError {
		return problem(badRequest, "the path ends with %q, it must end with %q or %q", word, bus.CallbackSuccess, bus.CallbackError)
	}
	t, err := g.named(c.Param("name"))
	if err != nil {
		return err
	}
	attempts := g.attempts.Load()
	if attempts == nil {
		return problem(silentQueue, "the records of open calls are not there yet")
	}
	// A function need not stay for the answer.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Request().Context()), callbackTimeout)
	defer cancel()
	if !g.isInside(c.Request()) && !t.calledFrom(ctx, attempts, id, g.callerIP(c.Request())) {
		return functionNotFound(t.name)
	}
	err = attempts.Callback(ctx, t.name, id, word)
	if errors.Is(err, bus.ErrNoOpenCall) {
		return problem(closedCall, "no attempt of the call %.100q of %q waits for a callback with %q", id, t.name, word)
	}
	if err != nil {
		return problem(silentQueue, "the callback was not accepted in time: %v", err)
	}
	return c.NoContent(http.StatusOK)
}

// calledFrom reports whether the address is that of a replica of the function, or of the one that has taken the call over: that one may
// not be ready any more.
func (t *target) calledFrom(ctx context.Context, attempts *bus.Attempts, id string, caller netip.Addr) bool {
	for _, endpoint := range t.state.Load().Endpoints {
		if isHost(endpoint.Address, caller) {
			return true
		}
	}
	attempt, ok, err := attempts.Get(ctx, t.name, id)
	return err == nil && ok && isHost(attempt.Endpoint, caller)
}

// isHost reports whether the address, host:port, has this host.
func isHost(address string, host netip.Addr) bool {
	name, _, err := net.SplitHostPort(address)
	if err != nil || !host.IsValid() {
		return false
	}
	ip, err := netip.ParseAddr(name)
	return err == nil && ip.Unmap() == host.Unmap()
}

// followAttempts opens the records of open calls as soon as they are there.
func (g *Gateway) followAttempts(ctx context.Context) {
	attempts, err := g.deps.Bus.AwaitAttempts(ctx)
	if err == nil {
		g.attempts.Store(attempts)
	} else if ctx.Err() == nil {
		g.deps.Logger.Error().Err(err).Msg("callbacks of functions cannot be taken")
	}
}
