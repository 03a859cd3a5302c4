package scaler

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"time"

	"github.com/sluicefaas/sluice/pkg/autoscale"
	"github.com/sluicefaas/sluice/pkg/function"
)

// tracked is what the scaler knows of one function. The goroutine of Run owns it.
type tracked struct {
	name     string
	present  bool // the cluster has reported it
	gone     bool // it was removed: its key is to be deleted
	workload function.Workload
	// state is what should be shared, shared what the bucket has, as of revision.
	state, shared function.State
	revision      uint64
	// sharing says that a helper is changing the key, uncertain that the last change may or may not have happened.
	sharing, uncertain bool
	// since is when the cluster reported the function first, lastActivity when it was last called.
	since, lastActivity time.Time
	// asked is the count that the cluster was last asked for, at askedAt, or that it has by itself. After a failure it is
	// doubtful, and the cluster is asked again, but not before retryAt.
	asked            int
	askedAt, retryAt time.Time
	setting          bool // a helper is asking
	doubtful         bool
	// draining are the replicas that take no more calls before they end, by name.
	draining map[string]drain
	nextDue  time.Time
	// ready is how many replicas are ready and do not drain; told is what others were told of that, asks what those were that the
	// function depends on. busy says that its calls are queued or in flight.
	ready int
	told  readiness
	asks  asks
	busy  bool
	// neverCalled says that nobody knew of the function before, and that such a one starts awake.
	neverCalled bool
	// readings, history, answers and the oldest call's time, as of oldestAt, are for the triggers.
	readings         []autoscale.Reading
	history          autoscale.History
	answers          map[string]answer
	oldest, oldestAt time.Time
}

// due reports whether the tick must look at the function.
func (f *tracked) due(now time.Time) bool {
	return f.present && (len(f.draining) > 0 || f.asked != f.state.Replicas || f.asked != f.workload.Replicas || f.doubtful ||
		!f.nextDue.IsZero() && !now.Before(f.nextDue))
}

// observe takes what the cluster reports of a workload.
func (s *Scaler) observe(w function.Workload, now time.Time) {
	if w.Watched {
		s.observeWatched(w)
		s.settle(now)
		return
	}
	w = s.config.BaseFunctionURL.apply(w, s.config.Namespace)
	name := w.Function.Name
	s.forgetWatched(name)
	f := s.functions[name]
	if f == nil {
		f = &tracked{name: name}
		s.functions[name] = f
	}
	if before := f.workload.Function; !slices.Equal(before.DependsOn, w.Function.DependsOn) || !f.present && len(w.Function.DependsOn) > 0 {
		s.dependencies.stale[name] = struct{}{}
	}
	f.workload = w
	s.any.wakes(f)
	if !f.present {
		f.appear(now)
		f.neverCalled = s.config.StartNeverCalled && f.shared.Function.Name == ""
		s.deps.Logger.Info().Str("function", name).Int("replicas", w.Replicas).Msg("function found")
	}
	f.ready = len(f.readyEndpoints())
	if !sameSpec(f.state.Function, w.Function) {
		f.state.Function, f.answers = w.Function, nil
		f.state.Generation++
	}
	s.evaluate(f, now)
}

// appear starts afresh with a workload that was not there, but for what has been shared about it.
func (f *tracked) appear(now time.Time) {
	f.present, f.gone = true, false
	f.since, f.lastActivity = now, time.Time{}
	f.asked, f.askedAt, f.doubtful = f.workload.Replicas, time.Time{}, false
	f.state.Replicas = f.workload.Replicas
	f.draining = nil
	f.asks, f.told, f.history, f.answers, f.oldestAt = asks{}, readiness{}, autoscale.History{}, nil, time.Time{}
}

// forget removes a workload that is gone from the cluster.
func (s *Scaler) forget(name string) {
	s.forgetWatched(name)
	f := s.functions[name]
	if f == nil || f.gone {
		return
	}
	s.deps.Logger.Info().Str("function", name).Msg("function removed")
	f.present, f.gone = false, true
	s.any.forget(f)
	s.readinessChanged(name, true)
	if len(f.workload.Function.DependsOn) > 0 {
		s.dependencies.stale[name] = struct{}{}
	}
	s.sharing.dirty[name] = f
	delete(s.draining, name)
	s.metrics.forget(name)
}

// adoptCount takes over a count that somebody else has set, once the observation cannot be from before our own request; when
// that has failed, an observation is the best there is.
func (s *Scaler) adoptCount(f *tracked, now time.Time) {
	observed := f.workload.Replicas
	certain := f.workload.Fixed || f.doubtful || now.Sub(f.askedAt) > s.timing.stale
	if observed == f.asked || f.setting || !certain {
		return
	}
	f.asked, f.state.Replicas = observed, observed
}

// sameSpec compares what readers see: a nil and an empty list are the same in JSON.
func sameSpec(a, b function.Function) bool {
	if reflect.DeepEqual(a, b) {
		return true
	}
	before, errBefore := json.Marshal(a)
	after, errAfter := json.Marshal(b)
	return errBefore == nil && errAfter == nil && bytes.Equal(before, after)
}
