package bus

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// maxDeadAnswer bounds what a dead letter keeps of the last answer, in bytes before its encoding.
const maxDeadAnswer = 8 << 10

// maxDeadDetail bounds the sentence, and maxMsgID the Nats-Msg-Id header that is put beside it.
const (
	maxDeadDetail = 1 << 10
	maxMsgID      = 128
)

// Death says why a call was given up.
type Death struct {
	// Reason is one of a few words, fit for a metric.
	Reason string
	// Detail is a sentence.
	Detail   string
	At       time.Time
	Attempts int
	// Status and Answer are those of the last attempt, if there was an answer.
	Status int
	Answer []byte
}

// Bury stores the call as a dead letter, whole, and returns its place in the dead letters' stream. It repeats until
// ctx ends; the same call is stored once. The call itself stays queued: the caller acknowledges it afterwards.
func (b *Bus) Bury(ctx context.Context, d *Delivery, death Death) (sequence uint64, err error) {
	msg := &nats.Msg{Subject: b.DeadSubject(d.Call.Function), Header: deadHeader(d, death), Data: d.message.Data}
	ack, err := b.publish(ctx, msg, "dead-"+d.ID)
	if err != nil {
		return 0, fmt.Errorf("store the dead letter of call %s: %w", d.ID, err)
	}
	if d.Stored() {
		if err := d.keepBody(ctx, ack.Sequence); err != nil {
			return 0, fmt.Errorf("keep the body of call %s for its dead letter: %w", d.ID, err)
		}
	}
	return ack.Sequence, nil
}

// deadHeader is the message's header and why it was given up. What the client library refuses to send, or the server to store, is left
// out: what cannot be buried would come back for ever.
func deadHeader(d *Delivery, death Death) nats.Header {
	header := nats.Header{}
	maps.Copy(header, d.message.Header)
	maps.DeleteFunc(header, func(name string, _ []string) bool {
		return hasPrefixFold(name, "Nats-") || hasPrefixFold(name, "Sluice-Dead-") || strings.EqualFold(name, HeaderResultTo) || !sendable(name)
	})
	if headerSize(header) > maxCallHeader {
		clear(header)
		death.Detail = "(headers left out: too large) " + death.Detail
	}
	set := func(name, value string) { header[name] = []string{value} }
	set(HeaderDeadReason, death.Reason)
	set(HeaderDeadDetail, death.Detail[:min(len(death.Detail), maxDeadDetail)])
	set(HeaderDeadAt, death.At.UTC().Format(time.RFC3339Nano))
	if d.job.Definition == "" {
		set(HeaderDeadAttempts, strconv.Itoa(death.Attempts))
		set(HeaderDeadCallID, d.ID)
	} else {
		set(HeaderJobRunID, d.ID)
	}
	set(HeaderDeadAccepted, d.Accepted.UTC().Format(time.RFC3339Nano))
	if death.Status != 0 {
		set(HeaderDeadLastStatus, strconv.Itoa(death.Status))
		set(HeaderDeadLastAnswer, "")
		room := base64.StdEncoding.DecodedLen(maxHeader - maxMsgID - headerSize(header))
		set(HeaderDeadLastAnswer, base64.StdEncoding.EncodeToString(death.Answer[:max(0, min(len(death.Answer), maxDeadAnswer, room-3))]))
	}
	return header
}

// headerSize is at least the size of the header's block on the wire.
func headerSize(header nats.Header) int {
	size := len("NATS/1.0\r\n\r\n")
	for name, values := range header {
		for _, value := range values {
			size += len(name) + len(value) + len(": \r\n")
		}
	}
	return size
}

// sendable reports whether the client library takes the name of a header.
func sendable(name string) bool {
	return !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ':' })
}

// ShowDead is the command that shows a dead letter to a person.
func (b *Bus) ShowDead(sequence uint64) string {
	return fmt.Sprintf("nats stream get %s %d", b.DeadStream(), sequence)
}
