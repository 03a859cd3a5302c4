package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// ackWait is how long a delivered call may go without a sign of life before the server delivers it again.
	ackWait = 30 * time.Second
	// ProgressInterval is how often a running call needs Delivery.InProgress.
	ProgressInterval = ackWait / 3
	// inactiveThreshold is after how long without a pull the server removes a consumer.
	inactiveThreshold = 5 * time.Minute
	// maxAckPending is large because calls that wait for a retry count against it.
	maxAckPending = 100_000
	// maxWaitingPulls bounds the pull requests that one consumer may have open.
	maxWaitingPulls = 8_192

	pullExpiry    = 30 * time.Second
	pullHeartbeat = 500 * time.Millisecond
	// silence is after how long without heartbeat an open pull is taken for lost.
	silence = 2 * time.Second
)

// Consumer pulls the calls of one function through its durable pull consumer. It asks for exactly as many calls as it is told
// to, whenever it is told to, which none of the client library's consumer loops can do: they pull in batches of a fixed size.
//
// A Consumer belongs to one goroutine. That goroutine reads Messages and gives each to Handle.
type Consumer struct {
	bus      *Bus
	function string
	messages chan *nats.Msg
	sub      *nats.Subscription
	inbox    string
	// open has the number of calls that each open pull may still bring, by the number in its reply subject.
	open  map[uint64]int
	last  uint64 // number of the newest pull
	asked int    // sum of open
	heard time.Time
}

// NewConsumer returns a Consumer of the function's calls that never has more than most of them asked for.
func (b *Bus) NewConsumer(function string, most int) *Consumer {
	const statuses = 256 // heartbeats and ends of pulls that may arrive beside the calls
	return &Consumer{bus: b, function: function, messages: make(chan *nats.Msg, most+statuses), open: map[uint64]int{}}
}

// Open makes the durable consumer if it is not there and subscribes to what pulls bring. It is called again whenever Handle or
// Silent say that pulls were lost; what was asked for before counts no more.
func (c *Consumer) Open(ctx context.Context) error {
	err := retry(ctx, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		_, err := c.bus.js.CreateOrUpdateConsumer(ctx, c.bus.CallsStream(), c.config())
		return err
	})
	if err != nil {
		return fmt.Errorf("make the consumer of %s: %w", c.function, err)
	}
	return nil
}

// Redeliver makes the server deliver every call again that is not acknowledged, also those that somebody works on.
func (c *Consumer) Redeliver(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if _, err := c.bus.js.ResetConsumer(ctx, c.bus.CallsStream(), c.function); err != nil {
		return fmt.Errorf("reset the consumer of %s: %w", c.function, err)
	}
	return nil
}

func (c *Consumer) config() jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable:           c.function,
		FilterSubject:     c.bus.CallSubject(c.function),
		AckPolicy:         jetstream.AckExplicitPolicy,
		AckWait:           ackWait,
		MaxDeliver:        -1,
		MaxAckPending:     maxAckPending,
		MaxWaiting:        maxWaitingPulls,
		InactiveThreshold: inactiveThreshold,
	}
}

// Reset forgets the pulls that are open, after Open has succeeded, and subscribes the first time.
func (c *Consumer) Reset() error {
	clear(c.open)
	c.asked, c.heard = 0, time.Now()
	if c.sub != nil {
		return nil
	}
	c.inbox = nats.NewInbox()
	sub, err := c.bus.conn.ChanSubscribe(c.inbox+".*", c.messages)
	if err != nil {
		return fmt.Errorf("subscribe to the calls of %s: %w", c.function, err)
	}
	c.sub = sub
	return nil
}

// Close ends the subscription. Calls that the server sends into a pull that was still open are delivered again after
// the ack wait, to whoever pulls then.
func (c *Consumer) Close() {
	if c.sub != nil {
		_ = c.sub.Unsubscribe() // fails only when the connection is closed, which ends it too
	}
}

// Messages brings what pulls brought.
func (c *Consumer) Messages() <-chan *nats.Msg { return c.messages }

// Asked is the number of calls that open pulls may still bring.
func (c *Consumer) Asked() int { return c.asked }

// Pull asks for count more calls.
func (c *Consumer) Pull(count int) error {
	request, err := json.Marshal(map[string]any{"batch": count, "expires": pullExpiry, "idle_heartbeat": pullHeartbeat})
	if err != nil {
		return fmt.Errorf("write a pull request: %w", err)
	}
	if c.asked == 0 {
		c.heard = time.Now()
	}
	c.last++
	subject := "$JS.API.CONSUMER.MSG.NEXT." + c.bus.CallsStream() + "." + c.function
	if err := c.bus.conn.PublishRequest(subject, c.inbox+"."+strconv.FormatUint(c.last, 10), request); err != nil {
		return fmt.Errorf("pull calls of %s: %w", c.function, err)
	}
	c.open[c.last] = count
	c.asked += count
	return nil
}

// errLost says that pulls which were open will bring nothing more.
var errLost = errors.New("the pull was lost")

// Handle takes one value of Messages. It returns the call that was delivered, or nil for a sign of life or the end of a
// pull. An error means that Open must be called again before the next Pull.
func (c *Consumer) Handle(msg *nats.Msg) (*Delivery, error) {
	c.heard = time.Now()
	if strings.HasPrefix(msg.Subject, c.inbox) {
		return nil, c.status(msg)
	}
	delivery, err := newDelivery(c.bus, msg)
	if err != nil {
		return nil, nil //nolint:nilerr,nilnil // not a JetStream delivery: somebody published to the inbox
	}
	c.count(c.oldest(), 1)
	return delivery, nil
}

// status handles a message of the server about one pull (NATS ADR-13 and ADR-37).
func (c *Consumer) status(msg *nats.Msg) error {
	number, err := strconv.ParseUint(msg.Subject[len(c.inbox)+1:], 10, 64)
	if err != nil || c.open[number] == 0 {
		return nil //nolint:nilerr // about a pull from before the last Reset
	}
	switch code := msg.Header.Get("Status"); code {
	case "100":
		return nil
	case "404", "408":
		c.count(number, c.open[number])
		return nil
	default:
		return fmt.Errorf("%w: %s %s", errLost, code, msg.Header.Get("Description"))
	}
}

// oldest is the pull that the server serves first: it serves them in their order. Its number is exact but when
// pulls were served in another order after a redelivery, and then the sum still is.
func (c *Consumer) oldest() uint64 {
	oldest := c.last + 1
	for number := range c.open {
		oldest = min(oldest, number)
	}
	return oldest
}

// count takes n calls off a pull.
func (c *Consumer) count(number uint64, n int) {
	n = min(n, c.open[number])
	c.asked -= n
	if c.open[number] -= n; c.open[number] <= 0 {
		delete(c.open, number)
	}
}

// Silent reports whether nothing has been heard of open pulls for so long that they must be taken for lost.
func (c *Consumer) Silent(now time.Time) bool { return c.asked > 0 && now.Sub(c.heard) > silence }
