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
	"github.com/nats-io/nuid"
)

// errNoMessage says that a stream has no such message.
var errNoMessage = errors.New("there is no such message")

// lookup asks a stream for one message: the one at Sequence, or the first one from there or from Since on that has the subject Next, or
// the last one that has the subject Last. With Batch it is for so many from there on, as long as they have MaxBytes together.
type lookup struct {
	Sequence uint64    `json:"seq,omitempty"`
	Since    time.Time `json:"start_time,omitzero"`
	Next     string    `json:"next_by_subj,omitempty"`
	Last     string    `json:"last_by_subj,omitempty"`
	Batch    int       `json:"batch,omitempty"`
	MaxBytes int       `json:"max_bytes,omitempty"`
}

// storedMessage is a message as it is in a stream.
type storedMessage struct {
	Subject  string
	Sequence uint64
	Time     time.Time
	Header   nats.Header
	Data     []byte
}

// removed reports whether the message is the mark that a bucket keeps of a key that has no value any more: one that somebody has removed, or the server.
func (m *storedMessage) removed() bool {
	operation := m.Header.Get(headerOperation)
	return operation == operationDelete || operation == operationPurge || m.Header.Get(jetstream.MarkerReasonHeader) != ""
}

// is reports whether it is the message that was sent, which has a Nats-Msg-Id of its own.
func (m *storedMessage) is(sent *nats.Msg) bool {
	return m.Header.Get(jetstream.MsgIDHeader) == sent.Header.Get(jetstream.MsgIDHeader)
}

// The header with which a key of a bucket is removed (NATS ADR-8), and its values: with a mark, or with one that replaces all that was there.
const (
	headerOperation = "KV-Operation"
	operationDelete = "DEL"
	operationPurge  = "PURGE"
)

// read asks any server that has the stream (NATS ADR-31). One that is behind answers errNoMessage for what another one has.
func (b *Bus) read(ctx context.Context, stream string, what lookup) (*storedMessage, error) {
	answer, err := b.ask(ctx, "$JS.API.DIRECT.GET."+stream, what)
	if err != nil {
		return nil, err
	}
	return readAnswer(stream, answer)
}

// readAnswer is the message that a server that has the stream has answered with.
func readAnswer(stream string, answer *nats.Msg) (*storedMessage, error) {
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
	var found struct {
		Message struct {
			Subject  string    `json:"subject"`
			Sequence uint64    `json:"seq"`
			Time     time.Time `json:"time"`
			Header   []byte    `json:"hdrs"`
			Data     []byte    `json:"data"`
		} `json:"message"`
	}
	err := b.command(ctx, "$JS.API.STREAM.MSG.GET."+stream, what, &found)
	var refused *jetstream.APIError
	switch m := found.Message; {
	case errors.As(err, &refused) && refused.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return nil, errNoMessage
	case err != nil:
		return nil, err
	case len(m.Header) == 0:
		return &storedMessage{m.Subject, m.Sequence, m.Time, nats.Header{}, m.Data}, nil
	default:
		header, _ := nats.DecodeHeadersMsg(m.Header) // one that cannot be read is not ours, and says nothing
		return &storedMessage{m.Subject, m.Sequence, m.Time, header, m.Data}, nil
	}
}

// findAtLeader is readLeader that bears with a server that does not answer.
func (b *Bus) findAtLeader(ctx context.Context, stream string, what lookup) (msg *storedMessage, err error) {
	ctx, cancel := b.patiently(ctx)
	defer cancel()
	err = retry(ctx, func(ctx context.Context) error {
		found, err := b.readLeader(ctx, stream, what)
		if errors.Is(err, errNoMessage) {
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

// command asks for something that the server answers in JSON. Its refusal is the error.
func (b *Bus) command(ctx context.Context, subject string, question, answer any) error {
	msg, err := b.ask(ctx, subject, question)
	if err != nil {
		return err
	}
	var refused struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := errors.Join(json.Unmarshal(msg.Data, &refused), json.Unmarshal(msg.Data, answer)); err != nil {
		return fmt.Errorf("read the answer of %s: %w", subject, err)
	}
	if refused.Error != nil {
		return fmt.Errorf("ask %s: %w", subject, refused.Error)
	}
	return nil
}

// askTimeout leaves time for three attempts within the patience: what a server has not answered that ends is not answered by the next one.
func (s Settings) askTimeout() time.Duration {
	if s.PublishPatience > 0 {
		return max(time.Second, min(requestTimeout, s.PublishPatience/3))
	}
	return requestTimeout
}

func (b *Bus) ask(ctx context.Context, subject string, question any) (*nats.Msg, error) {
	data, err := json.Marshal(question)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, b.config.Settings.askTimeout())
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

// ErrOvertaken says that somebody else has changed, or made, what was about to be changed.
var ErrOvertaken = errors.New("somebody else has changed it")

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

// publishBehind stores a message if the last one of its subject is at that place, 0 for none; else the error is ErrOvertaken. It may be overtaken by itself: one server
// alone looks at the place before the Nats-Msg-Id, so that what is repeated because an answer was lost finds that it is there. What is published again keeps its id.
func (b *Bus) publishBehind(ctx context.Context, msg *nats.Msg, place uint64) (sequence uint64, err error) {
	msg.Header[jetstream.ExpectedLastSubjSeqHeader] = []string{strconv.FormatUint(place, 10)}
	ack, err := b.publishAlone(ctx, msg, cmp.Or(msg.Header.Get(jetstream.MsgIDHeader), nuid.Next()))
	if err != nil {
		return 0, overtaken(err)
	}
	return ack.Sequence, nil
}

// overtaken is err, or ErrOvertaken if it says that the last message of the subject is not the expected one. The server has two codes for that.
func overtaken(err error) error {
	var api *jetstream.APIError
	if errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant) {
		return ErrOvertaken
	}
	return err
}

// putJSON stores the value of a key in a bucket that has one writer.
func putJSON(ctx context.Context, kv jetstream.KeyValue, key string, value any) (revision uint64, err error) {
	data, err := json.Marshal(value)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return kv.Put(ctx, key, data)
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
