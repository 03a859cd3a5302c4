package bus

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Bounds of what one request of scan brings: a message more than that many bytes.
const (
	scanBatch = 256
	scanBytes = 2 << 20
)

// scan tells the messages of a stream that have the subject from.Next, which may have wildcards, from from.Sequence on and in their order, until each returns false.
// It returns the place after the last one that was told. At most one batch is in memory at a time, of from.Batch messages or scanBatch. It asks any server that has the stream: one that is
// behind has not the newest ones. While none answers it asks again, from where it was, for as long as a publish is repeated.
func (b *Bus) scan(ctx context.Context, stream string, from lookup, each func(*storedMessage) bool) (next uint64, err error) {
	s := &scanner{bus: b, stream: stream, each: each, next: max(1, from.Sequence)}
	for more := true; more; {
		before := s.next
		more, err = s.batch(ctx, lookup{Next: from.Next, Batch: cmp.Or(from.Batch, scanBatch), MaxBytes: scanBytes})
		switch {
		case err != nil && s.next > before && ctx.Err() == nil: // what was told may have taken the time
			more = true
		case err != nil:
			return s.next, fmt.Errorf("scan %s: %w", stream, err)
		}
	}
	return s.next, nil
}

// scanner is the state of one scan.
type scanner struct {
	bus    *Bus
	stream string
	each   func(*storedMessage) bool
	// next is the place to go on at.
	next uint64
	// last is the place of the last message of this batch, 0 in its beginning; unread says that it could not be read.
	last   uint64
	unread bool
}

// batch asks for the next messages, repeating while nobody answers.
func (s *scanner) batch(ctx context.Context, what lookup) (more bool, err error) {
	ctx, cancel := s.bus.patiently(ctx)
	defer cancel()
	err = retry(ctx, func(ctx context.Context) error {
		what.Sequence = s.next
		more, err = s.ask(ctx, what)
		return err
	})
	return more, err
}

// ask is one request with its answers.
func (s *scanner) ask(ctx context.Context, what lookup) (more bool, err error) {
	request, err := json.Marshal(what)
	if err != nil {
		return false, err
	}
	answers, inbox := make(chan *nats.Msg, what.Batch+1), s.bus.conn.NewInbox()
	sub, err := s.bus.conn.ChanSubscribe(inbox, answers)
	if err != nil {
		return false, err
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only when the connection is closed
	if err := s.bus.conn.PublishRequest("$JS.API.DIRECT.GET."+s.stream, inbox, request); err != nil {
		return false, err
	}
	return s.read(ctx, answers)
}

// read takes answers until the batch ends. more says that there are messages behind it.
func (s *scanner) read(ctx context.Context, answers <-chan *nats.Msg) (more bool, err error) {
	s.last, s.unread = 0, false
	timeout := s.bus.config.Settings.askTimeout()
	silence := time.NewTimer(timeout)
	defer silence.Stop()
	for {
		select {
		case answer := <-answers:
			silence.Reset(timeout)
			if end, more, err := s.take(answer); end || err != nil {
				return more, err
			}
		case <-silence.C:
			return false, errors.New("the next message is overdue")
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
}

// take handles one answer: a message, or the end of the batch (NATS ADR-31).
func (s *scanner) take(answer *nats.Msg) (end, more bool, err error) {
	if brokenHeader(answer) { // somebody has published it so; the next answer says where it was
		s.unread = true
		return false, false, nil
	}
	if last(answer.Header, jetstream.SequenceHeader) == "" && answer.Header.Get("Status") == "204" {
		pending := last(answer.Header, "Nats-Num-Pending")
		return true, pending != "0" && pending != "", s.follows(answer)
	}
	msg, err := readAnswer(s.stream, answer)
	if errors.Is(err, errNoMessage) {
		return true, false, nil
	}
	if err == nil {
		err = s.follows(answer)
	}
	if err != nil {
		return true, false, err
	}
	s.last, s.next, s.unread = msg.Sequence, msg.Sequence+1, false
	return !s.each(msg), false, nil
}

// follows returns an error if an answer was lost before this one, as with a connection.
func (s *scanner) follows(answer *nats.Msg) error {
	before, err := strconv.ParseUint(last(answer.Header, "Nats-Last-Sequence"), 10, 64)
	switch {
	case err != nil:
		return fmt.Errorf("the answer does not say what was before it: %w", err)
	case s.unread:
		s.next = max(s.next, before+1)
	case before != s.last:
		return fmt.Errorf("the message at %d was lost on the way", before)
	}
	return nil
}
