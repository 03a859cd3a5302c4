package bus

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// objectChunk is the size of the parts of a stored object: two such are all that one takes of the memory at a time.
const objectChunk = 256 << 10

// objects is an object store, in the format of the library's (NATS ADR-20).
type objects struct {
	bus    *Bus
	bucket string
	// lost is what errors wrap that say that an object, or a part of it, is not there.
	lost error
	// readable says that who stores objects may read them too.
	readable bool
}

func (o objects) stream() string            { return objectsStream(o.bucket) }
func (o objects) chunks(nuid string) string { return objectChunks(o.bucket, nuid) }
func (o objects) meta(name string) string   { return objectMeta(o.bucket, name) }

// object is one of them as the one sees it who stores it. The library's own Put is no choice: it sends a chunk for each Read, repeats one that
// got no answer with the bytes of a later one, and does not repeat what a server refuses that is away.
type object struct {
	store objects
	info  jetstream.ObjectInfo
	// chunk and meta are the places of its newest chunk and of its description in the stream, 0 while there is none.
	chunk, meta uint64
}

// newObject is one that has nothing in the store yet, with a name that nobody can guess. Its NUID is that first name.
func (o objects) newObject() *object {
	name := rand.Text()
	return &object{store: o, info: jetstream.ObjectInfo{
		ObjectMeta: jetstream.ObjectMeta{Name: name, Opts: &jetstream.ObjectMetaOptions{ChunkSize: objectChunk}}, Bucket: o.bucket, NUID: name,
	}}
}

// fill stores what r brings, chunk by chunk. size is what it must have in bytes, -1 for any.
func (s *object) fill(ctx context.Context, r io.Reader, size int64) error {
	buffer := make([]byte, min(objectChunk, max(1, s.store.bus.maxCallSize())))
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
			return fmt.Errorf("read it: %w", readErr)
		}
	}
	if size >= 0 && int64(s.info.Size) != size {
		return fmt.Errorf("read it: it has %d bytes, %d were announced: %w", s.info.Size, size, io.ErrUnexpectedEOF)
	}
	s.info.Digest = jetstream.GetObjectDigestValue(digest)
	return nil
}

// readFull reads until the buffer is full or there is an error. io.ReadFull would make the end of something that was cut off look as that
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
func (s *object) putChunk(ctx context.Context, data []byte) (err error) {
	msg := &nats.Msg{Subject: s.store.chunks(s.info.NUID), Data: data, Header: nats.Header{}}
	s.chunk, err = s.store.publish(ctx, msg, s.chunk)
	if errors.Is(err, ErrOvertaken) {
		return fmt.Errorf("%w: the parts that were stored have been removed, since nothing came for so long", ErrUnavailable)
	}
	s.info.Size += uint64(len(data))
	s.info.Chunks++
	return err
}

// describe stores what the object is, in place of its last description. Before that nobody sees it.
func (s *object) describe(ctx context.Context) error {
	data, err := json.Marshal(s.info)
	if err != nil {
		return err
	}
	msg := &nats.Msg{Subject: s.store.meta(s.info.Name), Data: data, Header: nats.Header{jetstream.MsgRollup: {jetstream.MsgRollupSubject}}}
	sequence, err := s.store.publish(ctx, msg, s.meta)
	if err == nil {
		s.meta = sequence
	}
	return err
}

// publish stores a message behind another one. Where it cannot be looked at, an answer that is lost may look as if somebody had been faster.
func (o objects) publish(ctx context.Context, msg *nats.Msg, place uint64) (sequence uint64, err error) {
	sequence, err = o.bus.publishBehind(ctx, msg, place)
	if !o.readable || !errors.Is(err, ErrOvertaken) {
		return sequence, err
	}
	last, lookErr := o.bus.findAtLeader(ctx, o.stream(), lookup{Last: msg.Subject})
	switch {
	case lookErr != nil && !errors.Is(lookErr, errNoMessage):
		return 0, lookErr
	case lookErr == nil && last.is(msg):
		return last.Sequence, nil
	}
	return 0, err
}

// remove removes the description first, so that nobody begins to read.
func (o objects) remove(ctx context.Context, name, nuid string) error {
	if _, err := o.purge(ctx, o.meta(name), 0); err != nil {
		return err
	}
	_, err := o.purge(ctx, o.chunks(nuid), 0)
	return err
}

// purge removes the messages of a subject up to a place, 0 for all, and says how many there were.
func (o objects) purge(ctx context.Context, subject string, last uint64) (purged uint64, err error) {
	request := struct {
		Subject string `json:"filter"`
		Before  uint64 `json:"seq,omitempty"`
	}{Subject: subject}
	if last > 0 {
		request.Before = last + 1
	}
	var result struct {
		Purged uint64 `json:"purged"`
	}
	if err := o.bus.command(ctx, "$JS.API.STREAM.PURGE."+o.stream(), request, &result); err != nil {
		return 0, fmt.Errorf("remove %s: %w", subject, err)
	}
	return result.Purged, nil
}
