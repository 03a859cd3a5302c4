package gateway

import (
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/sluicefaas/sluice/pkg/upstream"
)

// callSync proxies a call to a ready replica, holding it until there is one.
func (g *Gateway) callSync(c echo.Context) error {
	ask, t, err := g.find(c)
	if err != nil {
		return err
	}
	a := &syncAnswer{ResponseWriter: c.Response().Writer, target: t, id: newCallID(), start: time.Now()}
	if t.begin() {
		g.announce(t)
	}
	defer t.inFlight.Add(-1)
	lease, release, p := g.acquire(a, c.Request())
	defer release()
	if p != nil {
		g.metrics.observe(t.name, modeSync, p.name(), time.Since(a.start))
		a.fail(p)
		return nil
	}
	g.proxy.Serve(a, c.Request(), upstream.ProxyCall{
		Endpoints:      &t.endpoints,
		Lease:          lease,
		Path:           ask.path,
		TrustPeer:      g.trustsPeer(c.Request()),
		Timeout:        t.state.Load().Function.Configuration.DefaultSync.Timeout(),
		RequestHeader:  func(h http.Header) { stampCall(h, a.id, a.start) },
		ResponseHeader: a.stamp,
		Done:           func(o upstream.Outcome) { g.metrics.proxied(t.name, o, time.Since(a.start)) },
	})
	return nil
}

// find looks up the function that a request calls, if its caller may call that path of it.
func (g *Gateway) find(c echo.Context) (functionTarget, *target, error) {
	r := c.Request()
	if r.Method == http.MethodConnect { // it would make a tunnel (RFC 9110 §9.3.6)
		return functionTarget{}, nil, problem(wrongMethod, "CONNECT cannot be passed on to a function")
	}
	ask, err := parseTarget(r)
	if err != nil {
		return ask, nil, unreadable("request target", err)
	}
	t, err := g.callable(r, ask.name, ask.path)
	return ask, t, err
}

// failed answers a call for which the function gave no answer.
func (g *Gateway) failed(w http.ResponseWriter, _ *http.Request, failure upstream.Failure) {
	if a, ok := answerOf(w); ok {
		a.fail(failureProblem(a.target.name, failure))
	}
}
