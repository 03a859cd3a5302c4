package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

const (
	// publishTimeout bounds one attempt to publish: longer than a server's usual answer, shorter than the patience, so that a
	// change of the stream's leader is bridged by a second attempt.
	publishTimeout = 4 * time.Second
	// maxPendingPublishes bounds the publishes of one Bus that wait for their ack.
	maxPendingPublishes = 16_384
)

// PublishCall queues a call and returns its id once the server has acknowledged it. While the server is away it repeats the
// publish with the same Nats-Msg-Id for PublishPatience or until ctx ends, so a call is never stored twice. Errors
// wrap ErrQueueFull, ErrStorageFull, ErrTooLarge, ErrKeyReused, ErrUnavailable or the error of call.Reader. It takes over the call's header.
func (b *Bus) PublishCall(ctx context.Context, call Call) (id string, err error) {
	switch {
	case call.IdempotencyKey != "":
		id, err = b.publishKeyed(ctx, call)
	case call.Reader != nil:
		id, err = b.publishLarge(ctx, call)
	default:
		id, err = b.publishSmall(ctx, call)
	}
	if err != nil {
		return "", fmt.Errorf("queue a call of %s: %w", call.Function, err)
	}
	return id, nil
}

// publishSmall queues a call that has its body with it.
func (b *Bus) publishSmall(ctx context.Context, call Call) (id string, err error) {
	msg := b.encode(call)
	ack, err := b.publishCall(ctx, msg)
	if err != nil {
		b.group.refused(msg, err)
		return "", err
	}
	return b.callID(ack.Sequence), nil
}

// checkHeader refuses a message whose header leaves no room for why it was given up.
func checkHeader(msg *nats.Msg) error {
	if size := msg.Size() - len(msg.Subject) - len(msg.Data); size > maxCallHeader {
		return fmt.Errorf("%w: its header has %d bytes, %d are allowed", ErrTooLarge, size, maxCallHeader)
	}
	return nil
}

// publishAlone stores a message with that id, with the patience of PublishCall and never in a group.
func (b *Bus) publishAlone(ctx context.Context, msg *nats.Msg, id string) (*jetstream.PubAck, error) {
	if err := checkHeader(msg); err != nil {
		return nil, err
	}
	ctx, cancel := b.patiently(ctx)
	defer cancel()
	return b.publish(ctx, msg, id)
}

func (b *Bus) publishCall(ctx context.Context, msg *nats.Msg) (*jetstream.PubAck, error) {
	if err := checkHeader(msg); err != nil {
		return nil, err
	}
	start, id := time.Now(), nuid.Next()
	msg.Header[jetstream.MsgIDHeader] = []string{id}
	// The first attempt nearly always succeeds, and ends in time by itself: it does without the cost of a timer and a context.
	ack, err := b.publishFirst(ctx, msg)
	if err == nil || permanent(err) {
		return ack, err
	}
	ctx, cancel := context.WithDeadline(ctx, start.Add(b.config.Settings.PublishPatience))
	defer cancel()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	unknown := errors.Is(err, errBatchUnanswered)
	if ack, err = b.publish(ctx, msg, id); err != nil && unknown {
		// Without its cause, which may be a refusal: that would say that the call is not stored.
		return nil, fmt.Errorf("%w: %v", ErrUnavailable, err) //nolint:errorlint // see above
	}
	return ack, err
}

// publishFirst is the first attempt, with others where that is cheaper.
func (b *Bus) publishFirst(ctx context.Context, msg *nats.Msg) (*jetstream.PubAck, error) {
	if b.group != nil {
		return b.group.publish(ctx, msg)
	}
	return b.publishOnce(ctx, msg)
}

func (b *Bus) callID(sequence uint64) string { return formatCallID(b.created.Load(), sequence) }

