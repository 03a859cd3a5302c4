package bus

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
)

// ledger has the ids of the calls that were acknowledged, by the number that they carry.
type ledger struct {
	mu    sync.Mutex
	acked map[string]string // guarded by mu
	next  atomic.Int64
}

// publish queues calls until stop is closed. A failed one is left open: it may or may not be in the stream.
func (l *ledger) publish(b *Bus, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		number := strconv.FormatInt(l.next.Add(1), 10)
		id, err := b.PublishCall(context.Background(), Call{Function: "f", Method: "POST", Header: http.Header{"Number": {number}}})
		if err == nil {
			l.mu.Lock()
			l.acked[number] = id
			l.mu.Unlock()
		}
	}
}

func (l *ledger) size() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// Row 18: a server that is stopped and started loses no accepted call and stores none twice.
func TestRestartsLoseNoAcceptedCallAndDoubleNone(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	b := connect(t, server, func(c *Config) { c.Settings.QueueLimit = 1_000_000 })
	l := &ledger{acked: map[string]string{}}
	stop := make(chan struct{})
	var publishers sync.WaitGroup
	for range 8 {
		publishers.Go(func() { l.publish(b, stop) })
	}
	for round := range 4 {
		size := l.size()
		eventually(t, "calls are accepted", func() bool { return l.size() > size+200 })
		server.Stop()
		if round%2 == 1 {
			<-time.After(50 * time.Millisecond)
		}
		server.Start()
	}
	size := l.size()
	eventually(t, "calls are accepted at the end", func() bool { return l.size() > size+200 })
	close(stop)
	publishers.Wait()
	l.check(t, b)
}

func (l *ledger) check(t *testing.T, b *Bus) {
	t.Helper()
	depth, err := b.Depth(within(t, patience), "f")
	if err != nil {
		t.Fatal(err)
	}
	c := b.NewConsumer("f", int(depth))
	defer c.Close()
	reopen(t, c)
	stored := map[string]string{}
	for _, d := range pulled(t, c, int(depth)) {
		number := d.Call.Header.Get("Number")
		if stored[number] != "" {
			t.Errorf("call %s is stored as %s and %s", number, stored[number], d.ID)
		}
		stored[number] = d.ID
	}
	places := map[string]bool{}
	for number, id := range l.acked {
		if stored[number] != id || places[id] {
			t.Errorf("call %s was accepted as %s and is stored as %q", number, id, stored[number])
		}
		places[id] = true
	}
	t.Logf("%d tried, %d accepted, %d stored", l.next.Load(), len(l.acked), len(stored))
}
