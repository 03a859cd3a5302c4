// Package bus is the only code that speaks NATS: it names the streams, buckets and subjects, publishes and pulls
// calls and requests of jobs, keeps attempt records, records of runs and dead letters, shares the functions' state and the
// definitions of jobs, and carries the small signals (wake, activity) between the services. Each service opens one Bus of its own.
package bus

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Errors that callers tell apart.
var (
	// ErrQueueFull says that the function, or the job, has as many calls or requests queued as it may have.
	ErrQueueFull = errors.New("the queue is full")
	// ErrStorageFull says that the stream has no room for anything.
	ErrStorageFull = errors.New("the queue's storage is full")
	// ErrTooLarge says that a message is above the limit of the server.
	ErrTooLarge = errors.New("the message is too large")
	// ErrKeyReused says that an idempotency key came with another call before.
	ErrKeyReused = errors.New("the idempotency key belongs to another call")
	// ErrBodyLost says that the body of a call is not in the object store any more.
	ErrBodyLost = errors.New("the body of the call is gone")
	// ErrUnavailable says that NATS did not answer in time; the operation may be repeated.
	ErrUnavailable = errors.New("NATS is not available")
)

// Limits of waiting for NATS.
const (
	requestTimeout = 5 * time.Second
	reconnectWait  = 100 * time.Millisecond
	pingInterval   = 10 * time.Second
)

// Config is what a Bus needs to know.
type Config struct {
	URL  string `name:"nats" default:"nats://127.0.0.1:4222" help:"Address of the NATS server, or several with commas between; tls:// for one that needs TLS."`
	Auth Auth   `embed:"" prefix:"nats-"`
	// Replicas of streams and buckets.
	Replicas int      `name:"stream-replicas" default:"1" enum:"1,3,5" help:"Servers that keep a copy of each stream: 1, 3 or 5."`
	Settings Settings `embed:""`

	// Name of the connection, as monitoring of the server shows it.
	Name string `kong:"-"`
	// Service is the word after the prefix in the connection's inboxes (see Names.Inboxes), so that a NATS user may be permitted to
	// read its own answers alone; empty means the library's own inboxes.
	Service string `kong:"-"`
	// Notify is told of lost and regained connections; nil means nobody is.
	Notify func(event string, err error) `kong:"-"`
	// InProcess gives connections to a server in this process, which cost no system calls; nil means that URL is dialled.
	InProcess nats.InProcessConnProvider `kong:"-"`
	// GroupCommit lets calls that are published at the same time share the server's syncs, as atomic batches. It is for one
	// server that syncs every publish: measured 4 times the calls a second with 128 callers, 1.2 to 2.4 times with 32, and no
	// change up to 16. With the default sync interval it takes away 60 to 80 % of the rate, since the server stages each batch
	// in files that it syncs; and three replicas group their syncs themselves.
	GroupCommit bool `kong:"-"`
}

// Settings are those that hold wherever the server is. The services of one installation must agree on them.
type Settings struct {
	Prefix string `default:"sluice" help:"First word of every subject, stream and bucket, so that installations can share a NATS cluster."`
	// QueueLimit is how many calls of one function may be queued.
	QueueLimit int64 `default:"100000" help:"Calls that may be queued for one function; more are answered with 429."`
	// JobQueueLimit is how many requests of one job may be queued; 0 means 10,000.
	JobQueueLimit int64 `default:"10000" help:"Requests that may be queued for one job; more are answered with 429."`
	// StorageLimit is in bytes; 0 leaves it to the server.
	StorageLimit int64 `default:"0" help:"Bytes that all queued calls may take together, of which 6/16 are for large bodies, and 1/16 each for events, requests of jobs and the output of runs; 0 means as many as the server has."`
	// PublishPatience bounds how long a publish is repeated while NATS does not answer.
	PublishPatience time.Duration `default:"10s" help:"How long a call waits for the queue to accept it before its caller gets 503."`
	// IdempotencyTTL is how long an idempotency key is remembered; 0 means 24 h.
	IdempotencyTTL time.Duration `name:"idempotency-ttl" default:"24h" help:"How long an Idempotency-Key is remembered: for so long the same call with it is queued once."`
	// AckWait is how long a delivered call, or request of a job, may go without a sign of life before the server delivers it again; 0 means 30 s,
	// and 60 s for a job.
	AckWait time.Duration `kong:"-"`
}

