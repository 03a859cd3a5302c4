package bus

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
)

func TestWatchIsCurrentSoonAfterARestart(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	functions := openFunctions(t, connectOnly(t, server.URL()))
	r := watch(t, openFunctions(t, connectOnly(t, server.URL())))
	put(t, functions, "gone", 1)
	last := put(t, functions, "a", 1)
	eventually(t, "the state is told", r.has(last, map[string]int{"gone": 1, "a": 1}))
	server.Stop()
	eventually(t, "the loss is noticed", func() bool { return functions.bus.Connected() != nil })
	server.Start()
	awaitConnection(t, functions.bus)
	if err := functions.Delete(within(t, patience), "gone"); err != nil {
		t.Fatal(err)
	}
	last = put(t, functions, "a", 2)
	eventually(t, "changes after the restart are told", r.has(last, map[string]int{"a": 2}))
	last = put(t, functions, "a", 3)
	eventually(t, "later ones too", r.has(last, map[string]int{"a": 3}))
}

// It is not left to the client library, which may need its 20 s: a watch begins anew with each connection.
func TestWatchBeginsAnewWithAConnection(t *testing.T) {
	reconnects := make(chan struct{}, 1)
	w := &follower{reconnects: reconnects}
	reconnects <- struct{}{}
	if err := w.follow(within(t, patience), nil); err != nil || len(reconnects) > 0 {
		t.Errorf("%v, %d are not seen", err, len(reconnects))
	}
}

// The server can lose the consumer behind a watch, and the client library does not notice for 10 s: the announced revision tells.
func TestStaleWatchNoticesByTheAnnouncedRevision(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	b := connectOnly(t, server.URL())
	functions := openFunctions(t, b)
	r := watch(t, openFunctions(t, connectOnly(t, server.URL())))
	put(t, functions, "removed", 1)
	last := put(t, functions, "a", 1)
	eventually(t, "the state is told", r.has(last, map[string]int{"a": 1, "removed": 1}))
	cutWatches(t, b, b.FunctionsBucket())
	if err := functions.Delete(within(t, patience), "removed"); err != nil {
		t.Fatal(err)
	}
	if err := functions.kv.PurgeDeletes(within(t, patience), jetstream.DeleteMarkersOlderThan(-1)); err != nil {
		t.Fatal(err) // so that nothing is left to tell of the removal
	}
	last = put(t, functions, "a", 2)
	<-time.After(quiet)
	if r.has(last, map[string]int{"a": 2})() {
		t.Fatal("the watch was not cut")
	}
	start := time.Now()
	eventually(t, "the reader is current", func() bool {
		if err := b.AnnounceRevision(last); err != nil {
			t.Fatal(err)
		}
		return r.has(last, map[string]int{"a": 2})()
	})
	if took := time.Since(start); took < staleAfter {
		t.Errorf("current after %v", took)
	}
}

// cutWatches deletes the consumers behind all watches of the bucket on the server.
func cutWatches(t *testing.T, b *Bus, bucket string) {
	t.Helper()
	ctx := within(t, patience)
	stream, err := b.js.Stream(ctx, "KV_"+bucket)
	if err != nil {
		t.Fatal(err)
	}
	cut := 0
	for name := range stream.ConsumerNames(ctx).Name() {
		if err := stream.DeleteConsumer(ctx, name); err != nil {
			t.Fatal(err)
		}
		cut++
	}
	if cut == 0 {
		t.Fatal("there is no watch")
	}
}

// A reader that is behind for a moment only does not watch anew.
func TestAnnouncedRevisionsOfTheNearFutureAreNoAlarm(t *testing.T) {
	w := &follower{revision: 5}
	now := time.Now()
	for _, step := range []struct {
		announced uint64
		after     time.Duration
		stale     bool
	}{{5, 0, false}, {6, 0, false}, {6, staleAfter, false}, {6, staleAfter + 1, true}, {5, staleAfter + 2, false}, {7, staleAfter + 3, false}, {7, 2 * staleAfter, false}} {
		if got := w.stale(step.announced, now.Add(step.after)); got != step.stale {
			t.Errorf("%+v: got %v", step, got)
		}
	}
}

// A watch that ends while values wait that nobody reads leaves no goroutine behind (goleak).
func TestWatchThatIsNotReadToItsEndLeavesNothing(t *testing.T) {
	t.Parallel()
	functions := openFunctions(t, connectOnly(t, bustest.Start(t).URL()))
	for i := range 600 {
		put(t, functions, "f"+string(rune('a'+i%26))+string(rune('a'+i/26)), i)
	}
	watcher, err := functions.kv.WatchAll(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "values wait", func() bool { return len(watcher.Updates()) == cap(watcher.Updates()) })
	stopWatch(watcher)
}
