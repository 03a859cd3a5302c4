package bus

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
	"github.com/sluicefaas/sluice/pkg/function"
)

// A watch that is interrupted at any moment of its beginning returns: the library then never closes its channel.
func TestInterruptedWatchReturns(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.Start(t))
	a := openAttempts(t, b)
	record(t, a, "f", b.callID(7), Attempt{Tries: 1})
	start := time.Now()
	load(t, a, "f")
	whole := 2 * time.Since(start)
	returned := make(chan struct{})
	go func() {
		defer close(returned)
		for range 400 {
			ctx, cancel := context.WithTimeout(context.Background(), rand.N(whole))
			_, _ = a.Load(ctx, "f") // an error, or what is there
			cancel()
		}
	}()
	select {
	case <-returned:
	case <-time.After(6 * patience):
		t.Fatal("an interrupted watch does not return")
	}
}

// A watch that is interrupted while it tells what is there never says that this is all.
func TestInterruptedWatchIsNotComplete(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.Start(t))
	store, err := b.OpenFunctions(within(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Put(within(t, patience), function.State{Function: function.Function{Name: "f"}}); err != nil {
		t.Fatal(err)
	}
	entry, err := store.kv.Get(within(t, patience), "f")
	if err != nil {
		t.Fatal(err)
	}
	interrupted, interrupt := context.WithCancel(context.Background())
	interrupt()
	for range 100 { // which of what is ready is taken first is left to chance
		updates := make(chan jetstream.KeyValueEntry, 3)
		updates <- entry
		updates <- entry
		w := &follower{bus: b, known: map[string]knownKey{}, watched: watched{
			apply: func(string, []byte, uint64) error { return nil }, remove: func(string) {},
			applied: func(uint64) { t.Fatal("a part is said to be all") },
		}}
		if err := w.read(interrupted, updates); err != nil {
			t.Fatal(err)
		}
	}
}