// check names the settings with which no stream could be made.
func (c Config) check() error {
	switch {
	case c.Settings.Prefix == "" || strings.Trim(c.Settings.Prefix, prefixLetters) != "":
		return fmt.Errorf("prefix %q: it must have letters, digits, - and _ only", c.Settings.Prefix)
	case c.Settings.QueueLimit < 1:
		return fmt.Errorf("queue limit %d: it must be at least 1", c.Settings.QueueLimit)
	case c.Settings.JobQueueLimit < 0:
		return fmt.Errorf("job queue limit %d: it must be at least 1", c.Settings.JobQueueLimit)
	case c.Settings.StorageLimit < 0:
		return fmt.Errorf("storage limit %d: it must be a number of bytes, or 0 for no limit", c.Settings.StorageLimit)
	case c.Settings.IdempotencyTTL < 0:
		return fmt.Errorf("idempotency TTL %s: it must be a time such as 24h", c.Settings.IdempotencyTTL)
	case strings.Trim(c.Service, prefixLetters) != "":
		return fmt.Errorf("service %q: it must have letters, digits, - and _ only", c.Service)
	}
	return nil
}

const (
	// prefixLetters may be in the name of a stream and in a word of a subject alike.
	prefixLetters = wordLetters + "-_"
	wordLetters   = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
)

// attemptTimeout bounds one attempt to publish, within the patience.
func (s Settings) attemptTimeout() time.Duration {
	if s.PublishPatience > 0 {
		return min(publishTimeout, s.PublishPatience)
	}
	return publishTimeout
}

// Bus is one connection to NATS and what Sluice does over it. All its methods may be called from any goroutine.
type Bus struct {
	Names
	config Config
	conn   *nats.Conn
	js     jetstream.JetStream
	// created is the creation time of the calls stream in Unix milliseconds, 0 while unknown.
	created atomic.Int64
	// maxPayload is the server's, 0 while it has not been reached. The connection's own is behind the lock that every publish takes.
	maxPayload atomic.Int64
	// calls is the handle of the calls stream, nil until it is first used.
	calls atomic.Pointer[jetstream.Stream]
	// jobs is the handle of the jobs stream, nil until it is first used.
	jobs atomic.Pointer[jetstream.Stream]
	// keys is the bucket of idempotency keys, nil until it is first used.
	keys atomic.Pointer[jetstream.KeyValue]
	// group is nil without GroupCommit.
	group *group
	// notices are of the connection.
	notices notices
	// results are those that AwaitResult waits for.
	results results
	// dialled is conn for the library's callbacks, which may come before Connect returns.
	dialled atomic.Pointer[nats.Conn]

	mu         sync.Mutex
	reconnects map[chan struct{}]struct{} // guarded by mu
}

// Connect opens the connection. It does not wait for the server: a Bus whose server is away reconnects for ever, and
// its operations fail with ErrUnavailable meanwhile.
func Connect(config Config) (*Bus, error) {
	if err := config.check(); err != nil {
		return nil, err
	}
	b := &Bus{Names: Names{Prefix: config.Settings.Prefix}, config: config, reconnects: map[chan struct{}]struct{}{}}
	b.notices.notify = b.notify
	conn, err := b.dial()
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(conn,
		jetstream.WithDefaultTimeout(requestTimeout),
		jetstream.WithPublishAsyncTimeout(config.Settings.attemptTimeout()),
		jetstream.WithPublishAsyncMaxPending(maxPendingPublishes))
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("open JetStream: %w", err)
	}
	b.conn, b.js = conn, js
	if config.GroupCommit {
		if b.group, err = newGroup(b); err != nil {
			conn.Close()
			return nil, err
		}
	}
	return b, nil
}

