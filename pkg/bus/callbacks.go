package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Words of a callback.
const (
	CallbackSuccess = "success"
	CallbackError   = "error"
)

// ErrNoOpenCall says that no attempt of a call waits for a callback, or can.
var ErrNoOpenCall = errors.New("no attempt of the call is open")

// AwaitAttempts waits for the bucket of attempt records, which the dispatcher makes. It is for the gateway.
func (b *Bus) AwaitAttempts(ctx context.Context) (*Attempts, error) {
	kv, err := b.awaitBucket(ctx, b.AttemptsBucket())
	if err != nil {
		return nil, err
	}
	return &Attempts{bus: b, kv: kv}, nil
}

// Callback keeps the word with which a function ends a call that it has taken over, and tells the dispatcher. The error wraps ErrNoOpenCall if the
// call is not in the queue, waits for another attempt, or has been ended with another word. The attempt may still be running: a function may call
// back before its 202 has arrived.
func (a *Attempts) Callback(ctx context.Context, function, id, word string) error {
	if word != CallbackSuccess && word != CallbackError {
		return fmt.Errorf("callback %q of call %s: it must be %s or %s", word, id, CallbackSuccess, CallbackError)
	}
	if err := a.queued(ctx, function, id); err != nil {
		return fmt.Errorf("call %s of %s: %w", id, function, err)
	}
	err := a.change(ctx, function, id, func(attempt Attempt) (Attempt, bool, error) { return attempt.end(word, time.Now()) })
	if err != nil {
		return fmt.Errorf("keep the callback of call %s of %s: %w", id, function, err)
	}
	if err := a.bus.conn.Publish(a.bus.CallbackSubject(function), []byte(id)); err != nil {
		return fmt.Errorf("tell of the callback of call %s of %s: %w: %w", id, function, ErrUnavailable, err)
	}
	return nil
}

// end sets the word that ends the open attempt, if one is open or may be running. write is false when it is there already.
func (a Attempt) end(word string, now time.Time) (ended Attempt, write bool, err error) {
	switch {
	case a.Callback == word:
		return a, false, nil
	case a.Callback != "":
		return a, false, fmt.Errorf("%w: it has ended with %s", ErrNoOpenCall, a.Callback)
	case !a.Until.IsZero() && !now.Before(a.Until):
		return a, false, fmt.Errorf("%w: its time was over at %s", ErrNoOpenCall, a.Until.UTC().Format(time.RFC3339))
	case a.Until.IsZero() && now.Before(a.Next):
		return a, false, fmt.Errorf("%w: the next one is at %s", ErrNoOpenCall, a.Next.UTC().Format(time.RFC3339))
	}
	a.Callback = word
	return a, true, nil
}

// queued returns an error that wraps ErrNoOpenCall unless the call is in the queue of the function.
func (a *Attempts) queued(ctx context.Context, function, id string) error {
	created, sequence, err := ParseCallID(id)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoOpenCall, err)
	}
	if created != a.bus.created.Load() || sequence == 0 {
		return fmt.Errorf("%w: the id is of another queue", ErrNoOpenCall)
	}
	msg, err := a.bus.find(ctx, a.bus.CallsStream(), lookup{Sequence: sequence})
	switch {
	case errors.Is(err, errNoMessage):
		return fmt.Errorf("%w: it is not in the queue", ErrNoOpenCall)
	case err != nil:
		return err
	case msg.Subject != a.bus.CallSubject(function):
		return fmt.Errorf("%w: it is not a call of this function", ErrNoOpenCall)
	}
	return nil
}

// Open records that the function has taken the call over until attempt.Until, unless there is a callback already, whose word it returns.
func (a *Attempts) Open(ctx context.Context, function, id string, attempt Attempt) (callback string, err error) {
	err = a.change(ctx, function, id, func(old Attempt) (Attempt, bool, error) {
		callback = old.Callback
		return attempt, callback == "", nil
	})
	if err != nil {
		return "", fmt.Errorf("keep that call %s of %s is taken over: %w", id, function, err)
	}
	return callback, nil
}

// change replaces the record of one call by what decide makes of it; it is the zero Attempt if there is none.
func (a *Attempts) change(ctx context.Context, function, id string, decide func(Attempt) (changed Attempt, write bool, err error)) error {
	return a.bus.change(ctx, a.kv, attemptKey(function, id), func(old []byte) ([]byte, error) {
		var attempt Attempt
		if old != nil && json.Unmarshal(old, &attempt) != nil {
			attempt = Attempt{} // as in Load, what cannot be read says nothing
		}
		changed, write, err := decide(attempt)
		if err != nil || !write {
			return nil, err
		}
		return json.Marshal(changed)
	})
}

// Get returns the record of one call; ok is false if there is none.
func (a *Attempts) Get(ctx context.Context, function, id string) (attempt Attempt, ok bool, err error) {
	ctx, cancel := a.bus.patiently(ctx)
	defer cancel()
	err = retry(ctx, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		value, _, err := current(ctx, a.kv, attemptKey(function, id))
		ok = err == nil && value != nil && json.Unmarshal(value, &attempt) == nil
		return err
	})
	if err != nil {
		return Attempt{}, false, fmt.Errorf("read the attempt record of call %s of %s: %w", id, function, err)
	}
	return attempt, ok, nil
}

// OnCallback calls handle for each callback of any function, from one goroutine, until the returned function is called. It is a hint: the record
// is what counts.
func (b *Bus) OnCallback(handle func(function, id string)) (stop func(), err error) {
	prefix := b.CallbackSubject("")
	return b.subscribe(b.AllCallbacks(), func(msg *nats.Msg) { handle(strings.TrimPrefix(msg.Subject, prefix), string(msg.Data)) })
}
