package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicefaas/sluice/pkg/function"
)

// Functions is the bucket in which the scaler shares each function's state.
type Functions struct {
	bus *Bus
	kv  jetstream.KeyValue
}

// OpenFunctions makes the functions bucket if it is not there, waiting for the server for as long as ctx lasts. It is for the scaler.
func (b *Bus) OpenFunctions(ctx context.Context) (*Functions, error) {
	kv, err := b.ensureBucket(ctx, jetstream.KeyValueConfig{
		Bucket: b.FunctionsBucket(), Description: "Specification, replicas and endpoints of each function",
	})
	if err != nil {
		return nil, err
	}
	return &Functions{bus: b, kv: kv}, nil
}

// AwaitFunctions waits for the functions bucket, which the scaler makes, for as long as ctx lasts. It is for those who read it.
func (b *Bus) AwaitFunctions(ctx context.Context) (*Functions, error) {
	kv, err := b.awaitBucket(ctx, b.FunctionsBucket())
	if err != nil {
		return nil, err
	}
	return &Functions{bus: b, kv: kv}, nil
}

// Put stores a state and returns the bucket's new revision.
func (f *Functions) Put(ctx context.Context, state function.State) (revision uint64, err error) {
	value, err := json.Marshal(state)
	if err != nil {
		return 0, fmt.Errorf("write the state of %s: %w", state.Function.Name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	revision, err = f.kv.Put(ctx, state.Function.Name, value)
	if err != nil {
		return 0, fmt.Errorf("store the state of %s: %w", state.Function.Name, err)
	}
	return revision, nil
}

// Delete removes the state of a function that is gone.
func (f *Functions) Delete(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := f.kv.Delete(ctx, name); err != nil {
		return fmt.Errorf("remove the state of %s: %w", name, err)
	}
	return nil
}

// FunctionsReader is told what the bucket holds, from one goroutine.
type FunctionsReader interface {
	// Apply takes the newest state of one function.
	Apply(function.State)
	// Remove says that the function is gone.
	Remove(name string)
	// Applied says that everything up to the revision has been told.
	Applied(revision uint64)
}

const (
	// staleAfter is how long a reader may be behind the announced revision before it watches anew.
	staleAfter = 2 * time.Second
	// watchAnswer bounds the wait for the server to accept a watch.
	watchAnswer = time.Second
	// watchStart bounds the wait for the keys that are there when a watch starts.
	watchStart = 10 * time.Second
)

// Watch tells reader every state and each change until ctx ends. A watch can go stale without an error when a server
// dies, so it starts anew on every reconnect and when the announced revision has been ahead for too long.
func (f *Functions) Watch(ctx context.Context, reader FunctionsReader) error {
	reconnects, stop := f.bus.Reconnects()
	defer stop()
	announced := make(chan uint64, 1)
	stopAnnounced, err := f.bus.subscribe(f.bus.RevisionSubject(), func(msg *nats.Msg) {
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
	w := &functionsWatch{functions: f, reader: reader, known: map[string]uint64{}, announced: announced, reconnects: reconnects}
	told := ""
	for ctx.Err() == nil {
		err := w.run(ctx)
		if err == nil || ctx.Err() != nil {
			told = ""
			continue
		}
		if err.Error() != told { // while the server is away it is the same each time
			told = err.Error()
			f.bus.notify("watch of the functions ended", err)
		}
		sleep(ctx, reconnectWait)
	}
	return nil
}

// functionsWatch is the state of Functions.Watch over all the watches that it starts. One goroutine owns it.
type functionsWatch struct {
	functions  *Functions
	reader     FunctionsReader
	known      map[string]uint64 // revision of each function that the reader knows
	applied    uint64
	behind     time.Time // since when the announced revision has been ahead, zero if it is not
	announced  <-chan uint64
	reconnects <-chan struct{}
}

// run is one watch: it ends when another one should be started.
func (w *functionsWatch) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// The context of a watch is that of its start too, whose answer never comes if the server dies just then.
	overdue := time.AfterFunc(watchAnswer, cancel)
	watcher, err := w.functions.kv.WatchAll(ctx)
	overdue.Stop()
	if err != nil {
		return fmt.Errorf("watch the functions: %w", err)
	}
	defer stopWatch(watcher)
	w.behind = time.Time{}
	if err := w.initial(ctx, watcher.Updates()); err != nil {
		return err
	}
	return w.follow(ctx, watcher.Updates())
}

// initial reads what is there, and removes what is not there any more.
func (w *functionsWatch) initial(ctx context.Context, updates <-chan jetstream.KeyValueEntry) error {
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
				w.reader.Applied(w.applied)
				return nil
			}
			seen[entry.Key()] = true
			w.apply(entry)
		case <-w.announced: // not yet of interest
		case <-timeout:
			return errors.New("the first answer of the watch is overdue")
		case <-ctx.Done():
			return nil
		}
	}
}

func (w *functionsWatch) follow(ctx context.Context, updates <-chan jetstream.KeyValueEntry) error {
	for {
		select {
		case entry, ok := <-updates:
			if !ok {
				return errors.New("the watch ended")
			}
			if entry != nil {
				w.apply(entry)
				w.reader.Applied(w.applied)
			}
		case revision := <-w.announced:
			if w.stale(revision, time.Now()) {
				return fmt.Errorf("it is at revision %d, the bucket is at %d", w.applied, revision)
			}
		case <-w.reconnects:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// apply tells one entry if it is newer than what is known of its key: a watch repeats all keys when it starts.
func (w *functionsWatch) apply(entry jetstream.KeyValueEntry) {
	name, revision := entry.Key(), entry.Revision()
	w.applied = max(w.applied, revision)
	if revision <= w.known[name] {
		return
	}
	w.known[name] = revision
	if entry.Operation() != jetstream.KeyValuePut {
		w.reader.Remove(name)
		return
	}
	var state function.State
	if err := json.Unmarshal(entry.Value(), &state); err != nil || state.Function.Name != name {
		w.functions.bus.notify("state of function "+name+" is passed over", errors.Join(err, errors.New("not a state of this function")))
		return
	}
	w.reader.Apply(state)
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

func (w *functionsWatch) forgetExcept(seen map[string]bool) {
	for name := range w.known {
		if !seen[name] {
			delete(w.known, name)
			w.reader.Remove(name)
		}
	}
}

func (w *functionsWatch) stale(announced uint64, now time.Time) bool {
	if announced <= w.applied {
		w.behind = time.Time{}
		return false
	}
	if w.behind.IsZero() {
		w.behind = now
	}
	return now.Sub(w.behind) > staleAfter
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// Load returns all states, by function.
func (f *Functions) Load(ctx context.Context) (states map[string]function.State, err error) {
	err = retry(ctx, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, watchStart)
		defer cancel()
		reader := &statesReader{states: map[string]function.State{}, done: cancel}
		if err := f.Watch(ctx, reader); err != nil {
			return err
		}
		if !reader.complete {
			return ErrUnavailable
		}
		states = reader.states
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the states of the functions: %w", err)
	}
	return states, nil
}

// statesReader collects what a watch tells first, then ends it.
type statesReader struct {
	states   map[string]function.State
	complete bool
	done     context.CancelFunc
}

func (r *statesReader) Apply(state function.State) { r.states[state.Function.Name] = state }
func (r *statesReader) Remove(name string)         { delete(r.states, name) }
func (r *statesReader) Applied(uint64)             { r.complete = true; r.done() }
