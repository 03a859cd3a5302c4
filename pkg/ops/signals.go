package ops

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// SignalContexts returns the two contexts that Lifecycle.Run wants: take ends with the first SIGINT or SIGTERM, work
// with the second; a third one has the system's default action and kills. Their causes name the signal. release ends both and
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
		for _, end := range []context.CancelCauseFunc{stop, interrupt} {
			select {
			case got := <-signals:
				end(fmt.Errorf("received %s", got))
			case <-work.Done():
				return
			}
		}
	}()
	return take, work, func() {
		interrupt(context.Canceled)
		<-ended
	}
}
