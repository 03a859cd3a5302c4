package bus

import (
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// noticePause is for how long the same error of the connection is not told again: while a server refuses us it comes with
	// every attempt, and a subject that is not permitted with every message.
	noticePause = time.Minute
	// maxNotices bounds the errors that are told in that time.
	maxNotices = 100
)

// notices tells errors of the connection, each once in a while.
type notices struct {
	notify func(event string, err error)

	mu    sync.Mutex
	since time.Time       // guarded by mu
	told  map[string]bool // since then; guarded by mu
}

// failed tells of an attempt to connect that failed.
func (n *notices) failed(err error) { n.tell("cannot connect", err) }

// broken tells of an error of a connection that stands.
func (n *notices) broken(err error) {
	switch {
	case errors.Is(err, nats.ErrPermissionViolation):
		n.tell("not permitted", err)
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked), errors.Is(err, nats.ErrAccountAuthExpired):
		n.failed(err)
	default:
		n.tell("error", err)
	}
}

func (n *notices) tell(event string, err error) {
	if err != nil && n.isNew(event+err.Error(), time.Now()) {
		n.notify(event, err)
	}
}

func (n *notices) isNew(text string, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.told == nil || now.Sub(n.since) > noticePause {
		n.since, n.told = now, map[string]bool{}
	}
	if n.told[text] || len(n.told) >= maxNotices {
		return false
	}
	n.told[text] = true
	return true
}
