package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// staleAfter is how long a reader may be behind the announced revision before it watches anew.
	staleAfter = 2 * time.Second
	// watchAnswer bounds the wait for the server to accept a watch.
	watchAnswer = time.Second
	// watchStart bounds the wait for the keys that are there when a watch starts.
	watchStart = 10 * time.Second
)

// watched is a bucket that one service writes and others follow.
type watched struct {
	// what is in it, in words.
	what string
	kv   jetstream.KeyValue
	// announced is the subject on which its writer says how new it is.
	announced string
	// apply takes the newest value of a key; a value with an error is passed over. remove says that the key is gone, and applied that
	// everything up to the revision has been told. All are called from one goroutine.
	apply   func(key string, value []byte) error
	remove  func(key string)
	applied func(revision uint64)
}

// watch tells every key of the bucket and each change until ctx ends. A watch can go stale without an error when a server
// dies, so it starts anew on every reconnect and when the announced revision has been ahead for too long.
func (b *Bus) watch(ctx context.Context, of watched) error {
	reconnects, stop := b.Reconnects()
	defer stop()
	announced := make(chan uint64, 1)
	stopAnnounced, err := b.subscribe(of.announced, func(msg *nats.Msg) {
		var revision uint64
		if json.Unmarshal(msg.Data, &revision) == nil {
			select {
			case announced <- revision:
			case <-ctx.Done():
			}
		}
	})
	if err != nil {
		return err
	}
	defer stopAnnounced()
	w := &follower{watched: of, bus: b, known: map[string]uint64{}, announcements: announced, reconnects: reconnects}
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

// follower is the state of Bus.watch over all the watches that it starts. One goroutine owns it.
type follower struct {
	watched
	bus           *Bus
	known         map[string]uint64 // revision of each key that was told
	revision      uint64            // the newest that was told
	behind        time.Time         // since when the announced revision has been ahead, zero if it is not
	announcements <-chan uint64
	reconnects    <-chan struct{}
}

// run is one watch: it ends when another one should be started.
func (w *follower) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
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
	timeout := time.After(watchStart)
	seen := map[string]bool{}
	for {
		select {
		case entry, ok := <-updates:
			if !ok {
				return errors.New("the watch ended early")
			}
			if entry == nil {
				w.forgetExcept(seen)
				w.applied(w.revision)
				return nil
			}
			seen[entry.Key()] = true
			w.take(entry)
		case <-w.announcements: // not yet of interest
		case <-timeout:
			return errors.New("the first answer of the watch is overdue")
		case <-ctx.Done():
			return nil
		}
	}
}

func (w *follower) follow(ctx context.Context, updates <-chan jetstream.KeyValueEntry) error {
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
		case revision := <-w.announcements:
			if w.stale(revision, time.Now()) {
				return fmt.Errorf("it is at revision %d, the bucket is at %d", w.revision, revision)
			}
		case <-w.reconnects:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// take tells one entry if it is newer than what is known of its key: a watch repeats all keys when it starts.
func (w *follower) take(entry jetstream.KeyValueEntry) {
	key, revision := entry.Key(), entry.Revision()
	w.revision = max(w.revision, revision)
	if revision <= w.known[key] {
		return
	}
	w.known[key] = revision
	if entry.Operation() != jetstream.KeyValuePut {
		w.remove(key)
		return
	}
	if err := w.apply(key, entry.Value()); err != nil {
		w.bus.notify("value of "+key+" in "+w.kv.Bucket()+" is passed over", err)
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

func (w *follower) forgetExcept(seen map[string]bool) {
	for key := range w.known {
		if !seen[key] {
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
