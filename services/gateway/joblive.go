package gateway

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
)

// lastOutput is how long a read waits for what a run has printed, after the run's end.
const lastOutput = 2 * time.Second

// liveOutput is the output of a run that is not over, as the leading jobrunner reads it.
type liveOutput struct {
	from *bus.LogReader
	// over is closed when the run is over. Then its output ends, though it may seem to go on.
	over <-chan struct{}
	// leave ends the wait for that, and cancel the output.
	leave  func()
	cancel context.CancelFunc
	watch  sync.WaitGroup
	// reading is since when a read waits, in nanoseconds of Unix, 0 if none does.
	reading atomic.Int64
	// silent says that the run is over and nothing came for long after it.
	silent atomic.Bool
}

// openLive asks for the output of a run until ctx ends, the run is over, or the gateway stops. The error wraps bus.ErrNoLog if there is none.
func (g *Gateway) openLive(ctx context.Context, request bus.LogRequest, over <-chan struct{}) (*liveOutput, error) {
	ctx, cancel := context.WithCancel(ctx)
	from, err := g.deps.Bus.OpenLog(ctx, request)
	if err != nil {
		cancel()
		return nil, err
	}
	o := &liveOutput{from: from, over: over, leave: func() {}, cancel: cancel}
	o.watch.Go(func() {
		defer cancel()
		select {
		case <-over:
			o.silent.Store(o.awaitSilence(ctx, g.closing))
		case <-g.closing:
		case <-ctx.Done():
		}
	})
	return o, nil
}

// awaitSilence returns when a read has waited for long, which is true, or nobody waits for that. One that does not wait, because the caller is slow, may go on.
func (o *liveOutput) awaitSilence(ctx context.Context, closing <-chan struct{}) bool {
	look := time.NewTicker(lastOutput)
	defer look.Stop()
	for {
		select {
		case now := <-look.C:
			if since := o.reading.Load(); since != 0 && now.Sub(time.Unix(0, since)) >= lastOutput {
				return true
			}
		case <-closing:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// Read reads the output to its end, or to that of the run.
func (o *liveOutput) Read(p []byte) (int, error) {
	n, err := o.next(p)
	if err != nil {
		select {
		case <-o.over:
			return n, io.EOF
		default:
		}
	}
	return n, err
}

// next reads the output. An error that is not io.EOF says that it is cut.
func (o *liveOutput) next(p []byte) (int, error) {
	o.reading.Store(time.Now().UnixNano())
	defer o.reading.Store(0)
	return o.from.Read(p)
}

// Close ends it.
func (o *liveOutput) Close() error {
	o.cancel()
	o.watch.Wait()
	o.leave()
	return o.from.Close()
}

// outputProblem leaves it to the caller to say that there is no output.
func outputProblem(err error) error {
	if errors.Is(err, bus.ErrNoLog) {
		return err
	}
	return problem(silentQueue, "the output could not be read: %v", err)
}
