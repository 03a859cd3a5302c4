package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// defaultAckWait is the AckWait of Settings that say none.
	defaultAckWait = 30 * time.Second
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

func (b *Bus) ackWait() time.Duration {
	if b.config.Settings.AckWait > 0 {
		return b.config.Settings.AckWait
	}
	return defaultAckWait
}

// ProgressInterval is how often a running call needs Delivery.InProgress.
func (b *Bus) ProgressInterval() time.Duration { return b.ackWait() / 3 }

// Consumer pulls the calls of one function, the requests of one job, or events, through a durable pull consumer. It asks for exactly as many as it is told
// to, whenever it is told to, which none of the client library's consumer loops can do: they pull in batches of a fixed size.
//
// A Consumer belongs to one goroutine, but Open may run in another one. That goroutine reads Messages and gives each to Handle.
type Consumer struct {
	bus *Bus
	// of is what it pulls, in words, and stream where from.
	of, stream string
	config     jetstream.ConsumerConfig
	messages   chan *nats.Msg
	// decode reads what was delivered by a stream that was made at that time.
	decode func(d *Delivery, made time.Time)
	// dated says that decode needs the time, which Open leaves in opened, in Unix nanoseconds.
	dated  bool
	opened atomic.Int64
	// refused, if set, is why it cannot be opened.
	refused error

	made    time.Time // of the stream from which sub gets
	sub     *nats.Subscription
	inbox   string
	dropped int       // messages that sub had no room for
	retired []retired // subscriptions from before a Reset
	pulls   []pull    // those that are open, the oldest first
	last    uint64    // number of the newest pull
	asked   int       // sum of pulls
	heard   time.Time
}

// pull is one open pull request. The server serves open pulls in turn and a delivery does not say to which it belongs, so deliveries
// are taken off the oldest: the sum is exact at once, and the share of each is put right by the end of its pull, which says how much
// was left (see ended).
type pull struct {
	number uint64 // last word of its reply subject
	left   int
	until  time.Time // when its end is overdue
}

// retired is a subscription whose pulls may still bring calls, which count no more.
type retired struct {
	sub   *nats.Subscription
	made  time.Time
	until time.Time
}

// NewConsumer returns a Consumer of the function's calls that never has more than most of them asked for.
func (b *Bus) NewConsumer(function string, most int) *Consumer {
	c := b.newConsumer("calls of "+function, b.CallsStream(), most, jetstream.ConsumerConfig{
		Durable:           CallsConsumer(function),
		FilterSubject:     b.CallSubject(function),
		AckWait:           b.ackWait(),
		MaxAckPending:     maxAckPending,
		InactiveThreshold: inactiveThreshold,
	})
	c.decode = (*Delivery).readCall
	return c
}

func (b *Bus) newConsumer(of, stream string, most int, config jetstream.ConsumerConfig) *Consumer {
	const statuses = 256 // heartbeats and ends of pulls that may arrive beside the calls
	config.AckPolicy, config.MaxDeliver, config.MaxWaiting = jetstream.AckExplicitPolicy, -1, maxWaitingPulls
	return &Consumer{
		bus: b, of: of, stream: stream, config: config, messages: make(chan *nats.Msg, most+statuses),
		decode: func(*Delivery, time.Time) {},
	}
}

