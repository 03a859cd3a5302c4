package bus

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/nats-io/nats.go/jetstream"
)

// look reads the description of an object, and its place in the stream, as the leading server has it; info is nil if there is none.
func (o objects) look(ctx context.Context, name string) (info *jetstream.ObjectInfo, place uint64, err error) {
	msg, err := o.bus.readLeader(ctx, o.stream(), lookup{Last: o.meta(name)})
	if errors.Is(err, errNoMessage) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	info, err = o.readInfo(msg)
	return info, msg.Sequence, err
}

// find reads from the object store. That something is not there is believed to the leader alone: it may mean the end of a call.
func (o objects) find(ctx context.Context, what lookup) (msg *storedMessage, err error) {
	msg, err = o.bus.find(ctx, o.stream(), what)
	if !errors.Is(err, errNoMessage) {
		return msg, err
	}
	return o.bus.findAtLeader(ctx, o.stream(), what)
}

func (o objects) readInfo(msg *storedMessage) (info *jetstream.ObjectInfo, err error) {
	if err := json.Unmarshal(msg.Data, &info); err != nil || info == nil {
		return nil, fmt.Errorf("read what is said of it: %w", errors.Join(err, o.lost))
	}
	return info, nil
}

// open returns a reader of the object, which can be read while ctx lasts.
func (o objects) open(ctx context.Context, info *jetstream.ObjectInfo) *objectReader {
	r := &objectReader{ctx: ctx, store: o, info: info, digest: sha256.New()}
	if info.Chunks == 0 {
		r.err = io.EOF
	}
	return r
}

// objectReader reads a stored object, one chunk at a time. It bears with a server that is away for as long as a publish does.
type objectReader struct {
	// ctx is that of open: Read has none.
	ctx    context.Context
	store  objects
	info   *jetstream.ObjectInfo
	digest hash.Hash
	chunk  []byte // what is left of the newest chunk
	place  uint64 // its place in the stream
	chunks uint32
	err    error
}

// Read implements io.Reader.
func (r *objectReader) Read(p []byte) (n int, err error) {
	for len(r.chunk) == 0 && r.err == nil {
		r.err = r.next()
	}
	if len(r.chunk) == 0 {
		return 0, r.err
	}
	n = copy(p, r.chunk)
	r.chunk = r.chunk[n:]
	return n, nil
}

// Close implements io.Closer.
func (r *objectReader) Close() error {
	r.chunk, r.err = nil, errors.New("it is closed")
	return nil
}

// next gets the next chunk. The last one is handed out only if the whole object is what was stored: who knows its length does not read to
// its end.
func (r *objectReader) next() error {
	if r.chunks == r.info.Chunks {
		return io.EOF
	}
	msg, err := r.store.find(r.ctx, lookup{Sequence: r.place + 1, Next: r.store.chunks(r.info.NUID)})
	if errors.Is(err, errNoMessage) {
		err = fmt.Errorf("%w: it has %d parts of %d", r.store.lost, r.chunks, r.info.Chunks)
	}
	if err != nil {
		return fmt.Errorf("read what is stored: %w", err)
	}
	r.digest.Write(msg.Data)
	r.place = msg.Sequence
	if r.chunks++; r.chunks == r.info.Chunks && jetstream.GetObjectDigestValue(r.digest) != r.info.Digest {
		return fmt.Errorf("read what is stored: %w: its bytes are not those that were stored", r.store.lost)
	}
	r.chunk = msg.Data
	return nil
}
