package scaler

import (
	"context"
	"time"

	"github.com/sluicefaas/sluice/pkg/function"
)

// oldestLookups bounds how many queues have the age of their oldest call read each tick, beside those whose functions scale by it.
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
	queues := make(chan []string, 1)
	s.do(func(now time.Time) {
		s.onDepths(depths, err, now)
		queues <- s.agesToRead(depths)
	})
	select {
	case names := <-queues:
		s.readAges(ctx, names)
	case <-ctx.Done():
	}
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

// noteDepths logs the second failure in a row, and the end of it: where all services start together, the first look may find no stream.
func (s *Scaler) noteDepths(err error) {
	const tellAt = 2
	switch {
	case err == nil && s.depthFailures >= tellAt:
		s.deps.Logger.Info().Msg("the queues can be read again")
	case err != nil && s.depthFailures == tellAt-1:
		s.deps.Logger.Warn().Err(err).Msg("the queues cannot be read: no function is scaled down until they can")
	}
	if s.depthFailures++; err == nil {
		s.depthFailures = 0
	}
}

// depthsFresh reports whether the depths were read a moment ago.
func (s *Scaler) depthsFresh(now time.Time) bool {
	return !s.depthsAt.IsZero() && now.Sub(s.depthsAt) <= s.timing.fresh
}

// agesToRead are the queues of which the age of the oldest call is read: those whose functions have it as a figure first.
func (s *Scaler) agesToRead(depths map[string]uint64) []string {
	var names, others []string
	for name := range depths {
		if f := s.functions[name]; f != nil && f.present && f.hasFigure(function.FigureOldestAge) {
			names = append(names, name)
		} else {
			others = append(others, name)
		}
	}
	return append(names, others[:min(len(others), oldestLookups)]...)
}

// readAges reads how long the oldest call of each of the queues has waited, as far as it gets in half a tick: depths are more important.
func (s *Scaler) readAges(ctx context.Context, names []string) {
	ctx, cancel := context.WithTimeout(ctx, s.timing.tick/2)
	defer cancel()
	for _, name := range names {
		if ctx.Err() != nil {
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
	f.oldest, f.oldestAt = now, now
	if ok {
		f.oldest = accepted
		age = max(now.Sub(accepted).Seconds(), 0)
	}
	s.metrics.age.WithLabelValues(name).Set(age)
}
