package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// staleLook is the pause between two looks whether a reader is behind.
	staleLook = staleAfter / 4
	// staleAfter is how long a reader may be behind the announced revision before it watches anew.
	staleAfter = 2 * time.Second
	// watchAnswer bounds the wait for the server to accept a watch.
	watchAnswer = time.Second
	// watchStart bounds the wait for the next of the keys that are there when a watch starts.
	watchStart = 10 * time.Second
)

// watched is a bucket that some write and others follow.
type watched struct {
	// what is in it, in words.
	what string
	kv   jetstream.KeyValue
	// announced matches the subjects on which its writers say how new it is.
	announced string
	// apply takes the newest value of a key; a value with an error is passed over. remove says that the key is gone, and applied that
	// everything up to the revision has been told. All are called from one goroutine.
	apply   func(key string, value []byte, revision uint64) error
	remove  func(key string)
	applied func(revision uint64)
	// rolledBack, if it is not nil, says that the value which comes next is older than the one that was told: the bucket has lost the newer one.
	rolledBack func(key string)
}

// watch tells every key of the bucket and each change until ctx ends. A watch can go stale without an error when a server
// dies, so it starts anew on every reconnect and when the announced revision has been ahead for too long.
func (b *Bus) watch(ctx context.Context, of watched) error {
	reconnects, stop := b.Reconnects()
	defer stop()
	w := &follower{watched: of, bus: b, known: map[string]knownKey{}, reconnects: reconnects}
	stopAnnounced, err := b.subscribe(of.announced, func(msg *nats.Msg) {
		var revision uint64
		if json.Unmarshal(msg.Data, &revision) == nil {
			w.hear(revision)
		}
	})
	if err != nil {
		return err
	}
	defer stopAnnounced()
	told := ""
	for ctx.Err() == nil {
		err := w.run(ctx)
		if err == nil || ctx.Err() != nil {
			told = ""
			continue
		}
		if err.Error() != told { // while the server is away it is the same each time
			told = err.Error()
			b.notify("watch of "+of.what+" ended", err)
		}
		sleep(ctx, reconnectWait)
	}
	return nil
}

// follower is the state of Bus.watch over all the watches that it starts. One goroutine owns it, but for heard.
type follower struct {
	watched
	bus        *Bus
	known      map[string]knownKey
	start      int       // counts the watches
	revision   uint64    // the newest that was told
	behind     time.Time // since when the announced revision has been ahead, zero if it is not
	reconnects <-chan struct{}
	// heard is the newest revision that was announced since the watch began.
	heard atomic.Uint64
}

// knownKey is what is known of a key that has a value: the revision that was told, when it was written, in Unix nanoseconds, and in which watch it was seen last.
type knownKey struct {
	revision uint64
	created  int64 // tells two of the same revision apart, of which one was lost
	start    int
}

func (w *follower) hear(revision uint64) {
	for {
		heard := w.heard.Load()
		if revision <= heard || w.heard.CompareAndSwap(heard, revision) {
			return
		}
	}
}

// run is one watch: it ends when another one should be started.
func (w *follower) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w.heard.Store(0) // this watch will tell it all, and a wrong announcement has had its one
	// The context of a watch is that of its start too, whose answer never comes if the server dies just then.
	overdue := time.AfterFunc(watchAnswer, cancel)
	watcher, err := w.kv.WatchAll(ctx)
	overdue.Stop()
	if err != nil {
		return fmt.Errorf("watch %s: %w", w.what, err)
	}
	defer stopWatch(watcher)
	return w.read(ctx, watcher.Updates())
}

// read tells what is there, then each change. What is interrupted in the beginning has told a part only, and must not say that it is all.
func (w *follower) read(ctx context.Context, updates <-chan jetstream.KeyValueEntry) error {
	w.behind = time.Time{}
	if err := w.initial(ctx, updates); err != nil || ctx.Err() != nil {
		return err
	}
	return w.follow(ctx, updates)
}

