package bus

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"

	"github.com/nats-io/nats.go/jetstream"
)

// Stored reports whether the body of the call is in the object store; Call.Body is empty then.
func (d *Delivery) Stored() bool { return d.Call.stored.name != "" }

// OpenBody returns the body of a delivered call that is in the object store, and its size. Delivery.Stored says whether there is one. The
// body can be read while ctx lasts; reading bears with a server that is away for as long as a publish does. The error, also of reading,
// wraps ErrBodyLost if the body is not there any more.
func (d *Delivery) OpenBody(ctx context.Context) (body io.ReadCloser, size int64, err error) {
	wanted := d.Call.stored
	msg, err := d.bus.findBody(ctx, lookup{Last: d.bus.bodyMeta(wanted.name)})
	if errors.Is(err, errNoMessage) {
		err = ErrBodyLost
	}
	if err != nil {
		return nil, 0, fmt.Errorf("open the body of call %s: %w", d.ID, err)
	}
	info, err := readInfo(msg)
	if err != nil {
		return nil, 0, fmt.Errorf("open the body of call %s: %w", d.ID, err)
	}
	if info.Metadata[bodyFunction] != d.Call.Function || int64(info.Size) != wanted.size { // a message can name anything
		return nil, 0, fmt.Errorf("open the body of call %s: %w: what is there is not its body", d.ID, ErrBodyLost)
	}
	r := &bodyReader{ctx: ctx, bus: d.bus, info: info, digest: sha256.New()}
	if info.Chunks == 0 {
		r.err = io.EOF
	}
	return r, wanted.size, nil
}

// findBody reads from the object store. That something is not there is believed to the leader alone: the call would be given up for it.
func (b *Bus) findBody(ctx context.Context, what lookup) (msg *storedMessage, err error) {
	msg, err = b.find(ctx, b.bodiesStream(), what)
	if !errors.Is(err, errNoMessage) {
		return msg, err
	}
	ctx, cancel := b.patiently(ctx)
	defer cancel()
	missing := false
	err = retry(ctx, func(ctx context.Context) error {
		msg, err = b.readLeader(ctx, b.bodiesStream(), what)
		if missing = errors.Is(err, errNoMessage); missing {
			return nil
		}
		return err
	})
	if missing {
		return nil, errNoMessage
	}
	return msg, err
}

func readInfo(msg *storedMessage) (info *jetstream.ObjectInfo, err error) {
	if err := json.Unmarshal(msg.Data, &info); err != nil || info == nil {
		return nil, fmt.Errorf("read what is said of the body: %w", errors.Join(err, ErrBodyLost))
	}
	return info, nil
}

// bodyReader reads a stored body, one chunk at a time.
type bodyReader struct {
	// ctx is that of OpenBody: Read has none.
	ctx    context.Context
	bus    *Bus
	info   *jetstream.ObjectInfo
	digest hash.Hash
	chunk  []byte // what is left of the newest chunk
	place  uint64 // its place in the stream
	chunks uint32
	err    error
}

// Read implements io.Reader.
func (r *bodyReader) Read(p []byte) (n int, err error) {
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
func (r *bodyReader) Close() error {
	r.chunk, r.err = nil, errors.New("the body is closed")
	return nil
}

// next gets the next chunk. The last one is handed out only if the whole body is what was stored: who knows the length of a body does
// not read to its end.
func (r *bodyReader) next() error {
	if r.chunks == r.info.Chunks {
		return io.EOF
	}
	msg, err := r.bus.findBody(r.ctx, lookup{Sequence: r.place + 1, Next: r.bus.bodyChunks(r.info.NUID)})
	if errors.Is(err, errNoMessage) {
		err = fmt.Errorf("%w: it has %d parts of %d", ErrBodyLost, r.chunks, r.info.Chunks)
	}
	if err != nil {
		return fmt.Errorf("read the body: %w", err)
	}
	r.digest.Write(msg.Data)
	r.place = msg.Sequence
	if r.chunks++; r.chunks == r.info.Chunks && jetstream.GetObjectDigestValue(r.digest) != r.info.Digest {
		return fmt.Errorf("read the body: %w: its bytes are not those that were stored", ErrBodyLost)
	}
	r.chunk = msg.Data
	return nil
}

// ownBody is the body of the call as it is now, nil if it is gone or not the call's.
func (d *Delivery) ownBody(ctx context.Context) (*body, error) {
	msg, err := d.bus.readLeader(ctx, d.bus.bodiesStream(), lookup{Last: d.bus.bodyMeta(d.Call.stored.name)})
	if errors.Is(err, errNoMessage) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	info, err := readInfo(msg)
	if err != nil || info.Metadata[bodyFunction] != d.Call.Function || info.Name != d.Call.stored.name {
		return nil, nil //nolint:nilerr // a message can name anything
	}
	return &body{bus: d.bus, info: *info, meta: msg.Sequence}, nil
}

// dropBody removes the body of a call that has ended, unless there is a dead letter. If it fails SweepBodies removes it.
func (d *Delivery) dropBody(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	body, err := d.ownBody(ctx)
	if err == nil && body != nil && body.info.Metadata[bodyDead] == "" {
		_ = d.bus.removeBody(ctx, body.info.Name)
	}
}

// keepBody says that the body belongs to a dead letter. It repeats until ctx ends. If the object store is so full that it cannot be said,
// SweepBodies finds the dead letter.
func (d *Delivery) keepBody(ctx context.Context, dead uint64) error {
	err := retry(ctx, func(ctx context.Context) error {
		body, err := d.ownBody(ctx)
		if err != nil || body == nil {
			return err
		}
		body.info.Metadata[bodyDead] = strconv.FormatUint(dead, 10)
		return body.describe(ctx)
	})
	if errors.Is(err, ErrStorageFull) {
		return nil
	}
	return err
}
