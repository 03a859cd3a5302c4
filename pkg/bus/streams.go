package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// duplicateWindow is how long the calls stream remembers a Nats-Msg-Id: twice PublishPatience, so that a repeated publish is
// never stored twice, and no more, because each id costs about 100 bytes for as long.
func (s Settings) duplicateWindow() time.Duration {
	return max(leastDuplicateWindow, 2*s.PublishPatience)
}

const leastDuplicateWindow = time.Second

// shares are the most bytes of each stream that holds what was accepted, and of the output of runs, -1 for no limit.
type shares struct{ calls, bodies, events, jobs, logs int64 }

// storage shares out the storage limit: the server keeps the room of a stream with a limit free for it, so they must not be more
// together.
func (s Settings) storage() shares {
	limit := s.StorageLimit
	if limit == 0 {
		return shares{-1, -1, -1, -1, -1}
	}
	bodies, small := max(1, limit*6/16), max(1, limit/16)
	return shares{max(1, limit-bodies-3*small), bodies, small, small, small}
}

// maxConsumers replaces the server's default limit of 1,000 consumers a stream: one a function that is awake.
const maxConsumers = 100_000

// deadMaxAge is how long dead letters are kept.
const deadMaxAge = 30 * 24 * time.Hour

// Oldest server that has what is used here: the reset of a consumer (NATS ADR-60) is of 2.14.
const oldestMajor, oldestMinor = 2, 14

var errTooOld = errors.New("the NATS server is too old")

// EnsureCalls makes the calls stream if it is not there and brings its limits up to date. It waits for the server for
// as long as ctx lasts.
func (b *Bus) EnsureCalls(ctx context.Context) error {
	return b.ensure(ctx, "calls stream", func(ctx context.Context) error {
		stream, err := b.js.CreateOrUpdateStream(ctx, b.callsConfig())
		if err != nil {
			return err
		}
		b.useCalls(stream)
		return nil
	})
}

// AwaitCalls waits for the calls stream, which another service makes, for as long as ctx lasts. It is for a service that may not make
// one: whoever may change a stream may read and forge what is in others, since a stream can copy from others and to any subject.
func (b *Bus) AwaitCalls(ctx context.Context) error {
	return b.awaitStream(ctx, "calls stream", b.CallsStream(), b.useCalls)
}

// awaitStream waits for a stream that another service makes.
func (b *Bus) awaitStream(ctx context.Context, what, name string, use func(jetstream.Stream)) error {
	return b.ensure(ctx, what, func(ctx context.Context) error {
		stream, err := b.js.Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return errors.New("no service has made it")
		}
		if err != nil {
			return err
		}
		use(stream)
		return nil
	})
}

func (b *Bus) useCalls(stream jetstream.Stream) {
	b.created.Store(stream.CachedInfo().Created.UnixMilli())
	b.calls.Store(&stream)
}

// callsStream returns the handle of the calls stream, looking it up once for a Bus that has not made it itself.
func (b *Bus) callsStream(ctx context.Context) (jetstream.Stream, error) {
	return b.handle(ctx, &b.calls, b.CallsStream())
}

// handle returns what known has, or looks the stream up.
func (b *Bus) handle(ctx context.Context, known *atomic.Pointer[jetstream.Stream], name string) (jetstream.Stream, error) {
	if stream := known.Load(); stream != nil {
		return *stream, nil
	}
	stream, err := b.js.Stream(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("look up the stream %s: %w", name, err)
	}
	known.Store(&stream)
	return stream, nil
}

func (b *Bus) callsConfig() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:                 b.CallsStream(),
		Description:          "Calls that wait for their function, one subject each",
		Subjects:             []string{b.AllCalls()},
		Retention:            jetstream.WorkQueuePolicy,
		Storage:              jetstream.FileStorage,
		Replicas:             b.config.Replicas,
		Discard:              jetstream.DiscardNew,
		DiscardNewPerSubject: true,
		MaxMsgsPerSubject:    b.config.Settings.QueueLimit,
		MaxBytes:             b.config.Settings.storage().calls,
		MaxMsgSize:           int32(min(b.maxCallSize(), 1<<31-1)),
		MaxConsumers:         maxConsumers,
		Duplicates:           b.config.Settings.duplicateWindow(),
		AllowDirect:          true,
		AllowAtomicPublish:   true,
	}
}

// EnsureDead makes the stream of dead letters.
func (b *Bus) EnsureDead(ctx context.Context) error {
	return b.ensure(ctx, "dead letters stream", func(ctx context.Context) error {
		_, err := b.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
			Name:        b.DeadStream(),
			Description: "Calls and requests of jobs that were given up, whole, with the reason",
			Subjects:    []string{b.AllDead(), b.AllDeadJobs()},
			Retention:   jetstream.LimitsPolicy,
			Storage:     jetstream.FileStorage,
			Replicas:    b.config.Replicas,
			MaxAge:      deadMaxAge,
			AllowDirect: true,
		})
		return err
	})
}

// ensureBucket makes a key-value bucket.
func (b *Bus) ensureBucket(ctx context.Context, config jetstream.KeyValueConfig) (kv jetstream.KeyValue, err error) {
	config.Replicas, config.Storage, config.History = b.config.Replicas, jetstream.FileStorage, 1
	err = b.ensure(ctx, config.Bucket+" bucket", func(ctx context.Context) error {
		kv, err = b.js.CreateOrUpdateKeyValue(ctx, config)
		return err
	})
	return kv, err
}

// awaitBucket waits for a bucket that another service makes.
func (b *Bus) awaitBucket(ctx context.Context, name string) (kv jetstream.KeyValue, err error) {
	err = b.ensure(ctx, name+" bucket", func(ctx context.Context) error {
		kv, err = b.js.KeyValue(ctx, name)
		if errors.Is(err, jetstream.ErrBucketNotFound) {
			return errors.New("no service has made it")
		}
		return err
	})
	return kv, err
}

// tellAfter is how long a service waits in silence for what another one makes: where all start together, one is always first.
const tellAfter = time.Second

// ensure makes or finds something on the server, waiting for it until ctx ends.
func (b *Bus) ensure(ctx context.Context, what string, get func(context.Context) error) error {
	start := time.Now()
	err := retry(ctx, func(ctx context.Context) error {
		err := b.tryEnsure(ctx, get)
		if time.Since(start) > tellAfter {
			b.notices.tell("the "+what+" is not there yet", err)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("get the %s: %w", what, err)
	}
	return nil
}

func (b *Bus) tryEnsure(ctx context.Context, get func(context.Context) error) error {
	if err := b.supported(); err != nil {
		return err
	}
	b.maxPayload.Store(b.conn.MaxPayload()) // the handler of the connection may still be about to
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err := get(ctx)
	if errors.Is(err, nats.ErrNoResponders) {
		return fmt.Errorf("JetStream does not answer: it is not enabled on the server, or not up yet: %w", err)
	}
	return err
}

// supported refuses a server that is older than what is used, by its version.
func (b *Bus) supported() error {
	var major, minor int
	version := b.conn.ConnectedServerVersion()
	if version == "" { // it is not connected
		return cmp.Or(b.Connected(), ErrUnavailable)
	}
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil {
		return fmt.Errorf("%w: version %q is not understood", errTooOld, version)
	}
	if major < oldestMajor || major == oldestMajor && minor < oldestMinor {
		return fmt.Errorf("%w: it is %s, Sluice needs %d.%d or newer", errTooOld, version, oldestMajor, oldestMinor)
	}
	return nil
}
