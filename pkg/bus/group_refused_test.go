package bus

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
)

func TestFullQueueInABatchRefusesItsOwnCallersOnly(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.Start(t, syncAlways), groupCommit, func(c *Config) { c.Settings.QueueLimit = 25 })
	results := publishTogether(t, b, append(numbered(40, "a", "b"), numbered(30, "full")...))
	refused := 0
	for _, p := range results {
		switch {
		case p.err == nil:
		case p.call.Function == "full" && errors.Is(p.err, ErrQueueFull) && !errors.Is(p.err, ErrUnavailable):
			refused++
		default:
			t.Errorf("a call of %s: %v", p.call.Function, p.err)
		}
	}
	if refused != 5 {
		t.Errorf("%d calls of a queue with room for 25 were refused, of 30", refused)
	}
	if grouped := checkPlaces(t, b, results); grouped != 0 {
		t.Errorf("%d calls of a refused batch are stored with its headers", grouped)
	}
	b.group.mu.Lock()
	until, paused := b.group.full["sluice.call.full"], b.group.paused
	b.group.full["sluice.call.full"] = time.Now().Add(time.Hour) // however long it took to get here
	b.group.mu.Unlock()
	if until.IsZero() || !paused.IsZero() {
		t.Errorf("full until %v, paused %v", until, paused)
	}
	release := hold(b)
	if _, err := b.PublishCall(within(t, patience), Call{Function: "full", Method: "POST"}); !errors.Is(err, ErrQueueFull) {
		t.Errorf("a call of a queue that is known to be full waits for others: %v", err)
	}
	release()
}

func TestLargeCallsAreNotGrouped(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.Start(t, syncAlways), groupCommit)
	release := hold(b)
	defer release()
	for _, size := range []int64{groupCallBytes, b.MaxBody()} {
		msg := stored(t, b, publish(t, b, Call{Function: "f", Body: make([]byte, size)}))
		if int64(len(msg.Data)) != size || msg.Header.Get(headerBatchID) != "" {
			t.Errorf("stored with %d bytes and %v", len(msg.Data), msg.Header)
		}
	}
	for _, size := range []int64{b.maxCallSize() + 1, 2 << 20} {
		if _, err := b.PublishCall(within(t, patience), Call{Function: "f", Method: "POST", Body: make([]byte, size)}); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

func TestFullStorageRefusesOnlyWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.Start(t, syncAlways), groupCommit, func(c *Config) { c.Settings.StorageLimit = 256 << 10 })
	calls := numbered(40, "a", "b")
	for i := range calls {
		calls[i].Body = make([]byte, 10<<10)
	}
	results := publishTogether(t, b, calls)
	taken := 0
	for _, p := range results {
		switch {
		case p.err == nil:
			taken++
		case !errors.Is(p.err, ErrStorageFull):
			t.Error(p.err)
		}
	}
	if checkPlaces(t, b, results); taken < 10 || taken > 12 {
		t.Errorf("%d calls were accepted", taken)
	}
}

// The server's own limit is met in the middle of a batch: what is stored then is accepted, and the rest is not said to be refused,
// because the server may store it at its next start.
func TestFullServerInTheMiddleOfABatch(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.Start(t, syncAlways, func(o *server.Options) { o.JetStreamMaxStore = 300 << 10 }), groupCommit)
	b.group.link.timeout = quiet
	calls := numbered(40, "a", "b")
	for i := range calls {
		calls[i].Body = make([]byte, 10<<10)
	}
	results := publishTogether(t, b, calls)
	taken := 0
	for _, p := range results {
		switch {
		case p.err == nil:
			taken++
		case !errors.Is(p.err, ErrUnavailable) || errors.Is(p.err, ErrStorageFull):
			t.Error(p.err)
		}
	}
	if checkPlaces(t, b, results); taken < 20 || taken > 35 {
		t.Errorf("%d calls were accepted", taken)
	}
	if _, err := b.PublishCall(within(t, patience), calls[0]); !errors.Is(err, ErrStorageFull) {
		t.Errorf("a call alone: %v", err)
	}
}

// A stream that another version of Sluice has made takes no batches, until this one has changed it.
func TestStreamThatTakesNoBatches(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t, syncAlways)
	b := connect(t, server, groupCommit)
	config := b.callsConfig()
	config.AllowAtomicPublish = false
	if _, err := b.js.UpdateStream(within(t, patience), config); err != nil {
		t.Fatal(err)
	}
	results := publishTogether(t, b, numbered(40, "a", "b"))
	accepted(t, results)
	if grouped := checkPlaces(t, b, results); grouped != 0 || b.group.paused.Before(time.Now()) {
		t.Errorf("%d calls are grouped, paused until %v", grouped, b.group.paused)
	}
	release := hold(b)
	alone := numbered(1, "c")[0]
	results = append(results, published{call: numbered(1, "c")[0], id: publish(t, b, alone)}) // it does not wait for others
	release()
	again := connect(t, server, groupCommit)
	more := publishTogether(t, again, numbered(40, "a", "b"))
	accepted(t, more)
	if grouped := checkPlaces(t, again, append(results, more...)); grouped != 40 {
		t.Errorf("%d calls were stored in a batch", grouped)
	}
}

// The batch is stored and its answer lost: the calls find their places when they are repeated.
func TestLostAnswerOfABatch(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.Start(t, syncAlways), groupCommit)
	if err := b.group.link.sub.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	b.group.link.timeout = quiet
	results := publishTogether(t, b, numbered(40, "a", "b"))
	accepted(t, results)
	if grouped := checkPlaces(t, b, results); grouped != 40 {
		t.Errorf("%d calls are stored as the batch stored them", grouped)
	}
	if b.group.paused.Before(time.Now()) {
		t.Error("grouping goes on")
	}
}

// The same when the connection is lost: nobody waits for the answer's time.
func TestBatchEndsWithItsConnection(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t, syncAlways)
	b := connect(t, server, groupCommit)
	if err := b.group.link.sub.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	b.group.link.timeout = unhurried
	observer := connect(t, server)
	var restart sync.WaitGroup
	restart.Go(func() {
		ctx := within(t, patience)
		for depth := uint64(0); depth < 40 && ctx.Err() == nil; {
			depth, _ = observer.Depth(ctx, "a") // what fails is tried again
		}
		server.Stop()
		server.Start()
	})
	start := time.Now()
	results := publishTogether(t, b, numbered(40, "a"))
	restart.Wait()
	accepted(t, results)
	awaitConnection(t, b)
	if grouped := checkPlaces(t, b, results); grouped != 40 || time.Since(start) > soon || !b.group.paused.IsZero() {
		t.Errorf("%d calls are in a batch after %v, paused until %v", grouped, time.Since(start), b.group.paused)
	}
}

// The server goes away before the batch is sent and comes back within the patience.
func TestBatchBridgesARestart(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t, syncAlways)
	b := connect(t, server, groupCommit)
	server.Stop()
	time.AfterFunc(quiet, server.Start)
	results := publishTogether(t, b, numbered(40, "a", "b"))
	accepted(t, results)
	awaitConnection(t, b)
	checkPlaces(t, b, results)
}
