package scaler

import (
	"context"
	"maps"
	"slices"
	"time"
)

// request is a count that the cluster is to be asked for.
type request struct {
	f       *tracked
	count   int
	victims []string
}

// setReplicas asks the cluster for the wanted count, one request for a function at a time. All draining replicas may end.
func (s *Scaler) setReplicas(f *tracked, now time.Time) {
	if f.setting || now.Before(f.retryAt) {
		return
	}
	count := f.state.Replicas
	for name, d := range f.draining {
		if !d.ending {
			s.logCut(f, name, d)
			d.ending, d.count = true, count
			f.draining[name] = d
		}
	}
	f.asked, f.askedAt, f.setting = count, now, true
	s.requests = append(s.requests, request{f: f, count: count, victims: slices.Sorted(maps.Keys(f.draining))})
}

func (s *Scaler) logCut(f *tracked, name string, d drain) {
	if !s.released(f.name, d) {
		s.deps.Logger.Warn().Str("function", f.name).Str("replica", name).Dur("after", s.config.DrainTimeout).
			Int("calls", s.inFlightAt(f.name, d.address)).Msg("the replica ends although it may have calls in flight: its time to finish them is over")
	}
}

// startRequests lets a helper each carry out what was asked for.
func (s *Scaler) startRequests(ctx context.Context) {
	for _, r := range s.requests {
		s.helpers.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, s.timing.set)
			defer cancel()
			err := s.deps.Cluster.SetReplicas(ctx, r.f.name, r.count, r.victims)
			s.do(func(now time.Time) { s.onSet(r, err, now) })
		})
	}
	clear(s.requests)
	s.requests = s.requests[:0]
}

// onSet takes the result of a request to the cluster. After a failure the cluster may have any count: the next tick asks
// again, and the replicas that were to end serve until then if they are needed.
func (s *Scaler) onSet(r request, err error, now time.Time) {
	f := r.f
	f.setting, f.doubtful = false, err != nil
	if !f.present {
		return
	}
	if err != nil {
		s.deps.Logger.Error().Err(err).Str("function", f.name).Int("replicas", r.count).Msg("the count could not be set: it will be tried again")
		f.asked, f.retryAt = f.workload.Replicas, now.Add(s.timing.tick/2)
		for _, name := range r.victims {
			if d, draining := f.draining[name]; draining {
				d.ending, d.down = false, false
				f.draining[name] = d
			}
		}
	}
	s.evaluate(f, now)
}