// initial reads what is there, and removes what is not there any more.
func (w *follower) initial(ctx context.Context, updates <-chan jetstream.KeyValueEntry) error {
	timeout := time.NewTimer(watchStart)
	defer timeout.Stop()
	w.start++
	for {
		select {
		case entry, ok := <-updates:
			if !ok {
				return errors.New("the watch ended early")
			}
			if entry == nil {
				w.forgetUnseen()
				w.applied(w.revision)
				return nil
			}
			timeout.Reset(watchStart)
			w.take(entry)
		case <-timeout.C:
			return errors.New("the first answer of the watch is overdue")
		case <-ctx.Done():
			return nil
		}
	}
}

func (w *follower) follow(ctx context.Context, updates <-chan jetstream.KeyValueEntry) error {
	look := time.NewTicker(staleLook)
	defer look.Stop()
	for {
		select {
		case entry, ok := <-updates:
			if !ok {
				return errors.New("the watch ended")
			}
			if entry != nil {
				w.take(entry)
				w.applied(w.revision)
			}
		case now := <-look.C:
			if announced := w.heard.Load(); w.stale(announced, now) {
				return fmt.Errorf("it is at revision %d, the bucket is at %d", w.revision, announced)
			}
		case <-w.reconnects:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// take tells one entry if it is news: a watch repeats all keys when it starts. It tells each key in the order of its revisions. So what it tells first of a key, and is older than
// what an earlier watch has told, is what there is: the bucket was rolled back, or this is from a server that is behind and will tell the rest.
func (w *follower) take(entry jetstream.KeyValueEntry) {
	key, revision, created := entry.Key(), entry.Revision(), entry.Created().UnixNano()
	w.revision = max(w.revision, revision)
	known := w.known[key]
	older := revision < known.revision || revision == known.revision && created != known.created
	switch {
	case entry.Operation() != jetstream.KeyValuePut:
		if revision > known.revision {
			delete(w.known, key) // new ones come for ever
			w.remove(key)
		}
		return
	case older && known.start == w.start: // late
		return
	}
	w.known[key] = knownKey{revision, created, w.start}
	if revision == known.revision && !older {
		return
	}
	if older && w.rolledBack != nil {
		w.rolledBack(key)
	}
	if err := w.apply(key, entry.Value(), revision); err != nil {
		w.bus.notices.tell("value of "+key+" in "+w.kv.Bucket()+" is passed over", err)
	}
}

// stopWatch ends a watch. It does not wait for Updates to be closed: a watch that is interrupted while it begins never closes it,
// since the library asks to be told of the subscription's end only after that. What is taken out of Updates leaves room for the one
// value that the subscription's goroutine may still be about to put there, so that it ends too.
func stopWatch(watcher jetstream.KeyWatcher) {
	_ = watcher.Stop() // fails only when its context or the connection has ended it already
	for {
		select {
		case _, open := <-watcher.Updates():
			if !open {
				return
			}
		default:
			return
		}
	}
}

// forgetUnseen removes what the present watch has not told.
func (w *follower) forgetUnseen() {
	for key, known := range w.known {
		if known.start != w.start {
			delete(w.known, key)
			w.remove(key)
		}
	}
}

func (w *follower) stale(announced uint64, now time.Time) bool {
	if announced <= w.revision {
		w.behind = time.Time{}
		return false
	}
	if w.behind.IsZero() {
		w.behind = now
	}
	return now.Sub(w.behind) > staleAfter
}

// loadAll starts a watch and returns once everything that is there has been told, when the watch calls done. It repeats until ctx ends.
func loadAll(ctx context.Context, watch func(ctx context.Context, done func()) error) error {
	return retry(ctx, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, watchStart)
		defer cancel()
		complete := false
		if err := watch(ctx, func() { complete = true; cancel() }); err != nil {
			return err
		}
		if !complete {
			return ErrUnavailable
		}
		return nil
	})
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
