package bus

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// bodiesTTL removes what everything else has overlooked: a dead letter is the last to need a body.
const bodiesTTL = deadMaxAge + 24*time.Hour

// Metadata of a stored body. It says who needs the body, so that SweepBodies can tell what nobody needs.
const (
	bodyFunction = "function"
	// bodyAfter is the id of the last call that was queued before the body was stored.
	bodyAfter = "after"
	// bodyCall is the id of the body's call, once that is known to be queued.
	bodyCall = "call"
	// bodyDead is the place of the call's dead letter, once there is one.
	bodyDead = "dead"
)

// storedBody is what a message says of a body that is in the object store.
type storedBody struct {
	name string
	size int64
	// sized says that the size was given.
	sized bool
}

// complete reports whether name and size are both there, or neither.
func (s storedBody) complete() bool { return (s.name != "") == s.sized }

// EnsureBodies makes the object store of large bodies. It is for the dispatcher.
func (b *Bus) EnsureBodies(ctx context.Context) error {
	return b.ensure(ctx, "object store of bodies", func(ctx context.Context) error {
		_, err := b.js.CreateOrUpdateObjectStore(ctx, jetstream.ObjectStoreConfig{
			Bucket: b.BodiesBucket(), Description: "Bodies of calls that are too large for a message", TTL: bodiesTTL,
			MaxBytes: b.config.Settings.storage().bodies, Storage: jetstream.FileStorage, Replicas: b.config.Replicas,
		})
		return err
	})
}

// InlineBody is the size in bytes up to which a body travels in its message; larger ones go to the object store (claim check). 0 while the server has
// not been reached.
func (b *Bus) InlineBody() int64 { return min(b.MaxBody(), b.maxCallSize()*3/4) }

// publishLarge stores the body of a call and queues the call. A process that is killed in between leaves what SweepBodies finds.
func (b *Bus) publishLarge(ctx context.Context, call Call) (id string, err error) {
	body, err := b.putBody(ctx, &call)
	if err != nil {
		return "", err
	}
	ack, err := b.publishAlone(ctx, b.encode(call), nuid.Next())
	if err != nil {
		body.refused(ctx, err)
		return "", err
	}
	id = b.callID(ack.Sequence)
	body.queued(ctx, id)
	return id, nil
}

// bodies is the object store of large bodies.
func (b *Bus) bodies() objects { return objects{bus: b, bucket: b.BodiesBucket(), lost: ErrBodyLost} }

// body is a stored body as the one sees it who stores it.
type body struct{ object }

// putBody stores what call.Reader brings, and puts the name of it into the call.
func (b *Bus) putBody(ctx context.Context, call *Call) (*body, error) {
	after, err := b.lastCall(ctx)
	if err != nil {
		return nil, err
	}
	stored := b.newBody(call.Function, after)
	if err := stored.put(ctx, call.Reader, call.Size); err != nil {
		stored.discard(ctx)
		return nil, fmt.Errorf("store the body: %w", err)
	}
	call.stored = storedBody{name: stored.info.Name, size: int64(stored.info.Size), sized: true}
	call.Reader, call.Body = nil, nil
	return stored, nil
}

// newBody names a body. Nobody can guess the name, because a message with it is given the body.
func (b *Bus) newBody(function, after string) *body {
	o := b.bodies().newObject()
	o.info.Metadata = map[string]string{bodyFunction: function, bodyAfter: after}
	return &body{*o}
}

// lastCall is the id of the newest call of all functions.
func (b *Bus) lastCall(ctx context.Context) (id string, err error) {
	ctx, cancel := b.patiently(ctx)
	defer cancel()
	err = retry(ctx, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		stream, err := b.callsStream(ctx)
		if err != nil {
			return err
		}
		info, err := stream.Info(ctx)
		if err != nil {
			return fmt.Errorf("look at the calls stream: %w", err)
		}
		id = formatCallID(info.Created.UnixMilli(), info.State.LastSeq)
		return nil
	})
	return id, err
}

// put stores the body, then says what it is. size is what it must have, -1 for any.
func (s *body) put(ctx context.Context, r io.Reader, size int64) error {
	if err := s.fill(ctx, r, size); err != nil {
		return err
	}
	return s.describe(ctx)
}

// queued says whose body it is. It may be nil, and it may fail: SweepBodies looks for the call then. Who has taken the call meanwhile
// may have said more, or removed the body; that is not undone.
func (s *body) queued(ctx context.Context, id string) {
	if s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	s.info.Metadata[bodyCall] = id
	_ = s.describe(ctx)
}

// refused removes the body of a call that could not be queued, if that is for sure. It may be nil.
func (s *body) refused(ctx context.Context, err error) {
	if permanent(err) {
		s.discard(ctx)
	}
}

// discard removes the body, as far as the server answers. It may be nil.
func (s *body) discard(ctx context.Context) {
	if s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	_ = s.store.remove(ctx, s.info.Name, s.info.NUID) // SweepBodies removes what is left
}
