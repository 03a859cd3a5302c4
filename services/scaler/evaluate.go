package scaler

import (
	"maps"
	"slices"
	"time"

	"github.com/sluicefaas/sluice/pkg/autoscale"
	"github.com/sluicefaas/sluice/pkg/function"
)

// evaluate decides about one function and acts on it.
func (s *Scaler) evaluate(f *tracked, now time.Time) {
	s.adoptCount(f, now)
	signals := s.signals(f, now)
	s.record(f, autoscale.Decide(now, f.workload.Function, signals), signals.DepthKnown)
	s.act(f, now)
	f.state.Endpoints = f.workload.ReadyEndpoints(slices.Collect(maps.Keys(f.draining))...)
	f.state.Problems = problems(f.workload)
	f.nextDue = s.nextDue(f, signals, now)
	s.sharing.dirty[f.name] = f
	if len(f.draining) > 0 {
		s.draining[f.name] = f
	} else {
		delete(s.draining, f.name)
	}
	s.metrics.observe(f, signals, s.depthsFresh(now))
}

// signals gathers what autoscale.Decide looks at.
func (s *Scaler) signals(f *tracked, now time.Time) autoscale.Signals {
	depth := int64(0)
	if s.depthsFresh(now) {
		depth = int64(s.depths[f.name])
	}
	inFlight := s.inFlight(f.name)
	if depth > 0 || inFlight > 0 {
		f.lastActivity = now
	}
	return autoscale.Signals{
		Replicas:     f.state.Replicas,
		Ready:        len(f.state.Endpoints),
		Depth:        depth,
		DepthKnown:   s.trusted(now),
		InFlight:     inFlight,
		LastActivity: f.lastActivity,
		Since:        f.since,
		Fixed:        f.workload.Fixed,
	}
}

// record keeps a decision that changes the count, and the first one that is more than waiting for a look at the queue.
func (s *Scaler) record(f *tracked, decision function.Decision, depthKnown bool) {
	if decision.Replicas == f.state.Replicas && (len(f.state.Decisions) > 0 || !depthKnown) {
		return
	}
	from := f.state.Replicas
	f.state = f.state.Decide(decision)
	if from != decision.Replicas {
		s.deps.Logger.Info().Str("function", f.name).Int("from", from).Int("to", decision.Replicas).Str("reason", decision.Reason).Msg("scale")
	}
}

// nextDue is when time alone may change the decision, zero for never. What is unknown for now is looked at each tick, but
// only where it matters: while NATS is away, thousands of sleeping functions cost nothing.
func (s *Scaler) nextDue(f *tracked, signals autoscale.Signals, now time.Time) time.Time {
	waiting := !signals.DepthKnown && (f.state.Replicas > f.workload.Function.ReplicasMin || len(f.state.Decisions) == 0)
	if signals.InFlight > 0 || signals.Depth > 0 || waiting {
		return now.Add(s.timing.tick)
	}
	if next := autoscale.NextCheck(now, f.workload.Function, signals); next > 0 {
		return now.Add(next)
	}
	return time.Time{}
}

// problems are the sentences that the status shows.
func problems(w function.Workload) []string {
	all := slices.Clone(w.Problems)
	for _, pod := range w.Pods {
		if pod.Problem != "" {
			all = append(all, pod.Name+": "+pod.Problem)
		}
	}
	return all
}
