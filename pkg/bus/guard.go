package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// ErrReplaced says that the calls stream is gone, or is another one: the server has lost its data.
var ErrReplaced = errors.New("NATS has lost the calls stream that was there: all that is remembered of it is void")

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
	reconnects, stop := b.Reconnects()
	defer stop()
	// What calls' ids are made of is what counts; a Bus that has none of them takes what it sees first.
	first := int64(0)
	known := func() int64 { return cmp.Or(b.created.Load(), first) }
	for {
		created, err := b.callsCreated(ctx, known)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case known() != 0 && created != known():
			return fmt.Errorf("%w (it was made at %s, now there is one of %s)", ErrReplaced, time.UnixMilli(known()).UTC(), time.UnixMilli(created).UTC())
		}
		first = created
		select {
		case <-reconnects:
		case <-ctx.Done():
			return nil
		}
	}
}

// callsCreated waits for an answer about the calls stream: when it was made, in Unix milliseconds. One that is known must not be
// missing for long.
func (b *Bus) callsCreated(ctx context.Context, known func() int64) (int64, error) {
	var missing time.Time
	for ctx.Err() == nil {
		created, err := b.lookUpCalls(ctx)
		switch {
		case err == nil:
			return created, nil
		case !errors.Is(err, jetstream.ErrStreamNotFound):
			missing = time.Time{}
		case missing.IsZero():
			missing = time.Now()
		case known() != 0 && time.Since(missing) > lostAfter:
			return 0, ErrReplaced
		}
		sleep(ctx, guardPause)
	}
	return 0, ctx.Err()
}

func (b *Bus) lookUpCalls(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	stream, err := b.js.Stream(ctx, b.CallsStream())
	if err != nil {
		return 0, fmt.Errorf("look up the calls stream: %w", err)
	}
	return stream.CachedInfo().Created.UnixMilli(), nil
}
