package bus

import (
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicefaas/sluice/pkg/job"
)

// Bounds of what a request says of itself beside its body, in bytes.
const (
	maxJobRequester = 256
	maxJobPath      = 8 << 10
)

// Job is the request that was delivered. RunID is always set: the publisher's, or one made of the message's place. Wrong says what is wrong with a message that can be no
// request; then Err wraps ErrBadMessage.
func (d *Delivery) Job() job.Message { return d.job }

// readJob reads the message as a request of a job. made is when the stream was.
func (d *Delivery) readJob(made time.Time) {
	d.made = made
	d.job, d.Err = d.bus.decodeJob(&storedMessage{d.message.Subject, d.Sequence, d.Accepted, d.message.Header, d.message.Data}, made)
	if brokenHeader(d.message) {
		d.Err = fmt.Errorf("%w: its header block cannot be read", ErrBadMessage)
		d.job.Wrong = d.Err.Error()
	}
	d.ID = d.job.RunID
}

// encodeJob turns a request into a message. What it refuses, decodeJob would.
func (n Names) encodeJob(m job.Message) (*nats.Msg, error) {
	if err := job.ValidName(m.Definition); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadMessage, err)
	}
	header := nats.Header{HeaderJobRunID: {m.RunID}}
	if m.Requester != "" {
		header[HeaderJobRequester] = []string{m.Requester}
	}
	if m.Path != "" {
		header[HeaderJobPath] = []string{m.Path}
	}
	msg := &nats.Msg{Subject: n.JobSubject(m.Definition), Header: header, Data: m.Body}
	_, err := n.decodeJob(&storedMessage{Subject: msg.Subject, Header: header}, time.Time{})
	return msg, err
}

// decodeJob is the inverse of encodeJob; it also takes what other NATS clients publish. The request is returned with an error too, as far as it can be read, as Wrong
// and always with a RunID. The error wraps ErrBadMessage.
func (n Names) decodeJob(msg *storedMessage, made time.Time) (job.Message, error) {
	m, err := n.decodeJobHeader(msg, made)
	if err != nil {
		m.Wrong = err.Error()
	}
	return m, err
}

func (n Names) decodeJobHeader(msg *storedMessage, made time.Time) (job.Message, error) {
	definition, _ := n.JobOf(msg.Subject) // the stream has no other subjects
	m := job.Message{
		Definition: definition, RunID: job.RunIDAt(n.JobsStream(), made, msg.Sequence), Body: msg.Data, Sequence: msg.Sequence, Accepted: msg.Time,
	}
	if requester, given := jobHeader(msg, HeaderJobRequester); given {
		if err := check(validValue(requester) && len(requester) <= maxJobRequester, HeaderJobRequester, requester, "a short text"); err != nil {
			return m, err
		}
		m.Requester = requester
	}
	if path, given := jobHeader(msg, HeaderJobPath); given {
		if err := check(validPath(path) && len(path) <= maxJobPath, HeaderJobPath, path, "a path that starts with /, escaped"); err != nil {
			return m, err
		}
		m.Path = path
	}
	return chooseRunID(m, msg)
}

// chooseRunID gives the request the id that its publisher has chosen for the run: by a header, by the body, or by the Nats-Msg-Id, with which who repeats a
// request says that it is the same. A wrong id in the body is for who reads that.
func chooseRunID(m job.Message, msg *storedMessage) (job.Message, error) {
	for _, name := range []string{HeaderJobRunID, HeaderRunID} {
		if id, given := jobHeader(msg, name); given {
			if err := job.ValidRunID(id); err != nil {
				return m, fmt.Errorf("%w: %s %q %w", ErrBadMessage, name, id[:min(len(id), maxJobRequester)], err)
			}
			m.RunID = id
			return m, nil
		}
	}
	msgID, given := jobHeader(msg, jetstream.MsgIDHeader)
	switch id := job.RequestedRunID(m.Body); {
	case job.ValidRunID(id) == nil:
		m.RunID = id
	case given && job.ValidRunID(msgID) == nil:
		m.RunID = msgID
	case given:
		m.RunID = job.RunIDFor(m.Definition, jetstream.MsgIDHeader+": "+msgID)
	}
	return m, nil
}

// jobHeader is the value of a header, whose name other clients may have written in another case.
func jobHeader(msg *storedMessage, name string) (value string, given bool) {
	for key, values := range msg.Header {
		if strings.EqualFold(key, name) {
			return first(values), true
		}
	}
	return "", false
}