// dial opens the connection.
func (b *Bus) dial() (*nats.Conn, error) {
	options, err := b.config.Auth.options(b.config.URL, b.notices.tell)
	if err != nil {
		return nil, err
	}
	if b.config.Service != "" {
		options = append(options, nats.CustomInboxPrefix(b.Inboxes(b.config.Service)))
	}
	conn, err := nats.Connect(b.config.URL, append(options,
		nats.InProcessServer(b.config.InProcess),
		nats.Name(b.config.Name),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		// Without this the client gives up for good when it is refused twice, as while the server's users are reloaded.
		nats.IgnoreAuthErrorAbort(),
		nats.CustomReconnectDelay(b.reconnectDelay),
		// A publish while disconnected must fail at once: it is repeated with its own patience, not from a buffer.
		nats.ReconnectBufSize(-1),
		nats.Timeout(2*time.Second),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(2),
		nats.ConnectHandler(b.reconnected),
		nats.ReconnectHandler(b.reconnected),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { b.notices.failed(err) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { b.notify("disconnected", err) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { b.notices.broken(err) }),
	)...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS at %s: %w", redact(b.config.URL), err)
	}
	b.dialled.Store(conn)
	return conn, nil
}

// reconnectDelay is the pause before the servers are tried again. It tells why the last attempt failed, where the library does not: an
// attempt that reached a server and was refused by it, or refused it, is in no callback until there has been a connection.
func (b *Bus) reconnectDelay(int) time.Duration {
	if conn := b.dialled.Load(); conn != nil {
		b.notices.failed(conn.LastError())
	}
	return reconnectWait + rand.N(reconnectWait/2) //nolint:gosec // services that come back at different times need no secrecy
}

// Close flushes what was published, within a second, and closes the connection.
func (b *Bus) Close() {
	_ = b.conn.FlushTimeout(time.Second) // a server that is away has nothing to flush to
	b.results.close()
	b.conn.Close()
	if b.group != nil {
		b.group.close()
	}
}

// Connected reports whether the connection stands, as an error that says what it is doing if not.
func (b *Bus) Connected() error {
	if status := b.conn.Status(); status != nats.CONNECTED {
		reason := ""
		if err := b.conn.LastError(); err != nil {
			reason = ": " + err.Error()
		}
		return fmt.Errorf("%w: connection to %s is %s%s", ErrUnavailable, redact(b.config.URL), status, reason)
	}
	return nil
}

// MaxBody is the number of bytes that the body of one call may have, 0 while the server has not been reached.
func (b *Bus) MaxBody() int64 { return max(0, b.maxCallSize()-maxCallHeader) }

// maxCallSize leaves room on a dead letter for what is said about it, so that every call that is accepted can also be
// given up whole.
func (b *Bus) maxCallSize() int64 { return max(0, b.maxPayload.Load()-maxDeadHeader) }

const (
	// maxHeader is the server's limit for the header block of a message in a stream.
	maxHeader = 64<<10 - 1
	// maxCallHeader leaves room in it for why a call was given up.
	maxCallHeader = 60 << 10
	// maxDeadHeader has that, a part of the last answer, and the space that the client writes after each colon of the call's header.
	maxDeadHeader = 32 << 10
)

// Reconnects returns a channel that gets a value after each (re)connection, and the function that ends that. Values
// that are not read are dropped but one.
func (b *Bus) Reconnects() (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	b.mu.Lock()
	b.reconnects[ch] = struct{}{}
	b.mu.Unlock()
	return ch, func() {
		b.mu.Lock()
		delete(b.reconnects, ch)
		b.mu.Unlock()
	}
}

func (b *Bus) reconnected(conn *nats.Conn) {
	b.maxPayload.Store(conn.MaxPayload())
	b.notify("connected", nil)
	b.mu.Lock()
	defer b.mu.Unlock()
	for ch := range b.reconnects {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

func (b *Bus) notify(event string, err error) {
	if b.config.Notify != nil {
		b.config.Notify(event, err)
	}
}

// retry repeats do with a growing pause until it succeeds, fails for good or ctx ends. It is for work that must be done before a
// service can start or settle: the server may be away for as long as it likes.
func retry(ctx context.Context, do func(context.Context) error) error {
	const longest = time.Second
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, longest) {
		err := do(ctx)
		if err == nil || permanent(err) {
			return err
		}
		if errors.Is(err, nats.ErrConnectionClosed) { // by Close
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		case <-time.After(pause):
		}
	}
}

// permanent reports whether repeating an operation cannot help. Refusals for a full server and for an election have codes of
// 500 and above. A name in use means that another service makes the same stream at this moment: the next attempt finds it.
func permanent(err error) bool {
	for _, final := range []error{ErrTooLarge, ErrQueueFull, ErrStorageFull, ErrNoOpenCall, ErrKeyReused, ErrBodyLost, ErrBadMessage, ErrNoLog, errTooOld, nats.ErrBadHeaderMsg} {
		if errors.Is(err, final) {
			return true
		}
	}
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return false
	}
	var api *jetstream.APIError
	if !errors.As(err, &api) || api.ErrorCode == duplicateInProcess || api.ErrorCode == noPeers {
		return false
	}
	return api.Code >= 400 && api.Code < 500 && api.Code != 408 && api.Code != 429
}

// duplicateInProcess is the server's code for a Nats-Msg-Id whose first message it is about to store: the next attempt gets its place.
const duplicateInProcess = 10158

// noPeers is its code for a stream with more copies than there are servers at the moment: one of them is starting, or away.
const noPeers = 10005
