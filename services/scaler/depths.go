package scaler

import (
	"context"
	"time"
)

// oldestLookups bounds how many queues have the age of their oldest call read each tick.
const oldestLookups = 32

// pollDepths reads the depth of every queue each tick until ctx ends.
func (s *Scaler) pollDepths(ctx context.Context) {
	ticker := time.NewTicker(s.timing.tick)
	defer ticker.Stop()
	for {
		if !s.pollOnce(ctx) && ctx.Err() == nil {
			continue // the connection is back: ask again
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// pollOnce is one question. It reports false when that was interrupted.
func (s *Scaler) pollOnce(ctx context.Context) bool {
	ctx, done := s.link.bind(ctx)
	defer done()
	depths, err := s.deps.Bus.Depths(ctx)
	if ctx.Err() != nil {
		return false
	}
	s.do(func(now time.Time) { s.onDepths(depths, err, now) })
	s.readAges(ctx, depths)
	return true
}

// onDepths takes the depths of all queues; functions whose queue has become empty or is not are decided about. When they
// cannot be read, the last ones count for nothing.
func (s *Scaler) onDepths(depths map[string]uint64, err error, now time.Time) {
	s.noteDepths(err)
	if err != nil {
		s.depthsAt = time.Time{}
		return
	}
	before := s.depths
	s.depths, s.depthsAt = depths, now
	for name := range depths {
		s.touch(name, now)
	}
	for name := range before {
		if f := s.functions[name]; depths[name] == 0 && f != nil && f.present {
			s.evaluate(f, now)
		}
	}
}

// noteDepths logs the first failure of many, and the end of it.
func (s *Scaler) noteDepths(err error) {
	switch {
	case err != nil && !s.depthsFailing:
		s.deps.Logger.Warn().Err(err).Msg("the queues cannot be read: no function is scaled down until they can")
	case err == nil && s.depthsFailing:
		s.deps.Logger.Info().Msg("the queues can be read again")
	}
	s.depthsFailing = err != nil
}

// depthsFresh reports whether the depths were read a moment ago.
func (s *Scaler) depthsFresh(now time.Time) bool {
	return !s.depthsAt.IsZero() && now.Sub(s.depthsAt) <= s.timing.fresh
}

// readAges exports how long the oldest call of each non-empty queue has waited, as far as it gets in half a tick: depths
// are more important.
func (s *Scaler) readAges(ctx context.Context, depths map[string]uint64) {
	ctx, cancel := context.WithTimeout(ctx, s.timing.tick/2)
	defer cancel()
	left := oldestLookups
	for name := range depths {
		if left--; left < 0 || ctx.Err() != nil {
			return
		}
		if accepted, ok, err := s.deps.Bus.Oldest(ctx, name); err == nil {
			s.do(func(now time.Time) { s.observeAge(name, accepted, ok, now) })
		}
	}
}

func (s *Scaler) observeAge(name string, accepted time.Time, ok bool, now time.Time) {
	f := s.functions[name]
	if f == nil || !f.present {
		return // no label for what is no function
	}
	age := 0.0
	if ok {
		age = max(now.Sub(accepted).Seconds(), 0)
	}
	s.metrics.age.WithLabelValues(name).Set(age)
}
