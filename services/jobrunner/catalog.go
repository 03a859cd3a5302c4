package jobrunner

import (
	"context"
	"time"

	"github.com/sluicefaas/sluice/pkg/job"
)

// catalog is how far the definitions bucket is up to date. The goroutine of Run owns it.
type catalog struct {
	// shown are the definitions as they are to be shared, and active those among them of which runs are made: not the refused ones.
	shown, active map[string]job.Definition
	// adopted are those of the active ones that an earlier leader has shared, and seen those that the cluster has told since. adopted does not change once the cluster is watched.
	adopted map[string]job.Definition
	seen    map[string]struct{}
	// unchecked are the names of those that the cluster has not taken yet, dirty of those that may not be in the bucket as they are.
	unchecked, dirty map[string]struct{}
	// awaited are those of the start that are not shared yet; told says that Synced is closed.
	awaited map[string]struct{}
	told    bool
	// running says that a helper changes the bucket; not before notBefore after a failure.
	running   bool
	notBefore time.Time
	failing   bool
	revision  uint64 // newest of the bucket
}

func newCatalog() catalog {
	return catalog{
		shown: map[string]job.Definition{}, active: map[string]job.Definition{}, seen: map[string]struct{}{}, unchecked: map[string]struct{}{}, dirty: map[string]struct{}{},
		awaited: map[string]struct{}{},
	}
}

// share is a change of the bucket: the definition, or nil for none any more.
type share struct {
	k          *kind
	definition *job.Definition
	revision   uint64
	err        error
}

// startShares lets a helper bring the bucket up to date.
func (r *Runner) startShares(ctx context.Context, now time.Time) {
	c := &r.catalog
	r.noteSynced()
	if c.running || len(c.dirty) == 0 {
		return
	}
	if now.Before(c.notBefore) {
		r.alarm.set(c.notBefore)
		return
	}
	changes := r.changes()
	if len(changes) == 0 {
		r.noteSynced()
		return
	}
	c.running = true
	r.helpers.Go(func() {
		for i := range changes {
			r.share(ctx, &changes[i])
		}
		r.do(func(now time.Time) { r.onShared(changes, now) })
	})
}

// changes are what the bucket has to be told.
func (r *Runner) changes() (changes []share) {
	for name := range r.catalog.dirty {
		delete(r.catalog.dirty, name)
		if k := r.kinds[name]; k != nil && !k.upToDate() {
			k.sharing = true
			changes = append(changes, share{k: k, definition: k.effective()})
		}
	}
	return changes
}

func (r *Runner) share(ctx context.Context, change *share) {
	ctx, cancel := context.WithTimeout(ctx, patience[onBus])
	defer cancel()
	if change.definition == nil {
		change.err = r.definitions.Delete(ctx, change.k.name)
		return
	}
	change.revision, change.err = r.definitions.Put(ctx, *change.definition)
}

// onShared takes the results of changes. One that failed may have happened all the same.
func (r *Runner) onShared(changes []share, now time.Time) {
	c := &r.catalog
	c.running = false
	var failed error
	for _, change := range changes {
		k := change.k
		k.sharing, k.unsure = false, change.err != nil
		if change.err != nil {
			failed = change.err
			c.dirty[k.name] = struct{}{}
			continue
		}
		k.shared = change.definition
		c.revision = max(c.revision, change.revision)
		if !k.upToDate() {
			c.dirty[k.name] = struct{}{}
		} else if k.shared == nil && k.wanted() == nil {
			delete(r.kinds, k.name)
		}
	}
	r.noteSharing(failed)
	if failed != nil {
		c.notBefore = now.Add(r.timing.least)
	}
}

// noteSharing logs the first failure of many, and the end of it.
func (r *Runner) noteSharing(err error) {
	switch {
	case err != nil && !r.catalog.failing:
		r.deps.Logger.Warn().Err(err).Msg("the definitions of jobs cannot be shared: it will be tried again")
	case err == nil && r.catalog.failing:
		r.deps.Logger.Info().Msg("the definitions of jobs are shared again")
	}
	r.catalog.failing = err != nil
}

// noteSynced closes Synced once all definitions of the start are shared.
func (r *Runner) noteSynced() {
	c := &r.catalog
	if c.told || !r.observed {
		return
	}
	for name := range c.awaited {
		if k := r.kinds[name]; k != nil && !k.settled() {
			return
		}
		delete(c.awaited, name)
	}
	c.told = true
	close(r.synced)
}

// announceDefinitions tells readers how new the bucket is.
func (r *Runner) announceDefinitions() {
	if r.catalog.revision == 0 {
		return
	}
	if err := r.deps.Bus.AnnounceDefinitions(r.catalog.revision); err != nil {
		r.deps.Logger.Debug().Err(err).Msg("the revision of the definitions could not be announced")
	}
}
