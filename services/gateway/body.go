package gateway

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"time"
)

const (
	// firstStep is the room for a body of unknown length to begin with, in bytes; it is doubled as the body grows.
	firstStep = 4 << 10
	// paceStep bytes of a body must come within paceTime, or a caller could hold its memory for ever.
	paceStep = 64 << 10
	paceTime = 30 * time.Second
	// streamRoom is what a body takes in memory while it is streamed into the object store: some of the store's chunks.
	streamRoom = 512 << 10
)

var (
	errBudget   = errors.New("no room in memory")
	errTooLarge = errors.New("larger than the limit")
)

// queuedBody is the body of a request whose call is queued. Every byte that it holds is within the budget until release is called.
type queuedBody struct {
	from   pacedReader
	budget *budget
	// limit bounds the body, and inline what is held of it, in bytes.
	limit, inline int64
	// data is the body, or its beginning if there is a stream.
	data []byte
	// stream has the whole body if that is too large to be held; else it is nil.
	stream *streamedBody
	taken  int64 // of the budget
}

// readBody reads the body of r up to inline bytes; a larger one, up to limit, is left to be streamed. Its size is checked before it is
// read.
func (g *Gateway) readBody(w http.ResponseWriter, r *http.Request, limit, inline int64) (*queuedBody, error) {
	b := &queuedBody{from: pacedReader{from: r.Body, pace: g.pace}, budget: g.budget, limit: limit, inline: min(inline, limit)}
	if !arrived(r) {
		b.from.control = http.NewResponseController(w)
	}
	if err := b.read(r.ContentLength); err != nil {
		b.release()
		return nil, bodyProblem(err, limit)
	}
	if b.stream == nil {
		b.finish(r)
	}
	return b, nil
}

// finish notes that the body is read: nothing is left that could linger, and no deadline may end the wait for the call.
func (b *queuedBody) finish(r *http.Request) {
	b.from.stop()
	r.Body, r.ContentLength = http.NoBody, 0
}

// release gives the memory back.
func (b *queuedBody) release() {
	b.budget.give(b.taken)
	b.taken = 0
}

// read reads a body of size bytes, -1 for unknown, or begins its stream.
func (b *queuedBody) read(size int64) error {
	switch {
	case size > b.limit:
		return errTooLarge
	case size > b.inline:
		return b.streamFrom(&b.from, size)
	case size > 0:
		return b.readKnown(size)
	case size < 0:
		return b.readUnknown()
	}
	return nil
}

// streamFrom makes the body a stream of size bytes, -1 for unknown.
func (b *queuedBody) streamFrom(from io.Reader, size int64) error {
	if !b.budget.take(streamRoom) {
		return errBudget
	}
	b.taken += streamRoom
	b.stream = &streamedBody{from: from, size: size, left: b.limit}
	return nil
}

// readKnown reads exactly size bytes.
func (b *queuedBody) readKnown(size int64) error {
	if err := b.grow(size); err != nil {
		return err
	}
	err := b.fill()
	if errors.Is(err, io.EOF) && int64(len(b.data)) < size {
		return io.ErrUnexpectedEOF
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// readUnknown reads to the end, but not more than one byte above what may be held.
func (b *queuedBody) readUnknown() error {
	for {
		if int64(len(b.data)) > b.limit {
			return errTooLarge
		}
		if int64(len(b.data)) > b.inline {
			return b.streamFrom(io.MultiReader(bytes.NewReader(b.data), &b.from), -1)
		}
		if err := b.grow(min(max(firstStep, 2*int64(cap(b.data))), b.inline+1)); err != nil {
			return err
		}
		err := b.fill()
		if errors.Is(err, io.EOF) && int64(len(b.data)) <= b.inline {
			return nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
}

// grow makes room for size bytes in all. While they are moved, both places count.
func (b *queuedBody) grow(size int64) error {
	if !b.budget.take(size) {
		return errBudget
	}
	room := make([]byte, len(b.data), size)
	copy(room, b.data)
	b.budget.give(b.taken)
	b.data, b.taken = room, size
	return nil
}

// fill reads until there is no more room, or an error, which is io.EOF at the body's end.
func (b *queuedBody) fill() error {
	for len(b.data) < cap(b.data) {
		n, err := b.from.Read(b.data[len(b.data):cap(b.data)])
		b.data = b.data[:len(b.data)+n]
		if err != nil {
			return err
		}
	}
	return nil
}

// problem says why the body was not read to its end, nil if that is not known.
func (b *queuedBody) problem() *Problem {
	if b.stream == nil || b.stream.err == nil {
		return nil
	}
	return bodyProblem(b.stream.err, b.limit)
}

func bodyProblem(err error, limit int64) *Problem {
	switch {
	case errors.Is(err, errTooLarge):
		return problem(largeBody, "the body may have %d bytes", limit)
	case errors.Is(err, errBudget):
		return problem(fullBudget, "the bodies of calls being queued fill the memory set aside for them")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return problem(lateBody, "the next %d bytes did not come within %s", paceStep, paceTime)
	default:
		return unreadable("body", err)
	}
}
