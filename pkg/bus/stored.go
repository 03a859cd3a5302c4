package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// errNoMessage says that a stream has no such message.
var errNoMessage = errors.New("there is no such message")

// lookup asks a stream for one message: the one at Sequence, or the first one from there or from Since on that has the subject Next, or
// the last one that has the subject Last.
type lookup struct {
	Sequence uint64    `json:"seq,omitempty"`
	Since    time.Time `json:"start_time,omitzero"`
	Next     string    `json:"next_by_subj,omitempty"`
	Last     string    `json:"last_by_subj,omitempty"`
}

// storedMessage is a message as it is in a stream.
type storedMessage struct {
	Subject  string
	Sequence uint64
	Time     time.Time
	Header   nats.Header
	Data     []byte
}

// read asks any server that has the stream (NATS ADR-31). One that is behind answers errNoMessage for what another one has.
func (b *Bus) read(ctx context.Context, stream string, what lookup) (*storedMessage, error) {
	answer, err := b.ask(ctx, "$JS.API.DIRECT.GET."+stream, what)
	if err != nil {
		return nil, err
	}
	if status := answer.Header.Get("Status"); status != "" && len(answer.Data) == 0 && answer.Header.Get(jetstream.SequenceHeader) == "" {
		if status == "404" {
			return nil, errNoMessage
		}
		return nil, fmt.Errorf("read %s: %s %s", stream, status, answer.Header.Get("Description"))
	}
	sequence, err := strconv.ParseUint(last(answer.Header, jetstream.SequenceHeader), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("read %s: the answer has no sequence: %w", stream, err)
	}
	at, err := time.Parse(time.RFC3339Nano, last(answer.Header, jetstream.TimeStampHeaer))
	if err != nil {
		return nil, fmt.Errorf("read %s: the answer has no time: %w", stream, err)
	}
	return &storedMessage{last(answer.Header, jetstream.SubjectHeader), sequence, at, answer.Header, answer.Data}, nil
}

// looksBehind is how often one looks for what a server that is behind may not have yet; with the pauses of retry it takes 0.3 s.
const looksBehind = 5

// find is read that bears with a server that does not answer, or is a moment behind the others.
func (b *Bus) find(ctx context.Context, stream string, what lookup) (msg *storedMessage, err error) {
	ctx, cancel := b.patiently(ctx)
	defer cancel()
	looks := 0
	err = retry(ctx, func(ctx context.Context) error {
		found, err := b.read(ctx, stream, what)
		if looks++; errors.Is(err, errNoMessage) && (b.config.Replicas <= 1 || looks >= looksBehind) {
			return nil
		}
		msg = found
		return err
	})
	if err == nil && msg == nil {
		err = errNoMessage
	}
	return msg, err
}

// readLeader asks the server that leads the stream: what it does not have is not there.
func (b *Bus) readLeader(ctx context.Context, stream string, what lookup) (*storedMessage, error) {
	answer, err := b.ask(ctx, "$JS.API.STREAM.MSG.GET."+stream, what)
	if err != nil {
		return nil, err
	}
	var found struct {
		Error   *jetstream.APIError `json:"error"`
		Message struct {
			Subject  string    `json:"subject"`
			Sequence uint64    `json:"seq"`
			Time     time.Time `json:"time"`
			Header   []byte    `json:"hdrs"`
			Data     []byte    `json:"data"`
		} `json:"message"`
	}
	if err := json.Unmarshal(answer.Data, &found); err != nil {
		return nil, fmt.Errorf("read %s: %w", stream, err)
	}
	switch m := found.Message; {
	case found.Error != nil && found.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return nil, errNoMessage
	case found.Error != nil:
		return nil, fmt.Errorf("read %s: %w", stream, found.Error)
	case len(m.Header) == 0:
		return &storedMessage{m.Subject, m.Sequence, m.Time, nats.Header{}, m.Data}, nil
	default:
		header, _ := nats.DecodeHeadersMsg(m.Header) // one that cannot be read is not ours, and says nothing
		return &storedMessage{m.Subject, m.Sequence, m.Time, header, m.Data}, nil
	}
}

func (b *Bus) ask(ctx context.Context, subject string, question any) (*nats.Msg, error) {
	data, err := json.Marshal(question)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	answer, err := b.conn.RequestWithContext(ctx, subject, data)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", subject, err)
	}
	return answer, nil
}

// last is the last value of a header: the server puts its own behind those of the message.
func last(header nats.Header, name string) string {
	values := header[name]
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}

// patiently bounds an operation that is repeated while NATS does not answer.
func (b *Bus) patiently(ctx context.Context) (context.Context, context.CancelFunc) {
	if patience := b.config.Settings.PublishPatience; patience > 0 {
		return context.WithTimeout(ctx, patience)
	}
	return context.WithTimeout(ctx, publishTimeout)
}

// errOvertaken says that somebody else has changed what was about to be changed.
var errOvertaken = errors.New("somebody else changes it at the same time")

// change replaces the value of one key by what decide makes of it, which is called again when somebody else was faster. old is nil if
// there is no value; nothing is written if decide returns nil. What it returns as a permanent error ends it.
func (b *Bus) change(ctx context.Context, kv jetstream.KeyValue, key string, decide func(old []byte) (value []byte, err error)) error {
	ctx, cancel := b.patiently(ctx)
	defer cancel()
	return retry(ctx, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		old, revision, err := current(ctx, kv, key)
		if err != nil {
			return err
		}
		value, err := decide(old)
		if err != nil || value == nil {
			return err
		}
		if revision == 0 {
			_, err = kv.Create(ctx, key, value)
		} else {
			_, err = kv.Update(ctx, key, value, revision)
		}
		return overtaken(err)
	})
}

// overtaken is err, or errOvertaken if it says that the last message of the subject is not the expected one. The server has two codes for that.
func overtaken(err error) error {
	var api *jetstream.APIError
	if errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant) {
		return errOvertaken
	}
	return err
}

// current is the value of a key and its revision, nil and 0 if it has none.
func current(ctx context.Context, kv jetstream.KeyValue, key string) (value []byte, revision uint64, err error) {
	entry, err := kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	return entry.Value(), entry.Revision(), nil
}
