package bus

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// sweepSkew is by how much the times of a body and of the messages that name it may differ from what they should be: the publisher's
// patience, and what the clocks of two servers may differ.
const sweepSkew = time.Hour

// SweepBodies removes the bodies that no call and no dead letter refers to, if they are older than grace, and returns how many. What a process
// has left that was killed at the wrong moment is found by it. grace must be longer than the time between two parts of a body that is being
// stored, and between its storing and the call's.
func (b *Bus) SweepBodies(ctx context.Context, grace time.Duration) (removed int, err error) {
	names, err := b.bodyNames(ctx)
	if err != nil {
		return 0, fmt.Errorf("list the stored bodies: %w", err)
	}
	var failed error
	for name := range names {
		gone, err := b.sweepBody(ctx, name, time.Now().Add(-grace))
		switch {
		case err != nil && ctx.Err() != nil:
			return removed, fmt.Errorf("sweep the stored bodies: %w", err)
		case err != nil: // the others can be swept all the same
			failed = fmt.Errorf("sweep the stored body %s: %w", name, err)
		case gone:
			removed++
		}
	}
	return removed, failed
}

// bodyNames are those of all bodies, also of those that have parts but no description.
func (b *Bus) bodyNames(ctx context.Context) (map[string]bool, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	stream, err := b.js.Stream(ctx, b.bodies().stream())
	if err != nil {
		return nil, err
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(objectSubjects(b.BodiesBucket())))
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for subject := range info.State.Subjects {
		if name, ok := b.bodyOf(subject); ok {
			names[name] = true
		}
	}
	return names, nil
}

// bodyOf is the name of the body to which a subject of the object store belongs. Objects with names that are not ours are left alone.
func (n Names) bodyOf(subject string) (name string, ok bool) {
	if name, ok := strings.CutPrefix(subject, objectChunks(n.BodiesBucket(), "")); ok {
		return name, validWord(name)
	}
	encoded, ok := strings.CutPrefix(subject, objectMeta(n.BodiesBucket(), ""))
	decoded, err := base64.URLEncoding.DecodeString(encoded)
	return string(decoded), ok && err == nil && validWord(string(decoded))
}

// sweepBody removes one body if nobody needs it and it has not changed since before.
func (b *Bus) sweepBody(ctx context.Context, name string, before time.Time) (gone bool, err error) {
	store := b.bodies()
	meta, err := b.readLeader(ctx, store.stream(), lookup{Last: store.meta(name)})
	if errors.Is(err, errNoMessage) {
		return store.sweepChunks(ctx, name, before)
	}
	if err != nil || meta.Time.After(before) {
		return false, err
	}
	info, err := store.readInfo(meta)
	if err != nil {
		return false, err
	}
	if needed, err := b.needed(ctx, info, meta.Time); needed || err != nil {
		return false, err
	}
	// If it has got another description meanwhile, somebody needs it.
	if purged, err := store.purge(ctx, store.meta(name), meta.Sequence); purged == 0 || err != nil {
		return false, err
	}
	_, err = store.purge(ctx, store.chunks(name), 0)
	return err == nil, err
}

// sweepChunks removes the parts of an object that nobody goes on to store. If somebody does, the next part is refused.
func (o objects) sweepChunks(ctx context.Context, nuid string, before time.Time) (gone bool, err error) {
	last, err := o.bus.readLeader(ctx, o.stream(), lookup{Last: o.chunks(nuid)})
	if errors.Is(err, errNoMessage) {
		return false, nil
	}
	if err != nil || last.Time.After(before) {
		return false, err
	}
	purged, err := o.purge(ctx, o.chunks(nuid), last.Sequence)
	return purged > 0, err
}

// needed reports whether a call or a dead letter refers to the body, which was last described at that time.
func (b *Bus) needed(ctx context.Context, info *jetstream.ObjectInfo, at time.Time) (bool, error) {
	if dead := info.Metadata[bodyDead]; dead != "" {
		sequence, err := strconv.ParseUint(dead, 10, 64)
		if err != nil {
			return false, fmt.Errorf("read the place of its dead letter: %w", err)
		}
		return b.has(ctx, b.DeadStream(), sequence)
	}
	if queued, err := b.queuedWith(ctx, info, at.Add(sweepSkew)); queued || err != nil {
		return queued, err
	}
	// The mark of a dead letter is there before its call is out of the queue, if the object store had room for it.
	function := info.Metadata[bodyFunction]
	return b.named(ctx, search{b.DeadStream(), lookup{Since: at.Add(-sweepSkew), Next: b.DeadSubject(function)}, info.Name, time.Time{}})
}

// queuedWith reports whether the body's call is in the queue. If it is not known which one that is, it was queued at that time at the latest.
func (b *Bus) queuedWith(ctx context.Context, info *jetstream.ObjectInfo, until time.Time) (bool, error) {
	if id := info.Metadata[bodyCall]; id != "" {
		sequence, ok, err := b.placeOf(id)
		if err != nil || !ok {
			return false, err
		}
		return b.has(ctx, b.CallsStream(), sequence)
	}
	after, ok, err := b.placeOf(info.Metadata[bodyAfter])
	if err != nil || !ok {
		return false, err
	}
	function := info.Metadata[bodyFunction]
	return b.named(ctx, search{b.CallsStream(), lookup{Sequence: after + 1, Next: b.CallSubject(function)}, info.Name, until})
}

// placeOf is the place of a call in the calls stream; ok is false for an id of another stream, which is gone.
func (b *Bus) placeOf(id string) (sequence uint64, ok bool, err error) {
	created, sequence, err := ParseCallID(id)
	own := b.created.Load()
	if own == 0 {
		return 0, false, errors.New("the calls stream has not been looked up")
	}
	return sequence, created == own, err
}

func (b *Bus) has(ctx context.Context, stream string, sequence uint64) (bool, error) {
	_, err := b.readLeader(ctx, stream, lookup{Sequence: sequence})
	if errors.Is(err, errNoMessage) {
		return false, nil
	}
	return err == nil, err
}

// search looks through the messages of one subject for one that names a body.
type search struct {
	stream string
	from   lookup
	body   string
	until  time.Time // zero for the end of the stream
}

func (b *Bus) named(ctx context.Context, s search) (bool, error) {
	for next := s.from; ; {
		msg, err := b.readLeader(ctx, s.stream, next)
		switch {
		case errors.Is(err, errNoMessage):
			return false, nil
		case err != nil:
			return false, err
		case msg.Header.Get(HeaderBody) == s.body:
			return true, nil
		case !s.until.IsZero() && msg.Time.After(s.until):
			return false, nil
		}
		next = lookup{Sequence: msg.Sequence + 1, Next: s.from.Next}
	}
}