// publish sends a message until the server has acknowledged it, always with the same id.
func (b *Bus) publish(ctx context.Context, msg *nats.Msg, id string) (ack *jetstream.PubAck, err error) {
	msg.Header[jetstream.MsgIDHeader] = []string{id}
	err = retry(ctx, func(ctx context.Context) error {
		ack, err = b.publishOnce(ctx, msg)
		return err
	})
	return ack, err
}

// publishOnce is one attempt. It takes no options, because they cost as much as the library's own part: the library itself repeats a publish that nobody
// answered for twice, within half a second.
func (b *Bus) publishOnce(ctx context.Context, msg *nats.Msg) (*jetstream.PubAck, error) {
	future, err := b.js.PublishMsgAsync(msg)
	if err != nil {
		return nil, b.publishError(err)
	}
	select {
	case ack := <-future.Ok():
		return ack, nil
	case err := <-future.Err():
		return nil, b.publishError(err)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// publishError tells the end of the connection from other failures: the library does not always say it in a way that can be told.
func (b *Bus) publishError(err error) error {
	if b.conn.IsClosed() {
		return nats.ErrConnectionClosed
	}
	return refusal(err)
}

// refusal names the refusals that a caller must tell apart. The server has one code for all limits of a
// stream (10077), so its words decide which one it was.
func refusal(err error) error {
	if errors.Is(err, nats.ErrMaxPayload) {
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return err
	}
	switch {
	case strings.Contains(api.Description, "maximum messages per subject"):
		return fmt.Errorf("%w: %w", ErrQueueFull, err)
	case strings.Contains(api.Description, "maximum bytes"), strings.Contains(api.Description, "resource limits exceeded"),
		strings.Contains(api.Description, "insufficient"):
		return fmt.Errorf("%w: %w", ErrStorageFull, err)
	case strings.Contains(api.Description, "message size exceeds"), strings.Contains(api.Description, "header size exceeds"):
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	return err
}

// Depths returns how many calls each function has in its queue, in flight or waiting for a retry; functions without any
// are left out.
func (b *Bus) Depths(ctx context.Context) (map[string]uint64, error) {
	return b.depths(ctx, b.callsStream, b.AllCalls())
}

// Depth is the same for one function.
func (b *Bus) Depth(ctx context.Context, function string) (uint64, error) {
	depths, err := b.depths(ctx, b.callsStream, b.CallSubject(function))
	return depths[function], err
}

// depths counts the messages of a work queue, by the last word of their subject.
func (b *Bus) depths(ctx context.Context, queue func(context.Context) (jetstream.Stream, error), subjects string) (map[string]uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	stream, err := queue(ctx)
	if err != nil {
		return nil, err
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(subjects))
	if err != nil {
		return nil, fmt.Errorf("read the queues' depths: %w", err)
	}
	depths := make(map[string]uint64, len(info.State.Subjects))
	for subject, count := range info.State.Subjects {
		if word, ok := wordAfter(subject, subjects[:strings.LastIndex(subjects, ".")+1]); ok {
			depths[word] = count
		}
	}
	return depths, nil
}

// Oldest returns when the oldest queued call of the function was accepted; ok is false when there is none.
func (b *Bus) Oldest(ctx context.Context, function string) (accepted time.Time, ok bool, err error) {
	return b.oldest(ctx, b.callsStream, b.CallSubject(function))
}

// oldest is when the oldest message of a subject was accepted by a work queue.
func (b *Bus) oldest(ctx context.Context, queue func(context.Context) (jetstream.Stream, error), subject string) (accepted time.Time, ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	stream, err := queue(ctx)
	if err != nil {
		return time.Time{}, false, err
	}
	msg, err := stream.GetMsg(ctx, 1, jetstream.WithGetMsgSubject(subject))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return time.Time{}, false, nil
	}
	if err != nil {
		return time.Time{}, false, fmt.Errorf("read the oldest message of %s: %w", subject, err)
	}
	return msg.Time, true, nil
}
