package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// ErrReplaced says that a stream is gone, or is another one: the server has lost its data.
var ErrReplaced = errors.New("NATS has lost a stream that was there: all that is remembered of it is void")

const (
	// lostAfter is for how long a server must say that there is no stream before it is taken for lost.
	lostAfter = 3 * time.Second
	// guardPause is the pause between two looks for it.
	guardPause = 250 * time.Millisecond
)

// Guard looks, after each connection, whether the calls stream is still the one that was there first. It returns ErrReplaced when it
// is not, as after a server without a persistent volume was replaced, and nil when ctx ends. Ids of calls, handles of streams and
// revisions are void then, and the streams must be made anew: what a service does when it starts, so that is what it should do.
func (b *Bus) Guard(ctx context.Context) error {
	return (&guard{bus: b, stream: b.CallsStream(), made: b.created.Load}).run(ctx)
}

// GuardJobs is Guard for the bucket of runs, which remembers what was started. It is for the jobrunner.
func (b *Bus) GuardJobs(ctx context.Context) error {
	return (&guard{bus: b, stream: valuesStream(b.RunsBucket()), made: func() int64 { return 0 }}).run(ctx)
}

// guard is the state of one Guard.
type guard struct {
	bus    *Bus
	stream string
	// made is when the stream was made that the Bus works with, 0 while there is none. What ids are made of is what counts; without it, first is
	// what was seen first. Both are in Unix milliseconds.
	made  func() int64
	first int64
}

func (g *guard) known() int64 { return cmp.Or(g.made(), g.first) }

func (g *guard) run(ctx context.Context) error {
	reconnects, stop := g.bus.Reconnects()
	defer stop()
	for {
		created, err := g.created(ctx)
		known := g.known()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case known != 0 && created != known:
			return fmt.Errorf("%w (%s was made at %s, now there is one of %s)", ErrReplaced, g.stream, time.UnixMilli(known).UTC(), time.UnixMilli(created).UTC())
		}
		g.first = created
		select {
		case <-reconnects:
		case <-ctx.Done():
			return nil
		}
	}
}

// created waits for an answer about the stream: when it was made. One that is known must not be missing for long.
func (g *guard) created(ctx context.Context) (int64, error) {
	var missing time.Time
	for ctx.Err() == nil {
		created, err := g.lookUp(ctx)
		switch {
		case err == nil:
			return created, nil
		case !errors.Is(err, jetstream.ErrStreamNotFound):
			missing = time.Time{}
		case missing.IsZero():
			missing = time.Now()
		case g.known() != 0 && time.Since(missing) > lostAfter:
			return 0, fmt.Errorf("%w: %s", ErrReplaced, g.stream)
		}
		sleep(ctx, guardPause)
	}
	return 0, ctx.Err()
}

func (g *guard) lookUp(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	stream, err := g.bus.js.Stream(ctx, g.stream)
	if err != nil {
		return 0, fmt.Errorf("look up the stream %s: %w", g.stream, err)
	}
	return stream.CachedInfo().Created.UnixMilli(), nil
}
