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
	"github.com/nats-io/nuid"
)

// Headers of an atomic batch (NATS ADR-50). The server stores them with the message.
const (
	headerBatchID       = "Nats-Batch-Id"
	headerBatchSequence = "Nats-Batch-Sequence"
	headerBatchCommit   = "Nats-Batch-Commit"
)

// errBatchUnanswered says that a batch may be stored, now or after the server's next start. A server that reaches its own
// limit of storage in the middle of a batch (2.15) keeps the first calls, does not answer, and may store the others when it
// starts again.
var errBatchUnanswered = errors.New("the server did not answer a batch")

// groupBatch is calls that the server stores together or not at all, one behind the other.
type groupBatch struct {
	id    string
	calls []*nats.Msg
	// sent is closed when the messages are no longer read, done when first and err are there.
	sent, done chan struct{}
	first      uint64
	err        error
}

// newGroupBatch tells the calls that their turn has come.
func newGroupBatch(calls []*groupCall) *groupBatch {
	b := &groupBatch{id: nuid.Next(), calls: make([]*nats.Msg, len(calls)), sent: make(chan struct{}), done: make(chan struct{})}
	for i, call := range calls {
		b.calls[i] = call.msg
		call.batch, call.place = b, i
		close(call.turn)
	}
	return b
}

// settle gives every call its answer: the place of the last one in the stream, or why there is none.
func (b *groupBatch) settle(last uint64, err error) {
	b.first, b.err = last-uint64(len(b.calls))+1, err
	close(b.done)
}

// answer waits for the call's place in the stream. Before it returns, nobody reads the message any more.
func (b *groupBatch) answer(ctx context.Context, call *groupCall) (*jetstream.PubAck, error) {
	select {
	case <-b.done:
	case <-ctx.Done():
		<-b.sent
		return nil, context.Cause(ctx)
	}
	if b.err == nil {
		return &jetstream.PubAck{Sequence: b.first + uint64(call.place)}, nil
	}
	for _, name := range []string{headerBatchID, headerBatchSequence, headerBatchCommit} {
		delete(call.msg.Header, name)
	}
	if errors.Is(b.err, errBatchUnanswered) {
		return nil, b.err
	}
	// The cause is not wrapped: what holds for the batch, such as a full queue, need not hold for this call.
	return nil, fmt.Errorf("publish in a batch: %v", b.err) //nolint:errorlint // see above
}

// groupLink sends batches and gets their answers. The library's futures are not for batches: they hide how many were stored.
type groupLink struct {
	conn    *nats.Conn
	timeout time.Duration
	inbox   string
	answers chan *nats.Msg
	sub     *nats.Subscription
	// lost has a value after the connection was lost or closed.
	lost chan nats.Status
}

func newGroupLink(conn *nats.Conn, timeout time.Duration) (*groupLink, error) {
	l := &groupLink{conn: conn, timeout: timeout, inbox: conn.NewInbox() + ".", answers: make(chan *nats.Msg, groupMost)}
	var err error
	if l.sub, err = conn.ChanSubscribe(l.inbox+"*", l.answers); err != nil {
		return nil, fmt.Errorf("subscribe to the answers of batches: %w", err)
	}
	l.lost = conn.StatusChanged(nats.RECONNECTING, nats.CLOSED)
	return l, nil
}

func (l *groupLink) close() {
	l.conn.RemoveStatusListener(l.lost)
	_ = l.sub.Unsubscribe() // fails only when the connection is closed
}

// publish sends the batch and returns the place of its last message in the stream once the server has stored all of it.
func (l *groupLink) publish(b *groupBatch) (last uint64, err error) {
	l.forgetLosses()
	err = l.send(b)
	close(b.sent)
	if err != nil {
		return 0, err
	}
	timeout := time.NewTimer(l.timeout)
	defer timeout.Stop()
	for {
		select {
		case answer := <-l.answers:
			if answer.Subject == l.inbox+b.id { // and not a late one of an earlier batch
				return b.read(answer)
			}
		case <-l.lost:
			return 0, nats.ErrDisconnected
		case <-timeout.C:
			return 0, errBatchUnanswered
		}
	}
}

// forgetLosses drops what was told of the connection before the batch.
func (l *groupLink) forgetLosses() {
	for {
		select {
		case <-l.lost:
		default:
			return
		}
	}
}

// send sends all messages at once. Only the last one is answered: if the server has refused any before, it refuses that as well.
func (l *groupLink) send(b *groupBatch) error {
	id := []string{b.id}
	for i, call := range b.calls {
		call.Header[headerBatchID] = id
		call.Header[headerBatchSequence] = []string{strconv.Itoa(i + 1)}
		msg := &nats.Msg{Subject: call.Subject, Header: call.Header, Data: call.Data}
		if i == len(b.calls)-1 {
			call.Header[headerBatchCommit] = []string{"1"}
			msg.Reply = l.inbox + b.id
		}
		if err := l.conn.PublishMsg(msg); err != nil {
			return fmt.Errorf("%w: %w", nats.ErrDisconnected, err)
		}
	}
	return nil
}

// read takes an answer only if it says that exactly this batch was stored, whole.
func (b *groupBatch) read(answer *nats.Msg) (last uint64, err error) {
	var ack struct {
		Error    *jetstream.APIError `json:"error"`
		Sequence uint64              `json:"seq"`
		Batch    string              `json:"batch"`
		Count    int                 `json:"count"`
	}
	if err := json.Unmarshal(answer.Data, &ack); err != nil { // as when nobody serves the stream
		return 0, fmt.Errorf("read the answer to a batch: %w", err)
	}
	if ack.Error != nil {
		return 0, refusal(ack.Error)
	}
	if ack.Batch != b.id || ack.Count != len(b.calls) || ack.Sequence < uint64(len(b.calls)) {
		return 0, fmt.Errorf("the answer to a batch of %d calls is of another one: %s", len(b.calls), answer.Data)
	}
	return ack.Sequence, nil
}
