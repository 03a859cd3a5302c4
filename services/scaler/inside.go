package scaler

import (
	"context"
	"net/netip"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/function"
)

// maxInsideChanges bounds the changes of the inside bucket that are under way at a time.
const maxInsideChanges = 16

// inside is how far the bucket of those who are inside is up to date. It is opened when the cluster reports them first. The goroutine
// of Run owns it.
type inside struct {
	store   *bus.Inside
	opening bool
	// want is what the cluster has reported, nil before it has; have is what the bucket has, with a zero value for what it may or may
	// not have.
	want, have map[netip.Addr]function.Insider
	// dirty are the addresses that may differ; compare says that all may.
	dirty     map[netip.Addr]struct{}
	compare   bool
	changing  map[netip.Addr]struct{}
	notBefore time.Time // no change before it, after a failure
	failing   bool
	revision  uint64 // newest of the bucket
}

// insideChange is one change of the bucket.
type insideChange struct {
	address  netip.Addr
	insider  function.Insider
	gone     bool
	revision uint64
	err      error
}

func newInside() inside {
	return inside{dirty: map[netip.Addr]struct{}{}, changing: map[netip.Addr]struct{}{}}
}

// report takes what the cluster has reported.
func (i *inside) report(want map[netip.Addr]function.Insider) {
	if want == nil {
		want = map[netip.Addr]function.Insider{}
	}
	i.want, i.compare = want, true
}

// mark says of each endpoint whether it is inside. The bucket says the same, but a replica may call others as soon as it is called itself: whoever
// learns of it by its endpoint knows it is inside.
func (i *inside) mark(endpoints []function.Endpoint) []function.Endpoint {
	if len(i.want) == 0 {
		return endpoints
	}
	for n := range endpoints {
		if at, err := netip.ParseAddrPort(endpoints[n].Address); err == nil {
			_, endpoints[n].Inside = i.want[at.Addr().Unmap()]
		}
	}
	return endpoints
}

// startInside lets helpers bring the bucket up to date.
func (s *Scaler) startInside(ctx context.Context) {
	i := &s.inside
	if i.want == nil || time.Now().Before(i.notBefore) {
		return
	}
	if i.store == nil {
		s.openInside(ctx)
		return
	}
	if i.compare && len(s.events) == 0 {
		i.diff()
	}
	store := i.store
	for _, change := range i.nextChanges() {
		s.helpers.Go(func() {
			ctx, done := s.link.bind(ctx)
			defer done()
			if change.gone {
				change.revision, change.err = store.Delete(ctx, change.address)
			} else {
				change.revision, change.err = store.Put(ctx, change.address, change.insider)
			}
			s.do(func(now time.Time) { s.onInsideChanged(change, now) })
		})
	}
}

// openInside lets a helper open the bucket and read what is there.
func (s *Scaler) openInside(ctx context.Context) {
	if s.inside.opening {
		return
	}
	s.inside.opening = true
	s.helpers.Go(func() {
		ctx, done := s.link.bind(ctx)
		defer done()
		reader := &insideReader{have: map[netip.Addr]function.Insider{}}
		err := reader.read(ctx, s.deps.Bus)
		s.do(func(now time.Time) { s.onInsideOpened(reader, err, now) })
	})
}

// insideReader reads the bucket once, then ends its watch.
type insideReader struct {
	store    *bus.Inside
	have     map[netip.Addr]function.Insider
	revision uint64
	complete bool
	done     context.CancelFunc
}

func (r *insideReader) read(ctx context.Context, b *bus.Bus) (err error) {
	if r.store, err = b.OpenInside(ctx); err != nil {
		return err
	}
	reading, done := context.WithCancel(ctx)
	defer done()
	r.done = done
	if err := r.store.Watch(reading, r); err != nil {
		return err
	}
	if !r.complete {
		return context.Cause(ctx)
	}
	return nil
}

// Apply implements bus.InsideReader.
func (r *insideReader) Apply(address netip.Addr, insider function.Insider) { r.have[address] = insider }

// Remove implements bus.InsideReader.
func (r *insideReader) Remove(address netip.Addr) { delete(r.have, address) }

// Applied implements bus.InsideReader.
func (r *insideReader) Applied(revision uint64) {
	r.revision, r.complete = revision, true
	r.done()
}

func (s *Scaler) onInsideOpened(reader *insideReader, err error, now time.Time) {
	i := &s.inside
	i.opening = false
	s.noteInside(err)
	if err != nil {
		i.notBefore = now.Add(s.timing.sharePause)
		return
	}
	i.store, i.have, i.revision, i.compare = reader.store, reader.have, reader.revision, true
}

// diff finds the addresses at which the bucket differs from what the cluster has reported.
func (i *inside) diff() {
	i.compare = false
	for address, insider := range i.want {
		if has, known := i.have[address]; !known || has != insider {
			i.dirty[address] = struct{}{}
		}
	}
	for address := range i.have {
		if _, wanted := i.want[address]; !wanted {
			i.dirty[address] = struct{}{}
		}
	}
}

// nextChanges takes changes from the addresses that may differ, one for each at a time.
func (i *inside) nextChanges() []insideChange {
	var changes []insideChange
	for address := range i.dirty {
		if len(i.changing) == maxInsideChanges {
			break
		}
		if _, changing := i.changing[address]; changing {
			continue // its turn comes when that has ended
		}
		delete(i.dirty, address)
		insider, wanted := i.want[address]
		has, known := i.have[address]
		if wanted == known && (!known || has == insider) {
			continue
		}
		i.changing[address] = struct{}{}
		changes = append(changes, insideChange{address: address, insider: insider, gone: !wanted})
	}
	return changes
}

// onInsideChanged takes the result of a change. One that failed may have happened all the same.
func (s *Scaler) onInsideChanged(change insideChange, now time.Time) {
	i := &s.inside
	delete(i.changing, change.address)
	i.dirty[change.address] = struct{}{} // it may have changed meanwhile
	s.noteInside(change.err)
	switch {
	case change.err != nil:
		i.have[change.address] = function.Insider{}
		i.notBefore = now.Add(s.timing.sharePause)
		return
	case change.gone:
		delete(i.have, change.address)
	default:
		i.have[change.address] = change.insider
	}
	i.revision = max(i.revision, change.revision)
}

// noteInside logs the first failure of many, and the end of it.
func (s *Scaler) noteInside(err error) {
	i := &s.inside
	switch {
	case err != nil && !i.failing:
		s.deps.Logger.Warn().Err(err).Msg("who is inside cannot be shared: it will be tried again")
	case err == nil && i.failing:
		s.deps.Logger.Info().Msg("who is inside is shared again")
	}
	i.failing = err != nil
}
