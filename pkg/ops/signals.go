package ops

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// sameSignal is how long after the first signal another one is taken for the same: a terminal, make and timeout(1) each
// send one to the whole process group.
const sameSignal = 500 * time.Millisecond

// SignalContexts returns the two contexts that Lifecycle.Run wants: take ends with the first SIGINT or SIGTERM, work
// with the second, unless it comes at once after it; a third one has the system's default action and kills. Their causes name the signal. release ends both and
// gives the signals back.
func SignalContexts(parent context.Context) (take, work context.Context, release func()) {
	work, interrupt := context.WithCancelCause(parent)
	take, stop := context.WithCancelCause(work)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)

	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer signal.Stop(signals)
		first := time.Time{}
		for _, end := range []context.CancelCauseFunc{stop, interrupt} {
			got, ok := nextSignal(work, signals, first)
			if !ok {
				return
			}
			first = time.Now()
			end(fmt.Errorf("received %s", got))
		}
	}()
	return take, work, func() {
		interrupt(context.Canceled)
		<-ended
	}
}

// nextSignal waits for a signal that is not the same as the one at first.
func nextSignal(ctx context.Context, signals <-chan os.Signal, first time.Time) (got os.Signal, ok bool) {
	for {
		select {
		case got := <-signals:
			if time.Since(first) > sameSignal {
				return got, true
			}
		case <-ctx.Done():
			return nil, false
		}
	}
}
