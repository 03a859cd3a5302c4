package gateway

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/pkg/upstream"
)

// rewake is how often a held call repeats its wake, in case one was lost.
const rewake = time.Second

// acquire takes a slot on the least loaded replica. If none is ready it holds the call until one is. release frees what was
// held beside the slot, and is never nil.
func (g *Gateway) acquire(a *syncAnswer, r *http.Request) (lease *upstream.Lease, release func(), p *Problem) {
	trip := g.flow.begin(r, a.target)
	if lease, ok := a.target.endpoints.Acquire(upstream.Limits{}); ok {
		trip.goesTo(lease)
		return lease, trip.end(), nil
	}
	trip.waits()
	body := g.readEarly(r)
	lease, p = g.hold(a, r, body)
	a.held = time.Since(a.start)
	g.metrics.held.WithLabelValues(a.target.name).Observe(a.held.Seconds())
	trip.starts()
	trip.goesTo(lease)
	return lease, func() { body.release(); trip.ends() }, p
}

// hold wakes the function and waits for a replica, and for the body if that is read early.
func (g *Gateway) hold(a *syncAnswer, r *http.Request, body *earlyBody) (*upstream.Lease, *Problem) {
	defer body.stop(a)
	t, arrival := a.target, body.arrival()
	timeout := time.NewTimer(g.config.StartWait)
	defer timeout.Stop()
	again := time.NewTicker(rewake)
	defer again.Stop()
	g.wakeSoon(t)
	for {
		changed := t.endpoints.Changed()
		if arrival == nil {
			if lease, ok := t.endpoints.Acquire(upstream.Limits{}); ok {
				return lease, nil
			}
		}
		select {
		case <-changed:
		case <-arrival:
			if body.err != nil {
				return nil, bodyProblem(body.err, body.size)
			}
			arrival, r.Body = nil, body.whole()
		case <-again.C:
			g.wakeSoon(t)
		case <-t.gone:
			return nil, functionNotFound(t.name)
		case <-timeout.C:
			return nil, g.notReady(t)
		case <-r.Context().Done():
			return nil, callerGone()
		}
	}
}

// notReady says why a call could not be sent when its wait is over.
func (g *Gateway) notReady(t *target) *Problem {
	if t.endpoints.Ready() > 0 {
		return problem(lateBody, "%q is ready, but the whole body has not come within %s", t.name, g.config.StartWait)
	}
	return problem(idleFunction, "no replica of %q became ready within %s%s", t.name, g.config.StartWait, whyNot(t.state.Load()))
}

// whyNot says, behind a sentence, what keeps the function from being ready.
func whyNot(s *function.State) string {
	reasons := slices.Clone(s.Problems)
	if len(s.Waits) > 0 {
		reasons = append([]string{"it waits for " + strings.Join(s.Waits, ", ")}, reasons...)
	}
	if len(reasons) == 0 {
		return ""
	}
	return ": " + strings.Join(reasons, "; ")
}
