package bus

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
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