// Open makes the durable consumer if it is not there and subscribes to what pulls bring. It is called again whenever Handle or
// Silent say that pulls were lost; what was asked for before counts no more.
func (c *Consumer) Open(ctx context.Context) error {
	if c.refused != nil {
		return fmt.Errorf("make the consumer of %s: %w", c.of, c.refused)
	}
	err := retry(ctx, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		if _, err := c.bus.js.CreateOrUpdateConsumer(ctx, c.stream, c.config); err != nil || !c.dated {
			return err
		}
		// After the consumer: if the stream is made anew from here on, the consumer is gone and brings nothing.
		stream, err := c.bus.js.Stream(ctx, c.stream)
		if err == nil {
			c.opened.Store(stream.CachedInfo().Created.UnixNano())
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("make the consumer of %s: %w", c.of, err)
	}
	return nil
}

// Redeliver makes the server deliver every call again that is not acknowledged, also those that somebody works on.
func (c *Consumer) Redeliver(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if _, err := c.bus.js.ResetConsumer(ctx, c.stream, c.config.Durable); err != nil {
		return fmt.Errorf("reset the consumer of %s: %w", c.of, err)
	}
	return nil
}

// Reset forgets the pulls that are open, after Open has succeeded, and subscribes anew: what a forgotten pull still brings is
// delivered, but taken off no newer pull.
func (c *Consumer) Reset() error {
	inbox := c.bus.conn.NewInbox()
	sub, err := c.bus.conn.ChanSubscribe(inbox+".*", c.messages)
	if err != nil {
		return fmt.Errorf("subscribe to the %s: %w", c.of, err)
	}
	now := time.Now()
	if c.sub != nil {
		c.retired = append(c.retired, retired{c.sub, c.made, now.Add(pullExpiry + silence)})
	}
	c.sub, c.inbox, c.dropped = sub, inbox, 0
	c.made = time.Unix(0, c.opened.Load())
	c.pulls, c.asked, c.heard = nil, 0, now
	return nil
}

// Leave ends the open pulls and returns the calls that they have brought and nobody has handled, for the caller to hand back. It waits
// until the server has confirmed that it sends no more, at most until ctx ends. Reset makes the Consumer usable again.
func (c *Consumer) Leave(ctx context.Context) (left []*Delivery) {
	for _, sub := range c.subscriptions() {
		_ = sub.Drain() // fails only when the connection is closed: then nothing more arrives
	}
	_ = c.bus.conn.FlushWithContext(ctx) // a server that is away sends nothing either
	for len(c.messages) > 0 {
		if delivery, _ := c.Handle(<-c.messages); delivery != nil { // the end of a pull is of no interest now
			left = append(left, delivery)
		}
	}
	c.sub, c.retired, c.pulls, c.asked = nil, nil, nil, 0
	return left
}

func (c *Consumer) subscriptions() (subs []*nats.Subscription) {
	if c.sub != nil {
		subs = append(subs, c.sub)
	}
	for _, r := range c.retired {
		subs = append(subs, r.sub)
	}
	return subs
}

// Close ends the subscriptions. Calls that the server sends into a pull that was still open are delivered again after
// the ack wait, to whoever pulls then.
func (c *Consumer) Close() {
	for _, sub := range c.subscriptions() {
		_ = sub.Unsubscribe() // fails only when the connection is closed, which ends it too
	}
}

// Messages brings what pulls brought.
func (c *Consumer) Messages() <-chan *nats.Msg { return c.messages }

// Asked is the number of calls that open pulls may still bring.
func (c *Consumer) Asked() int { return c.asked }

// Pull asks for count more calls.
func (c *Consumer) Pull(count int) error { return c.pull(count, pullExpiry) }

func (c *Consumer) pull(count int, expiry time.Duration) error {
	request := fmt.Appendf(nil, `{"batch":%d,"expires":%d,"idle_heartbeat":%d}`, count, expiry.Nanoseconds(), min(pullHeartbeat, expiry/2).Nanoseconds())
	now := time.Now()
	if c.asked == 0 {
		c.heard = now
	}
	reply := c.inbox + "." + strconv.FormatUint(c.last+1, 10)
	if err := c.bus.conn.PublishRequest(pullSubject(c.stream, c.config.Durable), reply, request); err != nil {
		return fmt.Errorf("pull %s: %w", c.of, err)
	}
	c.last++
	c.pulls = append(c.pulls, pull{c.last, count, now.Add(expiry + silence)})
	c.asked += count
	return nil
}

// errLost says that pulls which were open will bring nothing more.
var errLost = errors.New("the pull was lost")

// Handle takes one value of Messages. It returns the call that was delivered, or nil for a sign of life or the end of a
// pull. An error means that Open must be called again before the next Pull.
func (c *Consumer) Handle(msg *nats.Msg) (*Delivery, error) {
	current := msg.Sub == c.sub
	if current {
		c.heard = time.Now()
	}
	if current && strings.HasPrefix(msg.Subject, c.inbox) {
		return nil, c.status(msg)
	}
	delivery, err := newDelivery(c.bus, msg)
	if err != nil {
		return nil, nil //nolint:nilerr,nilnil // no delivery: a status of a retired pull, or somebody published to the inbox
	}
	if current {
		c.takeOff(1)
	}
	c.decode(delivery, c.madeOf(msg.Sub))
	return delivery, nil
}

// madeOf is when the stream was made from which the subscription gets. What one that is retired still brings may be from another one than what is pulled
// now, although it has the same name.
func (c *Consumer) madeOf(sub *nats.Subscription) time.Time {
	for _, r := range c.retired {
		if r.sub == sub {
			return r.made
		}
	}
	return c.made
}

// status handles a message of the server about one pull (NATS ADR-13 and ADR-37).
func (c *Consumer) status(msg *nats.Msg) error {
	number, err := strconv.ParseUint(msg.Subject[len(c.inbox)+1:], 10, 64)
	if err != nil || number > c.last {
		return nil //nolint:nilerr // somebody published to the inbox
	}
	switch code := msg.Header.Get("Status"); code {
	case "100":
		return nil
	case "404", "408":
		c.ended(number, msg.Header.Get("Nats-Pending-Messages"))
		return nil
	default:
		return fmt.Errorf("%w: %s %s", errLost, code, msg.Header.Get("Description"))
	}
}

// ended takes off what an ended pull will not bring: as many as the server says. If that is not the pull's own share, deliveries
// have been taken off the wrong one, and the oldest of the others is put right by the difference.
func (c *Consumer) ended(number uint64, pending string) {
	i := slices.IndexFunc(c.pulls, func(p pull) bool { return p.number == number })
	own := 0
	if i >= 0 {
		own = c.pulls[i].left
		c.asked -= own
		c.pulls = slices.Delete(c.pulls, i, i+1)
	}
	left, err := strconv.Atoi(pending)
	switch {
	case err != nil || len(c.pulls) == 0:
	case left > own:
		c.takeOff(left - own)
	default:
		c.pulls[0].left += own - left
		c.asked += own - left
	}
}

// takeOff takes n calls off the open pulls, the oldest first.
func (c *Consumer) takeOff(n int) {
	for n > 0 && len(c.pulls) > 0 {
		oldest := &c.pulls[0]
		taken := min(n, oldest.left)
		oldest.left -= taken
		c.asked -= taken
		n -= taken
		if oldest.left == 0 {
			c.pulls = c.pulls[1:]
		}
	}
}

// Silent reports whether open pulls must be taken for lost: nothing has been heard for too long, the end of one of them is overdue, or
// a message was dropped because Messages was not read. It must be called now and then, also because it ends old subscriptions.
func (c *Consumer) Silent(now time.Time) bool {
	for len(c.retired) > 0 && now.After(c.retired[0].until) {
		_ = c.retired[0].sub.Unsubscribe() // as in Close
		c.retired = c.retired[1:]
	}
	if c.sub == nil {
		return false
	}
	if dropped, err := c.sub.Dropped(); err == nil && dropped > c.dropped {
		c.dropped = dropped
		return true
	}
	return c.asked > 0 && (now.Sub(c.heard) > silence || now.After(c.pulls[0].until))
}
