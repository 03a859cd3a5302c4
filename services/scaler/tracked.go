package scaler

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/sluicefaas/sluice/pkg/autoscale"
	"github.com/sluicefaas/sluice/pkg/function"
)

// staleObservation is how long after a change of the count an observation of another count is taken for one from before it.
const staleObservation = 5 * time.Second

// tracked is what the scaler knows of one function. The goroutine of Run owns it.
type tracked struct {
	name     string
	present  bool // the cluster has reported it
	gone     bool // it was removed: its key is to be deleted
	workload function.Workload
	// state is what should be shared, shared what is, as of revision.
	state, shared function.State
	revision      uint64
	since         time.Time
	lastActivity  time.Time
	// asked is the count that the cluster was last asked for, at askedAt; confirmed once it has reported it.
	asked     int
	askedAt   time.Time
	confirmed bool
	setting   bool
	// draining are the replicas that take no more calls before they end, by name.
	draining map[string]drain
	nextDue  time.Time
}

// drain is one replica on its way out. Once it is ending, the cluster has been asked to end it.
type drain struct {
	address string
	since   time.Time
	ending  bool
}

// due reports whether the tick must look at the function.
func (f *tracked) due(now time.Time) bool {
	return f.present && (len(f.draining) > 0 || f.asked != f.state.Replicas || !f.nextDue.IsZero() && !now.Before(f.nextDue))
}

// observe takes what the cluster reports of a workload.
func (s *Scaler) observe(w function.Workload, now time.Time) {
	name := w.Function.Name
	f := s.functions[name]
	if f == nil {
		f = &tracked{name: name}
		s.functions[name] = f
	}
	first := !f.present
	f.present, f.gone, f.workload = true, false, w
	if first {
		f.since = now
		f.asked, f.state.Replicas, f.confirmed = w.Replicas, w.Replicas, true
		s.deps.Logger.Info().Str("function", name).Int("replicas", w.Replicas).Msg("function found")
	}
	f.adoptCount(now)
	if first || !sameSpec(f.state.Function, w.Function) {
		f.state.Function = w.Function
		f.state.Generation++
	}
	s.evaluate(f, now)
}

// adoptCount takes over a count that somebody else has set, but not a report from before our own change.
func (f *tracked) adoptCount(now time.Time) {
	switch {
	case f.workload.Replicas == f.asked:
		f.confirmed = true
	case !f.setting && (f.confirmed || now.Sub(f.askedAt) > staleObservation):
		f.asked, f.confirmed = f.workload.Replicas, true
		f.state.Replicas = f.workload.Replicas
	}
}

// forget removes a function that is gone from the cluster.
func (s *Scaler) forget(name string) {
	f := s.functions[name]
	if f == nil {
		return
	}
	s.deps.Logger.Info().Str("function", name).Msg("function removed")
	f.present, f.gone = false, true
	s.dirty[name] = f
	s.metrics.forget(name)
}

// evaluate decides about one function and acts on it.
func (s *Scaler) evaluate(f *tracked, now time.Time) {
	signals := s.signals(f, now)
	decision := autoscale.Decide(now, f.workload.Function, signals)
	s.record(f, decision, signals.DepthKnown)
	s.act(f, now)
	f.state.Endpoints = f.workload.ReadyEndpoints(slices.Collect(maps.Keys(f.draining))...)
	f.state.Problems = problems(f.workload)
	f.nextDue = time.Time{}
	if next := autoscale.NextCheck(now, f.workload.Function, signals); next > 0 {
		f.nextDue = now.Add(next)
	}
	if signals.InFlight > 0 || signals.Depth > 0 || !signals.DepthKnown {
		f.nextDue = now.Add(tick)
	}
	s.dirty[f.name] = f
	if len(f.draining) > 0 {
		s.draining[f.name] = f
	}
	s.metrics.observe(f, signals)
}

