package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// attemptsTTL removes records whose call ended without anybody to delete them; it is longer than any delay.
const attemptsTTL = 7 * 24 * time.Hour

// removedTTL is how long the mark of a removed record stays: nobody follows this bucket, and Load reads the marks too.
const removedTTL = time.Minute

// Attempt is what is kept of the failed attempts of a call that waits for another one.
type Attempt struct {
	// Tries is how many attempts were made.
	Tries int `json:"tries"`
	// Next is the time before which no further attempt is made.
	Next time.Time `json:"next"`
	// Outcome is how the last attempt ended, in words.
	Outcome string `json:"outcome"`
	// Status is the last answer's status, 0 if there was none.
	Status int `json:"status,omitempty"`
	// Until is set while the function has taken the call over: the attempt with the number Tries (from 0) is open until then.
	Until time.Time `json:"until,omitzero"`
	// Endpoint is the address of the replica that has.
	Endpoint string `json:"endpoint,omitempty"`
	// Callback is the word with which the function has ended it.
	Callback string `json:"callback,omitempty"`
	// Pending are the replicas that an event has still to reach, by name; nil before its first attempt.
	Pending []string `json:"pending,omitempty"`
	// Lost are those that it will not reach, each with the reason.
	Lost []string `json:"lost,omitempty"`
}

// Attempts keeps the attempt records of all functions.
type Attempts struct {
	bus *Bus
	kv  jetstream.KeyValue
}

// OpenAttempts makes the bucket of attempt records if it is not there.
func (b *Bus) OpenAttempts(ctx context.Context) (*Attempts, error) {
	kv, err := b.ensureBucket(ctx, jetstream.KeyValueConfig{
		Bucket: b.AttemptsBucket(), Description: "Failed attempts of calls that wait for another one",
		TTL: attemptsTTL, LimitMarkerTTL: removedTTL,
	})
	if err != nil {
		return nil, err
	}
	return &Attempts{bus: b, kv: kv}, nil
}

// Record keeps a failed attempt of the call; it returns when it is stored, repeating until ctx ends.
func (a *Attempts) Record(ctx context.Context, function, id string, attempt Attempt) error {
	value, err := json.Marshal(attempt)
	if err != nil {
		return fmt.Errorf("write the attempt record of call %s: %w", id, err)
	}
	err = retry(ctx, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		_, err := a.kv.Put(ctx, attemptKey(function, id), value)
		return err
	})
	if err != nil {
		return fmt.Errorf("keep the attempt record of call %s: %w", id, err)
	}
	return nil
}

// Remove deletes the record of a call that has ended.
func (a *Attempts) Remove(ctx context.Context, function, id string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := a.kv.Purge(ctx, attemptKey(function, id), jetstream.PurgeTTL(removedTTL)); err != nil {
		return fmt.Errorf("remove the attempt record of call %s: %w", id, err)
	}
	return nil
}

// Load returns the records of all calls of the function, by their sequence in the calls stream. It repeats until ctx ends.
func (a *Attempts) Load(ctx context.Context, function string) (attempts map[uint64]Attempt, err error) {
	err = retry(ctx, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		attempts, err = a.load(ctx, function)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the attempt records of %s: %w", function, err)
	}
	return attempts, nil
}

func (a *Attempts) load(ctx context.Context, function string) (map[uint64]Attempt, error) {
	watcher, err := a.kv.Watch(ctx, attemptKey(function, "*"), jetstream.IgnoreDeletes())
	if err != nil {
		return nil, err
	}
	defer stopWatch(watcher)
	attempts := map[uint64]Attempt{}
	for {
		select {
		case entry, ok := <-watcher.Updates():
			switch {
			case !ok:
				return nil, errors.New("the watch ended early")
			case entry == nil: // all that was there has been read
				return attempts, nil
			}
			a.add(attempts, entry.Key()[len(function)+1:], entry.Value())
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// add reads one record; those of another stream, which is gone, and those that cannot be read are passed over.
func (a *Attempts) add(attempts map[uint64]Attempt, id string, value []byte) {
	var attempt Attempt
	created, sequence, err := ParseCallID(id)
	if err == nil && created == a.bus.created.Load() && json.Unmarshal(value, &attempt) == nil {
		attempts[sequence] = attempt
	}
}

func attemptKey(function, id string) string { return function + "." + id }
