package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicefaas/sluice/pkg/job"
)

// ackTimeout bounds one wait for the confirmation of an ack. The ack of an old delivery is only confirmed once its
// consumer has delivered the call again, so it is short and repeated.
const ackTimeout = 2 * time.Second

// fetchWait is how long Fetch waits for calls.
const fetchWait = time.Second

// Delivery is one call, or one request of a job, as the server has delivered it.
type Delivery struct {
	bus *Bus
	// Call is the request; Err says what is wrong with it if it is none (it wraps ErrBadMessage).
	Call Call
	Err  error
	// ID is the call's id, or that of the job's run, the same on every delivery.
	ID string
	// Sequence is the call's place in the stream.
	Sequence uint64
	// Accepted is when the stream stored the call.
	Accepted time.Time

	// job is what Job returns, and made when the stream was that it is from.
	job     job.Message
	made    time.Time
	message *nats.Msg
	// handle is the newest ack subject of the call.
	handle atomic.Pointer[string]
}

func newDelivery(bus *Bus, msg *nats.Msg) (*Delivery, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return nil, fmt.Errorf("read the metadata of a delivery: %w", err)
	}
	d := &Delivery{bus: bus, Sequence: meta.Sequence.Stream, Accepted: meta.Timestamp, message: msg}
	d.handle.Store(&msg.Reply)
	return d, nil
}

// readCall reads the message as a call.
func (d *Delivery) readCall(time.Time) {
	d.ID = d.bus.callID(d.Sequence)
	d.Call, d.Err = d.bus.decode(d.message)
}

// name is what errors say that it is.
func (d *Delivery) name() string {
	if d.job.Definition != "" {
		return "the request of run " + d.ID + " of " + d.job.Definition
	}
	return "call " + d.ID
}

// Replace makes the ack handle of a later delivery of the same call the one that counts.
func (d *Delivery) Replace(later *Delivery) { d.handle.Store(later.handle.Load()) }

// Done takes the call out of the queue for good, and its body out of the object store unless a dead letter needs it. It returns when the
// server has confirmed that the call is out, repeating with the newest handle until ctx ends.
func (d *Delivery) Done(ctx context.Context) error {
	err := retry(ctx, func(context.Context) error {
		_, err := d.bus.conn.Request(*d.handle.Load(), []byte("+ACK"), ackTimeout) // cheaper than with a context of its own
		return err
	})
	if err != nil {
		return fmt.Errorf("acknowledge %s: %w", d.name(), err)
	}
	if d.Stored() {
		d.dropBody(ctx)
	}
	return nil
}

// Again asks for another delivery after the delay. It is not confirmed: if it is lost the call comes back after the ack wait.
func (d *Delivery) Again(delay time.Duration) error {
	body := strconv.AppendInt([]byte(`-NAK {"delay": `), delay.Nanoseconds(), 10)
	if err := d.bus.conn.Publish(*d.handle.Load(), append(body, '}')); err != nil {
		return fmt.Errorf("hand back %s: %w", d.name(), err)
	}
	return nil
}

// InProgress tells the server that the call is still being worked on; see ProgressInterval.
func (d *Delivery) InProgress() error {
	if err := d.bus.conn.Publish(*d.handle.Load(), []byte("+WPI")); err != nil {
		return fmt.Errorf("report progress of %s: %w", d.name(), err)
	}
	return nil
}

// Fetch takes up to count calls of a function that nobody dispatches, waiting fetchWait for them. It works for every word of a
// subject but the wildcards * and >, which no consumer can be told apart from all calls.
func (b *Bus) Fetch(ctx context.Context, function string, count int) ([]*Delivery, error) {
	if strings.ContainsAny(function, "*>") {
		return nil, fmt.Errorf("fetch calls of %q: %w: the subject %s cannot be asked for by itself; find it with: nats stream view %s",
			function, ErrBadMessage, b.CallSubject(function), b.CallsStream())
	}
	consumer := b.NewConsumer(function, count)
	defer consumer.Close()
	openCtx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := consumer.Open(openCtx); err != nil {
		return nil, err
	}
	if err := consumer.Reset(); err != nil {
		return nil, err
	}
	if err := consumer.pull(count, fetchWait); err != nil {
		return nil, err
	}
	return consumer.collect(ctx)
}

// collect reads what the open pulls bring until they end.
func (c *Consumer) collect(ctx context.Context) (deliveries []*Delivery, err error) {
	timeout := time.After(fetchWait + silence)
	for c.asked > 0 && err == nil {
		select {
		case msg := <-c.messages:
			var delivery *Delivery
			if delivery, err = c.Handle(msg); delivery != nil {
				deliveries = append(deliveries, delivery)
			}
		case <-timeout:
			err = fmt.Errorf("%w: the pull brought no end", errLost)
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	if len(deliveries) > 0 || err == nil {
		return deliveries, nil
	}
	return nil, fmt.Errorf("fetch %s: %w", c.of, err)
}

// Pending returns how many calls of the function wait at its consumer without having been delivered; 0 if it has none.
func (b *Bus) Pending(ctx context.Context, function string) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	consumer, err := b.js.Consumer(ctx, b.CallsStream(), CallsConsumer(function))
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look at the consumer of %s: %w", function, err)
	}
	return consumer.CachedInfo().NumPending, nil
}