// signals gathers what autoscale.Decide looks at.
func (s *Scaler) signals(f *tracked, now time.Time) autoscale.Signals {
	depth := int64(s.depths[f.name]) //nolint:gosec // a queue never has that many calls
	inFlight := s.inFlight(f.name)
	if depth > 0 || inFlight > 0 {
		f.lastActivity = now
	}
	return autoscale.Signals{
		Replicas:     f.state.Replicas,
		Ready:        len(f.state.Endpoints),
		Depth:        depth,
		DepthKnown:   s.depthsKnown && now.After(s.trustedFrom),
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

// act brings the cluster towards the wanted count: up at once, down after the replicas that end have finished their calls.
func (s *Scaler) act(f *tracked, now time.Time) {
	f.forgetEnded()
	surplus := f.asked - f.state.Replicas
	if surplus <= 0 {
		maps.DeleteFunc(f.draining, func(_ string, d drain) bool { return !d.ending })
		if surplus < 0 {
			s.setReplicas(f, nil, now)
		}
		return
	}
	s.chooseVictims(f, surplus, now)
	if s.drained(f, now) {
		s.setReplicas(f, slices.Sorted(maps.Keys(f.draining)), now)
	}
}

// forgetEnded drops the draining replicas that are gone, and those that the cluster has kept because it ended others.
func (f *tracked) forgetEnded() {
	ready := map[string]bool{}
	for _, pod := range f.workload.Pods {
		ready[pod.Name] = pod.Ready
	}
	enough := f.confirmed && len(f.workload.Pods) <= f.asked
	maps.DeleteFunc(f.draining, func(name string, d drain) bool {
		return d.ending && (enough || !ready[name]) || !exists(f.workload.Pods, name)
	})
}

func exists(pods []function.Pod, name string) bool {
	return slices.ContainsFunc(pods, func(p function.Pod) bool { return p.Name == name })
}

// chooseVictims adds draining replicas until they are as many as there are too many.
func (s *Scaler) chooseVictims(f *tracked, surplus int, now time.Time) {
	if f.draining == nil {
		f.draining = map[string]drain{}
	}
	for _, pod := range s.byExpendability(f) {
		if len(f.draining) >= surplus {
			return
		}
		if _, already := f.draining[pod.Name]; !already {
			f.draining[pod.Name] = drain{address: pod.Address, since: now}
		}
	}
}

// byExpendability sorts the replicas by how little it costs to end them: those that are not ready first, then those with the
// fewest calls in flight, the newest of equals. A StatefulSet always loses its newest.
func (s *Scaler) byExpendability(f *tracked) []function.Pod {
	pods := slices.Clone(f.workload.Pods)
	slices.Reverse(pods)
	if f.workload.Function.Kind == function.KindStatefulSet {
		return pods
	}
	slices.SortStableFunc(pods, func(a, b function.Pod) int {
		if a.Ready != b.Ready {
			return cmp.Compare(btoi(a.Ready), btoi(b.Ready))
		}
		return cmp.Compare(s.inFlightAt(f.name, a.Address), s.inFlightAt(f.name, b.Address))
	})
	return pods
}

// drained reports whether the draining replicas may end: nobody sends them calls and none is in flight, or their time is over.
func (s *Scaler) drained(f *tracked, now time.Time) bool {
	for name, d := range f.draining {
		switch {
		case now.Sub(d.since) > s.config.DrainTimeout:
			s.deps.Logger.Warn().Str("function", f.name).Str("replica", name).Dur("after", s.config.DrainTimeout).Msg("replica ends with calls in flight")
		case slices.ContainsFunc(f.shared.Endpoints, func(e function.Endpoint) bool { return e.Replica == name }):
			return false // not yet shared that it takes no more calls
		case !s.released(f, d):
			return false
		}
	}
	return true
}

// setReplicas asks the cluster for the wanted count, one request for a function at a time.
func (s *Scaler) setReplicas(f *tracked, victims []string, now time.Time) {
	if f.setting {
		return
	}
	for _, name := range victims {
		d := f.draining[name]
		d.ending = true
		f.draining[name] = d
	}
	before, count := f.asked, f.state.Replicas
	f.asked, f.askedAt, f.confirmed, f.setting = count, now, false, true
	s.setters.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), setTimeout)
		defer cancel()
		err := s.deps.Cluster.SetReplicas(ctx, f.name, count, victims)
		s.do(func(now time.Time) { s.onSet(f, before, err, now) })
	})
}

// setTimeout bounds one request to the cluster.
const setTimeout = 10 * time.Second

// onSet takes the result of a request to the cluster. After a failure the next tick tries again.
func (s *Scaler) onSet(f *tracked, before int, err error, now time.Time) {
	f.setting = false
	if err != nil {
		s.deps.Logger.Error().Err(err).Str("function", f.name).Int("replicas", f.asked).Msg("the count could not be set")
		f.asked = before
		for name, d := range f.draining {
			d.ending = false
			f.draining[name] = d
		}
		return
	}
	if f.present {
		f.adoptCount(now)
		s.evaluate(f, now)
	}
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

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
