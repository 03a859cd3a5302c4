package scaler

import (
	"fmt"
	"slices"
	"time"

	"github.com/sluicefaas/sluice/pkg/autoscale"
	"github.com/sluicefaas/sluice/pkg/function"
)

// evaluate decides about one function and acts on it, then about others for which that matters.
func (s *Scaler) evaluate(f *tracked, now time.Time) {
	s.settle(now)
	s.decide(f, now)
	s.decideNext(now)
}

// decide is evaluate for one function alone.
func (s *Scaler) decide(f *tracked, now time.Time) {
	if _, stale := s.dependencies.stale[f.name]; stale {
		return // its turn comes when the graph has it
	}
	s.adoptCount(f, now)
	signals := s.signals(f, now)
	decision := autoscale.Decide(now, f.workload.Function, signals)
	f.readings = signals.Readings
	f.history = autoscale.Remember(now, f.workload.Function, signals, decision)
	s.record(f, decision, signals)
	s.act(f, now)
	f.state.Endpoints = s.endpoints(f)
	s.tell(f, signals, now)
	s.tellAny(f, signals.InFlight > 0 || signals.Depth > 0, now)
	f.state.Waits = nil
	if f.asks.waits {
		f.state.Waits = signals.Waits
	}
	f.state.Problems = s.problems(f)
	s.askFigures(f, signals, now)
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
		Ready:        len(f.readyEndpoints()),
		Depth:        depth,
		DepthKnown:   s.trusted(now),
		InFlight:     inFlight,
		LastActivity: f.lastActivity,
		Since:        f.since,
		Fixed:        f.workload.Fixed,
		Blocked:      f.workload.Blocked,
		NeverCalled:  f.neverCalled,
		Waits:        s.waits(f),
		Dependents:   s.dependencies.others(f.name),
		Any:          s.any.others(f),
		Readings:     s.readings(f, depth, inFlight, now),
		History:      f.history,
	}
}

// record keeps a decision that changes the count, the first one that is more than waiting for a look at the queue, and one that
// holds the count back, or waits, for another reason than the last.
func (s *Scaler) record(f *tracked, decision function.Decision, signals autoscale.Signals) {
	from := f.state.Replicas
	switch {
	case decision.Replicas != from:
		s.deps.Logger.Info().Str("function", f.name).Int("from", from).Int("to", decision.Replicas).Str("reason", decision.Reason).Msg("scale")
	case len(f.state.Decisions) == 0 && signals.DepthKnown:
	case autoscale.HeldBack(f.workload.Function, signals) && decision.Reason != lastReason(f.state):
		s.deps.Logger.Warn().Str("function", f.name).Int("replicas", from).Str("reason", decision.Reason).Msg("not scaled")
	case autoscale.Waits(decision.At, f.workload.Function, signals) && decision.Reason != lastReason(f.state):
		s.deps.Logger.Info().Str("function", f.name).Str("reason", decision.Reason).Msg("not started yet")
	default:
		return
	}
	f.state = f.state.Decide(decision)
}

func lastReason(state function.State) string {
	if len(state.Decisions) == 0 {
		return ""
	}
	return state.Decisions[len(state.Decisions)-1].Reason
}

// nextDue is when time alone may change the decision, zero for never. What is unknown for now is looked at each tick, but
// only where it matters: while NATS is away, thousands of sleeping functions cost nothing.
func (s *Scaler) nextDue(f *tracked, signals autoscale.Signals, now time.Time) time.Time {
	waiting := !signals.DepthKnown && (f.state.Replicas > f.workload.Function.ReplicasMin || len(f.state.Decisions) == 0)
	if signals.InFlight > 0 || signals.Depth > 0 || waiting {
		return now.Add(s.timing.tick)
	}
	signals.Replicas = f.state.Replicas
	next := autoscale.NextCheck(now, f.workload.Function, signals)
	if next == 0 {
		return time.Time{}
	}
	if autoscale.Triggered(f.workload.Function, signals) {
		next = max(next-s.timing.tick/2, 1) // figures are due in whole ticks
	}
	return now.Add(next)
}

// maxProblems bounds the sentences of one function: thousands of replicas may have one each.
const maxProblems = 20

// problems are the sentences that the status shows.
func (s *Scaler) problems(f *tracked) []string {
	return problems(f.workload, slices.Concat(s.dependencyProblems(f), s.triggerProblems(f)))
}

// problems adds those of a workload's replicas to its own and the others.
func problems(w function.Workload, others []string) []string {
	all := slices.Concat(w.Problems, others)
	for _, pod := range w.Pods {
		if pod.Problem != "" {
			all = append(all, pod.Name+": "+pod.Problem)
		}
	}
	if more := len(all) - maxProblems; more > 0 {
		all = append(all[:maxProblems], fmt.Sprintf("and %d more", more))
	}
	return all
}
