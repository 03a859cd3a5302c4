package gateway

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync"
)

// budget bounds the memory that the bodies of calls being queued take together.
type budget struct {
	mu   sync.Mutex
	left int64 // guarded by mu
}

func (b *budget) take(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n > b.left {
		return false
	}
	b.left -= n
	return true
}

func (b *budget) give(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left += n
}

// bodyStep is how much of a body of unknown length is taken from the budget at a time.
const bodyStep = 64 << 10

// readBody reads the body of a call to be queued. Its size is checked before it is read, and every byte is within the
// budget until release is called.
func (g *Gateway) readBody(w http.ResponseWriter, r *http.Request) (body []byte, release func(), err error) {
	limit := g.bodyLimit()
	if r.ContentLength > limit {
		return nil, nil, tooLarge(limit)
	}
	taken := int64(0)
	release = func() { g.budget.give(taken) }
	grow := func(n int64) bool {
		if !g.budget.take(n) {
			return false
		}
		taken += n
		return true
	}
	if r.ContentLength >= 0 {
		body, err = readKnown(r, grow)
	} else {
		body, err = readUnknown(http.MaxBytesReader(w, r.Body, limit), grow)
	}
	if err != nil {
		release()
		return nil, nil, bodyProblem(err, limit)
	}
	return body, release, nil
}

// bodyLimit is what the configuration and one message of the queue allow.
func (g *Gateway) bodyLimit() int64 {
	if carried := g.deps.Bus.MaxBody(); carried > 0 {
		return min(g.config.AsyncBodyLimit, carried)
	}
	return g.config.AsyncBodyLimit
}

var errBudget = errors.New("no room in memory")

func readKnown(r *http.Request, grow func(int64) bool) ([]byte, error) {
	if r.ContentLength == 0 {
		return nil, nil
	}
	if !grow(r.ContentLength) {
		return nil, errBudget
	}
	body := make([]byte, r.ContentLength)
	_, err := io.ReadFull(r.Body, body)
	return body, err
}

func readUnknown(from io.Reader, grow func(int64) bool) ([]byte, error) {
	var body bytes.Buffer
	for {
		if !grow(bodyStep) {
			return nil, errBudget
		}
		_, err := io.CopyN(&body, from, bodyStep)
		if errors.Is(err, io.EOF) {
			return body.Bytes(), nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func bodyProblem(err error, limit int64) *Problem {
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		return tooLarge(limit)
	case errors.Is(err, errBudget):
		return problem(http.StatusServiceUnavailable, "body-budget-full", "Too many large bodies at once", "the bodies of calls being queued fill the memory set aside for them").retryAfter(1)
	default:
		return unreadable("body", err)
	}
}

func tooLarge(limit int64) *Problem {
	return problem(http.StatusRequestEntityTooLarge, "body-too-large", "The body is too large", "the body of a queued call may have %d bytes", limit)
}
