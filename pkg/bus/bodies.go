package bus

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

const (
	// bodyChunk is the size of the parts of a stored body: two such are all that one body takes of the memory at a time.
	bodyChunk = 256 << 10
	// bodiesTTL removes what everything else has overlooked: a dead letter is the last to need a body.
	bodiesTTL = deadMaxAge + 24*time.Hour
)

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

// body is a stored body as the one sees it who stores it, in the format of the library's object store (NATS ADR-20). The library's own
// Put is no choice: it sends a chunk for each Read, repeats one that got no answer with the bytes of a later one, and does not repeat
// what a server refuses that is away.
type body struct {
	bus  *Bus
	info jetstream.ObjectInfo
	// chunk and meta are the places of its newest chunk and of its description in the stream, 0 while there is none.
	chunk, meta uint64
}

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
	name := rand.Text()
	return &body{bus: b, info: jetstream.ObjectInfo{
		ObjectMeta: jetstream.ObjectMeta{
			Name: name, Metadata: map[string]string{bodyFunction: function, bodyAfter: after},
			Opts: &jetstream.ObjectMetaOptions{ChunkSize: bodyChunk},
		},
		Bucket: b.BodiesBucket(), NUID: name,
	}}
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

// put stores the body chunk by chunk, then says what it is. size is what it must have, -1 for any.
func (s *body) put(ctx context.Context, r io.Reader, size int64) error {
	buffer := make([]byte, min(bodyChunk, max(1, s.bus.maxCallSize())))
	digest := sha256.New()
	for {
		n, readErr := readFull(r, buffer)
		if n > 0 {
			if err := s.putChunk(ctx, buffer[:n]); err != nil {
				return err
			}
			digest.Write(buffer[:n])
		}
		if errors.Is(readErr, io.EOF) {
			break
		}
		if readErr != nil {
			return fmt.Errorf("read the body: %w", readErr)
		}
	}
	if size >= 0 && int64(s.info.Size) != size {
		return fmt.Errorf("read the body: it has %d bytes, %d were announced: %w", s.info.Size, size, io.ErrUnexpectedEOF)
	}
	s.info.Digest = jetstream.GetObjectDigestValue(digest)
	return s.describe(ctx)
}

// readFull reads until the buffer is full or there is an error. io.ReadFull would make the end of a body that was cut off look as that
// of a whole one.
func readFull(r io.Reader, buffer []byte) (n int, err error) {
	const idle = 100 // reads in a row that bring nothing
	for empty := 0; n < len(buffer) && err == nil && empty < idle; empty++ {
		var read int
		if read, err = r.Read(buffer[n:]); read > 0 {
			n += read
			empty = 0
		}
	}
	if n == 0 && err == nil {
		err = io.ErrNoProgress
	}
	return n, err
}

// putChunk stores one chunk behind the last one. If that is gone, as after a sweep, it is refused.
func (s *body) putChunk(ctx context.Context, data []byte) (err error) {
	msg := &nats.Msg{Subject: s.bus.bodyChunks(s.info.NUID), Data: data, Header: nats.Header{}}
	s.chunk, err = s.bus.publishBehind(ctx, msg, s.chunk)
	if errors.Is(err, errOvertaken) {
		return fmt.Errorf("%w: the parts that were stored have been removed, since nothing came for so long", ErrUnavailable)
	}
	s.info.Size += uint64(len(data))
	s.info.Chunks++
	return err
}

// describe stores what the body is, in place of its last description.
func (s *body) describe(ctx context.Context) error {
	data, err := json.Marshal(s.info)
	if err != nil {
		return err
	}
	msg := &nats.Msg{Subject: s.bus.bodyMeta(s.info.Name), Data: data, Header: nats.Header{jetstream.MsgRollup: {jetstream.MsgRollupSubject}}}
	sequence, err := s.bus.publishBehind(ctx, msg, s.meta)
	if err == nil {
		s.meta = sequence
	}
	return err
}

// publishBehind stores a message if the last one of its subject is at that place, 0 for none.
func (b *Bus) publishBehind(ctx context.Context, msg *nats.Msg, place uint64) (sequence uint64, err error) {
	msg.Header[jetstream.ExpectedLastSubjSeqHeader] = []string{strconv.FormatUint(place, 10)}
	ack, err := b.publishAlone(ctx, msg, nuid.Next())
	if err != nil {
		return 0, overtaken(err)
	}
	return ack.Sequence, nil
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
	_ = s.bus.removeBody(ctx, s.info.Name) // SweepBodies removes what is left
}

// removeBody removes the description first, so that nobody begins to read.
func (b *Bus) removeBody(ctx context.Context, name string) error {
	if _, err := b.purgeBodies(ctx, b.bodyMeta(name), 0); err != nil {
		return err
	}
	_, err := b.purgeBodies(ctx, b.bodyChunks(name), 0)
	return err
}

// purgeBodies removes the messages of a subject of the object store up to a place, 0 for all, and says how many there were.
func (b *Bus) purgeBodies(ctx context.Context, subject string, last uint64) (purged uint64, err error) {
	request := struct {
		Subject string `json:"filter"`
		Before  uint64 `json:"seq,omitempty"`
	}{Subject: subject}
	if last > 0 {
		request.Before = last + 1
	}
	answer, err := b.ask(ctx, "$JS.API.STREAM.PURGE."+b.bodiesStream(), request)
	if err != nil {
		return 0, err
	}
	var result struct {
		Error  *jetstream.APIError `json:"error"`
		Purged uint64              `json:"purged"`
	}
	if err := json.Unmarshal(answer.Data, &result); err != nil {
		return 0, fmt.Errorf("remove %s: %w", subject, err)
	}
	if result.Error != nil {
		return 0, fmt.Errorf("remove %s: %w", subject, result.Error)
	}
	return result.Purged, nil
}
