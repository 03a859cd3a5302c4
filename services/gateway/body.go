package gateway

import (
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
)

var (
	errBudget   = errors.New("no room in memory")
	errTooLarge = errors.New("larger than the limit")
)

// readBody reads the body of a call to be queued. Its size is checked before it is read, and every byte is within the
// budget until release is called.
func (g *Gateway) readBody(w http.ResponseWriter, r *http.Request) (body []byte, release func(), err error) {
	limit := g.bodyLimit()
	b := &queuedBody{from: r.Body, budget: g.budget, pace: g.pace}
	if !arrived(r) {
		b.control = http.NewResponseController(w)
	}
	switch {
	case r.ContentLength > limit:
		err = errTooLarge
	case r.ContentLength > 0:
		err = b.readKnown(r.ContentLength)
	case r.ContentLength < 0:
		err = b.readUnknown(limit)
	}
	if err != nil {
		b.release()
		return nil, nil, bodyProblem(err, limit)
	}
	r.Body, r.ContentLength = http.NoBody, 0 // it is read: nothing is left that could linger
	return b.data, b.release, nil
}

// bodyLimit is what the configuration and one message of the queue allow.
func (g *Gateway) bodyLimit() int64 {
	if carried := g.deps.Bus.MaxBody(); carried > 0 {
		return min(g.config.AsyncBodyLimit, carried)
	}
	return g.config.AsyncBodyLimit
}

// queuedBody is a body while it is read into memory.
type queuedBody struct {
	from    io.Reader
	control *http.ResponseController // nil if the whole body is here already
	budget  *budget
	pace    time.Duration
	data    []byte
	taken   int64 // of the budget
	due     int   // how much of data the deadline of reading is for
}

func (b *queuedBody) release() {
	b.budget.give(b.taken)
	b.taken = 0
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

// readUnknown reads to the end, but not more than one byte above the limit.
func (b *queuedBody) readUnknown(limit int64) error {
	for {
		if int64(len(b.data)) > limit {
			return errTooLarge
		}
		if err := b.grow(min(max(firstStep, 2*int64(cap(b.data))), limit+1)); err != nil {
			return err
		}
		err := b.fill()
		if errors.Is(err, io.EOF) && int64(len(b.data)) <= limit {
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
		if b.control != nil && len(b.data) >= b.due {
			_ = b.control.SetReadDeadline(time.Now().Add(b.pace)) // every server of ours can
			b.due = len(b.data) + paceStep
		}
		n, err := b.from.Read(b.data[len(b.data):cap(b.data)])
		b.data = b.data[:len(b.data)+n]
		if err != nil {
			return err
		}
	}
	return nil
}

func bodyProblem(err error, limit int64) *Problem {
	switch {
	case errors.Is(err, errTooLarge):
		return problem(largeBody, "the body of a queued call may have %d bytes", limit)
	case errors.Is(err, errBudget):
		return problem(fullBudget, "the bodies of calls being queued fill the memory set aside for them")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return problem(lateBody, "the next %d bytes did not come within %s", paceStep, paceTime)
	default:
		return unreadable("body", err)
	}
}
