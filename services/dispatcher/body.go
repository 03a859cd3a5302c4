package dispatcher

import (
	"cmp"
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/upstream"
)

const (
	// bodyDelay is how long a call is handed back whose body cannot be read now.
	bodyDelay = time.Second
	// bodyStall is from when on a body that nobody could read is the reason why the function has not answered.
	bodyStall = time.Second
)

// errStalled says that the object store did not go on.
var errStalled = errors.New("the object store gives no more of the body")

// decideBody says what happens to a call whose body cannot be had. That NATS is away is nobody's failed attempt.
func decideBody(err error) outcome {
	if errors.Is(err, context.Canceled) {
		return stopped()
	}
	if errors.Is(err, bus.ErrBodyLost) {
		return outcome{verdict: bury, reason: "body_lost", detail: shorten(err.Error()), unsent: true}
	}
	return outcome{verdict: handBack, delay: bodyDelay, reason: "body_unavailable", detail: shorten(err.Error()), unsent: true}
}

// withoutBody says the same, and why a call that is handed back is delivered late.
func (c *call) withoutBody(err error) outcome {
	result := decideBody(err)
	if result.reason == "body_unavailable" {
		c.worker.dispatcher.deps.Logger.Warn().Err(err).Str("function", c.worker.name).Str("call", c.delivery.ID).Dur("delay", result.delay).
			Msg("the call's body cannot be read: the attempt does not count")
	}
	return result
}

// storedBody is a body in the object store on its way to a function.
type storedBody struct {
	failed  atomic.Pointer[error] // of the object store
	reading atomic.Int64          // since when it is asked for more, in Unix nanoseconds; 0 while it is not
}

// openBody gives the request its body if that is in the object store. The returned value is nil if it is not.
func (c *call) openBody(ctx context.Context, request *upstream.Request) (*storedBody, error) {
	if !c.delivery.Stored() {
		return nil, nil //nolint:nilnil // there is none
	}
	b := &storedBody{}
	body, size, err := b.open(ctx, c.delivery)
	if err != nil {
		return nil, err
	}
	request.Body, request.Stream, request.Size = nil, body, size
	request.Reopen = func() (io.ReadCloser, error) {
		body, _, err := b.open(ctx, c.delivery)
		return body, err
	}
	return b, nil
}

func (b *storedBody) open(ctx context.Context, delivery *bus.Delivery) (io.ReadCloser, int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	body, size, err := delivery.OpenBody(ctx)
	if err != nil {
		cancel()
		b.failed.Store(&err)
		return nil, 0, err
	}
	return &bodyReader{of: b, body: body, cancel: cancel}, size, nil
}

// failure is why the attempt that was answered so has failed, if it was the object store.
func (b *storedBody) failure(answer upstream.Answer) error {
	switch {
	case b == nil:
		return nil
	case answer.Kind == upstream.Timeout:
		if since := b.reading.Load(); since != 0 && time.Since(time.Unix(0, since)) > bodyStall {
			return errStalled
		}
	case answer.Kind == upstream.Broken:
		if err := b.failed.Load(); err != nil {
			return *err
		}
	}
	return nil
}

// bodyReader notes what goes wrong with the reading. The transport reads it in one goroutine, and may close it in another one meanwhile.
type bodyReader struct {
	of     *storedBody
	cancel context.CancelFunc // ends what is read
	closed atomic.Bool
	mu     sync.Mutex
	body   io.ReadCloser // guarded by mu
}

// Read implements io.Reader.
func (r *bodyReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.of.reading.Store(time.Now().UnixNano())
	n, err := r.body.Read(p)
	if r.closed.Load() { // because the function has gone, for one: what reading says then is of no interest
		return n, err
	}
	r.of.reading.Store(0)
	if err != nil && !errors.Is(err, io.EOF) {
		r.of.failed.Store(&err)
	}
	return n, err
}

// Close implements io.Closer.
func (r *bodyReader) Close() error {
	r.closed.Store(true)
	r.cancel()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.body.Close()
}

// Bodies that nobody refers to any more are looked for this often, and removed when they are this old: a process that is killed at the
// wrong moment leaves one.
const (
	bodySweepInterval = 10 * time.Minute
	bodySweepGrace    = 10 * time.Minute
)

// sweepBodies removes them, once the functions are known and then again and again, until ctx ends.
func (d *Dispatcher) sweepBodies(ctx context.Context) {
	if !d.awaitKnown(ctx) {
		return
	}
	ticker := time.NewTicker(cmp.Or(d.config.BodySweepInterval, bodySweepInterval))
	defer ticker.Stop()
	for {
		removed, err := d.deps.Bus.SweepBodies(ctx, cmp.Or(d.config.BodySweepGrace, bodySweepGrace))
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			d.deps.Logger.Warn().Err(err).Msg("bodies that no call refers to could not be looked for: it will be tried again")
		case removed > 0:
			d.deps.Logger.Info().Int("bodies", removed).Msg("bodies that no call refers to were removed")
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}
