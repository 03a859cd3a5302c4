package scaler

import (
	"context"
	"slices"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/function"
)

// maxShares bounds the changes of the bucket that are under way at a time.
const maxShares = 16

// sharing is how far the functions bucket is up to date. The goroutine of Run owns it.
type sharing struct {
	store *bus.Functions
	dirty map[string]*tracked // those that may have changed since they were shared
	// running counts the helpers that change the bucket.
	running   int
	notBefore time.Time // no change before it, after a failure
	failing   bool
	revision  uint64 // newest of the bucket
	// awaited are the functions of the start that are not shared yet, nil before all are known; told says that Synced is
	// closed.
	awaited map[string]struct{}
	told    bool
}

// await takes all functions for those of the start; the others of them are shared already.
func (h *sharing) await(functions map[string]*tracked) {
	if h.awaited != nil {
		return
	}
	h.awaited = map[string]struct{}{}
	for name, f := range functions {
		if f.sharing || h.dirty[name] == f {
			h.awaited[name] = struct{}{}
		}
	}
}

// share is one change of the bucket.
type share struct {
	f        *tracked
	state    function.State
	gone     bool
	revision uint64 // of a state that was stored
	err      error
}

// startShares lets a helper each bring the bucket up to date, some at a time.
func (s *Scaler) startShares(ctx context.Context) {
	for _, change := range s.nextShares(time.Now()) {
		s.helpers.Go(func() {
			ctx, done := s.link.bind(ctx)
			defer done()
			if change.gone {
				change.err = s.sharing.store.Delete(ctx, change.f.name)
			} else {
				change.revision, change.err = s.sharing.store.Put(ctx, change.state)
			}
			s.do(func(now time.Time) { s.onShared(change, now) })
		})
	}
	if h := &s.sharing; h.awaited != nil && len(h.awaited) == 0 && !h.told {
		h.told = true
		close(s.synced)
	}
}

// nextShares takes changes from the functions that may have changed.
func (s *Scaler) nextShares(now time.Time) []share {
	h := &s.sharing
	if len(h.dirty) > 0 && now.Before(h.notBefore) {
		return nil
	}
	var changes []share
	for name, f := range h.dirty {
		if h.running == maxShares {
			break
		}
		if f.sharing {
			continue // its turn comes when that has ended
		}
		delete(h.dirty, name)
		if f.upToDate() {
			s.shared(f)
			continue
		}
		f.sharing = true
		h.running++
		changes = append(changes, share{f: f, state: f.state, gone: f.gone})
	}
	return changes
}

// upToDate reports whether the bucket has what should be shared.
func (f *tracked) upToDate() bool {
	switch {
	case f.uncertain:
		return false
	case f.gone:
		return f.shared.Function.Name == ""
	}
	return !f.present || sameState(f.state, f.shared)
}

func sameState(a, b function.State) bool {
	return a.Generation == b.Generation && a.Replicas == b.Replicas && slices.Equal(a.Endpoints, b.Endpoints) &&
		slices.Equal(a.Problems, b.Problems) && slices.Equal(a.Waits, b.Waits) && slices.EqualFunc(a.Decisions, b.Decisions, sameDecision)
}

func sameDecision(a, b function.Decision) bool {
	return a.At.Equal(b.At) && a.Replicas == b.Replicas && a.Reason == b.Reason
}

// shared notes that the bucket has what should be shared of f.
func (s *Scaler) shared(f *tracked) {
	delete(s.sharing.awaited, f.name)
	if f.gone && s.functions[f.name] == f {
		delete(s.functions, f.name)
	}
}

// onShared takes the result of a change. One that failed may have happened all the same.
func (s *Scaler) onShared(change share, now time.Time) {
	f := change.f
	f.sharing = false
	s.sharing.running--
	s.noteSharing(f, change.err)
	if change.err != nil {
		f.uncertain = true
		s.sharing.dirty[f.name] = f
		s.sharing.notBefore = now.Add(s.timing.sharePause)
		return
	}
	f.uncertain = false
	if change.gone {
		f.shared = function.State{}
	} else {
		f.shared, f.revision = change.state, change.revision
		s.sharing.revision = max(s.sharing.revision, change.revision)
	}
	if f.upToDate() {
		s.shared(f)
	} else {
		s.sharing.dirty[f.name] = f
	}
	if f.present && len(f.draining) > 0 {
		s.evaluate(f, now)
	}
}

// noteSharing logs the first failure of many, and the end of it.
func (s *Scaler) noteSharing(f *tracked, err error) {
	h := &s.sharing
	switch {
	case err != nil && !h.failing:
		s.deps.Logger.Warn().Err(err).Str("function", f.name).Msg("the functions' state cannot be shared: it will be tried again")
	case err == nil && h.failing:
		s.deps.Logger.Info().Msg("the functions' state is shared again")
	}
	h.failing = err != nil
}
