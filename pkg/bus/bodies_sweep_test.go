package bus

import (
	"bytes"
	"testing"
	"time"

	"github.com/nats-io/nuid"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
)

// putOnly stores a body, and nothing else.
func putOnly(t *testing.T, b *Bus, function string, data []byte) (*body, Call) {
	t.Helper()
	call := largeCall(function, data)
	body, err := b.putBody(within(t, patience), &call)
	if err != nil {
		t.Fatal(err)
	}
	return body, call
}

// queueOnly queues the call of a stored body, and nothing else.
func queueOnly(t *testing.T, b *Bus, call Call) (id string) {
	t.Helper()
	ack, err := b.publishAlone(within(t, patience), b.encode(call), nuid.Next())
	if err != nil {
		t.Fatal(err)
	}
	return b.callID(ack.Sequence)
}

func buried(t *testing.T, b *Bus, d *Delivery) uint64 {
	t.Helper()
	sequence, err := b.Bury(within(t, patience), d, Death{Reason: "x", At: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	return sequence
}

func done(t *testing.T, d *Delivery) {
	t.Helper()
	if err := d.Done(within(t, patience)); err != nil {
		t.Fatal(err)
	}
}

// ackOnly takes the call out of the queue, and does nothing else.
func ackOnly(t *testing.T, b *Bus, d *Delivery) {
	t.Helper()
	if _, err := b.conn.Request(*d.handle.Load(), []byte("+ACK"), patience); err != nil {
		t.Fatal(err)
	}
}

// A process that stores a body and its call can be killed after each step; so can the one that settles them. Whatever it was, nothing is
// left that nobody refers to, and nothing is missing that somebody does.
func TestBodiesAfterAKill(t *testing.T) {
	t.Parallel()
	data := randomBytes(2*objectChunk+1, 1)
	for name, c := range map[string]struct {
		do func(t *testing.T, b *Bus)
		// removed is how many bodies nobody needs, kept whether one is needed.
		removed int
		kept    bool
	}{
		"while it is stored": {func(t *testing.T, b *Bus) {
			s := b.newBody("f", b.callID(0))
			for range 2 {
				if err := s.putChunk(within(t, patience), data[:objectChunk]); err != nil {
					t.Fatal(err)
				}
			}
		}, 1, false},
		"after it was stored": {func(t *testing.T, b *Bus) { putOnly(t, b, "f", data) }, 1, false},
		"after the call was queued": {func(t *testing.T, b *Bus) {
			_, call := putOnly(t, b, "f", data)
			queueOnly(t, b, call)
		}, 0, true},
		"after the body was marked": {func(t *testing.T, b *Bus) { publish(t, b, largeCall("f", data)) }, 0, true},
		"after the ack": {func(t *testing.T, b *Bus) {
			publish(t, b, largeCall("f", data))
			ackOnly(t, b, pulled(t, consumer(t, b, "f"), 1)[0])
		}, 1, false},
		"after the ack of a call whose body was not marked": {func(t *testing.T, b *Bus) {
			_, call := putOnly(t, b, "f", data)
			queueOnly(t, b, call)
			ackOnly(t, b, pulled(t, consumer(t, b, "f"), 1)[0])
		}, 1, false},
		"while it was removed": {func(t *testing.T, b *Bus) {
			publish(t, b, largeCall("f", data))
			d := pulled(t, consumer(t, b, "f"), 1)[0]
			ackOnly(t, b, d)
			if _, err := b.bodies().purge(within(t, patience), b.bodies().meta(d.Call.stored.name), 0); err != nil {
				t.Fatal(err)
			}
		}, 1, false},
		"after the dead letter": {func(t *testing.T, b *Bus) {
			publish(t, b, largeCall("f", data))
			d := pulled(t, consumer(t, b, "f"), 1)[0]
			d.Call.stored = storedBody{} // so that it is not marked
			buried(t, b, d)
		}, 0, true},
		"after the dead letter was marked": {func(t *testing.T, b *Bus) {
			publish(t, b, largeCall("f", data))
			buried(t, b, pulled(t, consumer(t, b, "f"), 1)[0])
		}, 0, true},
		"after the ack of a dead call": {func(t *testing.T, b *Bus) {
			publish(t, b, largeCall("f", data))
			d := pulled(t, consumer(t, b, "f"), 1)[0]
			buried(t, b, d)
			done(t, d)
		}, 0, true},
		"after the ack of a dead call whose body could not be marked": {func(t *testing.T, b *Bus) {
			publish(t, b, largeCall("f", data))
			d := pulled(t, consumer(t, b, "f"), 1)[0]
			d.Call.stored = storedBody{}
			buried(t, b, d)
			done(t, d)
		}, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := ensureBodies(t, connect(t, bustest.Start(t)))
			for i := range 3 { // others, that are no reason to keep it
				publish(t, b, Call{Function: "f", Body: []byte{byte(i)}})
				buried(t, b, pulled(t, consumer(t, b, "f"), 1)[0])
				purgeCalls(t, b)
			}
			c.do(t, b)
			publish(t, b, Call{Function: "f"})
			if removed, err := b.SweepBodies(within(t, patience), time.Hour); removed != 0 || err != nil {
				t.Errorf("%d young bodies were removed: %v", removed, err)
			}
			sweep(t, b, c.removed)
			sweep(t, b, 0)
			want := uint64(0)
			if c.kept {
				want = 4 // three parts and what is said of them
			}
			if n := left(t, b); n != want {
				t.Errorf("%d messages are left, not %d", n, want)
			}
		})
	}
}

// purgeCalls empties the queue.
func purgeCalls(t *testing.T, b *Bus) {
	t.Helper()
	stream, err := b.callsStream(within(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(within(t, patience)); err != nil {
		t.Fatal(err)
	}
}

// The body of a dead letter is there as long as that is, and can be found by it.
func TestBodyOfADeadLetter(t *testing.T) {
	t.Parallel()
	b := ensureBodies(t, connect(t, bustest.Start(t)))
	data := randomBytes(2*objectChunk, 1)
	publish(t, b, largeCall("f", data))
	d := pulled(t, consumer(t, b, "f"), 1)[0]
	sequence := buried(t, b, d)
	done(t, d)
	sweep(t, b, 0)
	letter, err := b.readLeader(within(t, patience), b.DeadStream(), lookup{Sequence: sequence})
	if err != nil || letter.Header.Get(HeaderBody) != d.Call.stored.name {
		t.Fatalf("the dead letter is %+v, %v", letter, err)
	}
	checkBody(t, d, data)
	dead, err := b.js.Stream(within(t, patience), b.DeadStream())
	if err != nil {
		t.Fatal(err)
	}
	if err := dead.DeleteMsg(within(t, patience), sequence); err != nil {
		t.Fatal(err)
	}
	sweep(t, b, 1)
	if n := left(t, b); n != 0 {
		t.Errorf("%d messages are left", n)
	}
}

// The publisher's mark comes late: it neither brings back a body that is removed, nor hides that a dead letter needs it.
func TestLateMark(t *testing.T) {
	t.Parallel()
	b := ensureBodies(t, connect(t, bustest.Start(t)))
	c := consumer(t, b, "f")
	for name, end := range map[string]func(d *Delivery){"removed": func(*Delivery) {}, "dead": func(d *Delivery) { buried(t, b, d) }} {
		body, call := putOnly(t, b, "f", randomBytes(objectChunk, 1))
		id := queueOnly(t, b, call)
		d := pulled(t, c, 1)[0]
		end(d)
		done(t, d)
		before := left(t, b)
		body.queued(within(t, patience), id)
		sweep(t, b, 0)
		if n := left(t, b); n != before {
			t.Errorf("%s: %d messages, then %d", name, before, n)
		}
	}
}

// Who stores a body more slowly than the sweep allows is refused; there is never half a body.
func TestSweepOfABodyThatIsBeingStored(t *testing.T) {
	t.Parallel()
	b := ensureBodies(t, connect(t, bustest.Start(t)))
	data := randomBytes(4*objectChunk, 1)
	call := largeCall("f", nil)
	call.Size, call.Reader = -1, &interrupted{bytes.NewReader(data), 2 * objectChunk, func() { sweep(t, b, 1) }}
	if _, err := b.PublishCall(within(t, patience), call); err == nil {
		t.Error("it was accepted")
	}
	if n, calls := left(t, b), depth(t, b, "f"); n != 0 || calls != 0 {
		t.Errorf("%d messages and %d calls are left", n, calls)
	}
}

// A queue with large messages can be looked through.
func TestSweepReadsLargeMessages(t *testing.T) {
	t.Parallel()
	b := ensureBodies(t, connect(t, bustest.Start(t)))
	_, call := putOnly(t, b, "f", randomBytes(objectChunk, 1))
	publish(t, b, Call{Function: "f", Body: make([]byte, b.MaxBody())})
	queueOnly(t, b, call)
	sweep(t, b, 0)
}

func TestBodiesOnThreeServers(t *testing.T) {
	t.Parallel()
	cluster := bustest.StartCluster(t, 3)
	three := func(c *Config) { c.Replicas = 3 }
	publisher := ensureBodies(t, connectOnly(t, cluster.URL(), three))
	b := connectOnly(t, cluster.URL(), three)
	if err := b.AwaitCalls(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	c := consumer(t, b, "f")
	for i := range 10 {
		data := randomBytes(3*objectChunk+i, uint64(i))
		publish(t, publisher, largeCall("f", data))
		d := pulled(t, c, 1)[0]
		checkBody(t, d, data)
		sweep(t, publisher, 0)
		if i%2 == 0 {
			buried(t, b, d)
		}
		done(t, d)
	}
	sweep(t, b, 0)
	if n := left(t, b); n != 4+4*5 { // three parts and what is said of them, then four
		t.Errorf("%d messages are left", n)
	}
	if err := dropDead(t, b); err != nil {
		t.Fatal(err)
	}
	sweep(t, b, 5)
	if n := left(t, b); n != 0 {
		t.Errorf("%d messages are left", n)
	}
}

// dropDead removes all dead letters.
func dropDead(t *testing.T, b *Bus) error {
	t.Helper()
	stream, err := b.js.Stream(within(t, patience), b.DeadStream())
	if err != nil {
		return err
	}
	return stream.Purge(within(t, patience))
}
