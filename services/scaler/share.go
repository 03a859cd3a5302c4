package scaler

import (
	"context"
	"reflect"
	"slices"
	"time"

	"github.com/sluicefaas/sluice/pkg/function"
)

// sharePause is how long sharing rests after a failure.
const sharePause = 200 * time.Millisecond

// shareAll brings the functions bucket up to date with every function that may have changed.
func (s *Scaler) shareAll(ctx context.Context) {
	if len(s.dirty) > 0 && time.Now().Before(s.shareAfter) {
		return
	}
	for name, f := range s.dirty {
		if err := s.share(ctx, f); err != nil {
			if ctx.Err() == nil {
				s.deps.Logger.Warn().Err(err).Str("function", name).Msg("the function's state could not be shared: it will be tried again")
			}
			s.shareAfter = time.Now().Add(sharePause)
			return
		}
		delete(s.dirty, name)
	}
	if s.clusterSynced {
		s.clusterSynced = false
		close(s.synced)
	}
}

func (s *Scaler) share(ctx context.Context, f *tracked) error {
	if f.gone {
		if err := s.store.Delete(ctx, f.name); err != nil {
			return err
		}
		delete(s.functions, f.name)
		return nil
	}
	if !f.present || sameState(f.state, f.shared) {
		return nil
	}
	revision, err := s.store.Put(ctx, f.state)
	if err != nil {
		return err
	}
	f.shared, f.revision = f.state, revision
	s.revision = max(s.revision, revision)
	return nil
}

func sameState(a, b function.State) bool {
	return a.Generation == b.Generation && a.Replicas == b.Replicas && sameSpec(a.Function, b.Function) &&
		slices.Equal(a.Endpoints, b.Endpoints) && slices.Equal(a.Problems, b.Problems) &&
		slices.EqualFunc(a.Decisions, b.Decisions, func(x, y function.Decision) bool {
			return x.At.Equal(y.At) && x.Replicas == y.Replicas && x.Reason == y.Reason
		})
}

func sameSpec(a, b function.Function) bool { return reflect.DeepEqual(a, b) }
