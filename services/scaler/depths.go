package scaler

import (
	"context"
	"time"
)

// oldestLookups bounds how many queues have the age of their oldest call read each second.
const oldestLookups = 32

// pollDepths reads the depth of every queue each second until ctx ends.
func (s *Scaler) pollDepths(ctx context.Context) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		depths, err := s.deps.Bus.Depths(ctx)
		s.do(func(now time.Time) { s.onDepths(depths, err == nil, now) })
		s.readAges(ctx, depths)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// onDepths takes the depths of all queues; functions whose queue has become empty or is not are decided about.
func (s *Scaler) onDepths(depths map[string]uint64, known bool, now time.Time) {
	before := s.depths
	s.depthsKnown = known
	if !known {
		return // the last depths stay, and count for nothing
	}
	s.depths = depths
	for name := range depths {
		s.touch(name, now)
	}
	for name := range before {
		if f := s.functions[name]; depths[name] == 0 && f != nil && f.present {
			s.evaluate(f, now)
		}
	}
}

// readAges exports how long the oldest call of each non-empty queue has waited.
func (s *Scaler) readAges(ctx context.Context, depths map[string]uint64) {
	left := oldestLookups
	for name := range depths {
		if left--; left < 0 {
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
		age = now.Sub(accepted).Seconds()
	}
	s.metrics.age.WithLabelValues(name).Set(age)
}
