package bus

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
)

// Kinds of senders of Activity.
const (
	KindGateway    = "gateway"
	KindDispatcher = "dispatcher"
	// KindJobrunner has no calls in flight: what it reports is needed by jobs.
	KindJobrunner = "jobrunner"
)

// Activity is what one gateway or dispatcher tells the scaler, each second and at once when a function gets its first call.
type Activity struct {
	// Sender is unique to the process that sends.
	Sender string `json:"sender"`
	Kind   string `json:"kind"`
	// Revision is the newest revision of the functions bucket that the sender has applied.
	Revision uint64 `json:"revision"`
	// Functions has those that were called since the last report or have calls in flight.
	Functions map[string]FunctionActivity `json:"functions,omitempty"`
	// Partial says that functions which are not named may be active all the same.
	Partial bool `json:"partial,omitempty"`
	// Leaving says that this is the sender's last message.
	Leaving bool `json:"leaving,omitempty"`
}

// FunctionActivity is the activity of one function at one sender.
type FunctionActivity struct {
	// InFlight counts the calls that run or are held until a replica is ready.
	InFlight int `json:"inFlight"`
	// Endpoints counts those that run, by address.
	Endpoints map[string]int `json:"endpoints,omitempty"`
}

// maxActivityEntries bounds one message, in functions and endpoints: more are sent as several, all but the last of them partial.
// Each takes about 100 bytes, so that a message stays far below the server's limit of (usually) 1 MiB.
const maxActivityEntries = 2_000

// Wake asks the scaler to start the function.
func (b *Bus) Wake(function string) error {
	if err := b.conn.Publish(b.WakeSubject(function), nil); err != nil {
		return fmt.Errorf("wake %s: %w", function, err)
	}
	return nil
}

// OnWake calls handle for each wake of any function, from one goroutine, until the returned function is called.
func (b *Bus) OnWake(handle func(function string)) (stop func(), err error) {
	prefix := b.WakeSubject("")
	return b.subscribe(b.AllWakes(), func(msg *nats.Msg) { handle(strings.TrimPrefix(msg.Subject, prefix)) })
}

// ReportActivity sends what is in flight, in as many messages as it takes.
func (b *Bus) ReportActivity(activity Activity) error {
	part := activity
	part.Functions = map[string]FunctionActivity{}
	entries := 0
	for function, entry := range activity.Functions {
		size := 1 + len(entry.Endpoints)
		if entries > 0 && entries+size > maxActivityEntries {
			part.Partial, part.Leaving = true, false
			if err := b.sendJSON(b.ActivitySubject(), part); err != nil {
				return fmt.Errorf("report activity: %w", err)
			}
			clear(part.Functions)
			entries = 0
		}
		part.Functions[function] = entry
		entries += size
	}
	part.Partial, part.Leaving = activity.Partial, activity.Leaving
	if err := b.sendJSON(b.ActivitySubject(), part); err != nil {
		return fmt.Errorf("report activity: %w", err)
	}
	return nil
}

// OnActivity calls handle for each report, from one goroutine, until the returned function is called.
func (b *Bus) OnActivity(handle func(Activity)) (stop func(), err error) {
	return b.subscribe(b.ActivitySubject(), func(msg *nats.Msg) {
		var activity Activity
		if json.Unmarshal(msg.Data, &activity) == nil {
			handle(activity)
		}
	})
}

// AnnounceRevision tells readers of the functions bucket how new it is.
func (b *Bus) AnnounceRevision(revision uint64) error {
	if err := b.sendJSON(b.RevisionSubject(), revision); err != nil {
		return fmt.Errorf("announce the revision: %w", err)
	}
	return nil
}

// IdleCalls tells of messages published to call subjects without pulling them.
type IdleCalls struct {
	bus *Bus
	ch  chan *nats.Msg
}

// NewIdleCalls returns one that has room for a burst; what does not fit is dropped, so depths are looked at as well.
func (b *Bus) NewIdleCalls() *IdleCalls {
	const burst = 8_192
	return &IdleCalls{bus: b, ch: make(chan *nats.Msg, burst)}
}

// Messages brings one value for each message; Function says whose it is.
func (i *IdleCalls) Messages() <-chan *nats.Msg { return i.ch }

// Function is the function to which a value of Messages belongs.
func (i *IdleCalls) Function(msg *nats.Msg) string {
	function, _ := i.bus.FunctionOf(msg.Subject)
	return function
}

// Listen starts to tell of one function's messages. All functions share a channel, so an idle one costs a
// subscription and no goroutine.
func (i *IdleCalls) Listen(function string) (stop func(), err error) {
	sub, err := i.bus.conn.ChanSubscribe(i.bus.CallSubject(function), i.ch)
	if err != nil {
		return nil, fmt.Errorf("listen for calls of %s: %w", function, err)
	}
	return func() { _ = sub.Unsubscribe() }, nil // fails only when the connection is closed
}

// subscribe calls handle for each message, from one goroutine, until stop, which waits for it to end.
func (b *Bus) subscribe(subject string, handle nats.MsgHandler) (stop func(), err error) {
	return b.subscribeIn("", subject, handle)
}

// subscribeIn is subscribe for one of a group, of which one gets each message.
func (b *Bus) subscribeIn(group, subject string, handle nats.MsgHandler) (stop func(), err error) {
	sub, err := b.conn.QueueSubscribe(subject, group, handle)
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", subject, err)
	}
	done := make(chan struct{})
	sub.SetClosedHandler(func(string) { close(done) })
	return func() {
		if sub.Unsubscribe() == nil {
			<-done
		}
	}, nil
}

func (b *Bus) sendJSON(subject string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return b.conn.Publish(subject, data)
}
