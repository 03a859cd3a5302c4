package bus

import (
	"errors"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
)

func depth(t testing.TB, b *Bus, function string) uint64 {
	t.Helper()
	depth, err := b.Depth(within(t, patience), function)
	if err != nil {
		t.Fatal(err)
	}
	return depth
}

func TestDoneIsConfirmedAndFinal(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	b := connect(t, server, func(c *Config) { c.Settings.AckWait = 5 * time.Second })
	fill(t, b, "f", 2)
	c := consumer(t, b, "f")
	deliveries := pulled(t, c, 2)
	for range 2 { // the second time as if the first confirmation was lost
		if err := deliveries[0].Done(within(t, patience)); err != nil {
			t.Fatal(err)
		}
	}
	if n := depth(t, b, "f"); n != 1 {
		t.Fatalf("%d calls are left", n)
	}
	if again := pulled(t, c, 1)[0]; again.ID != deliveries[1].ID { // after the ack wait
		t.Errorf("%s came back", again.ID)
	}
}

func TestDoneWaitsForTheServer(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	b := connect(t, server)
	fill(t, b, "f", 1)
	d := pulled(t, consumer(t, b, "f"), 1)[0]
	server.Stop()
	if err := d.Done(within(t, quiet)); !errors.Is(err, ErrUnavailable) {
		t.Errorf("without a server: %v", err)
	}
	server.Start()
	awaitConnection(t, b)
	if err := d.Done(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	if n := depth(t, b, "f"); n != 0 {
		t.Errorf("%d calls are left", n)
	}
}

func TestAgainComesBackAfterTheDelay(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.Start(t))
	fill(t, b, "f", 3)
	c := consumer(t, b, "f")
	deliveries := pulled(t, c, 3)
	if err := c.Pull(3); err != nil {
		t.Fatal(err)
	}
	const delay = 3 * time.Second
	start := time.Now()
	for i, d := range []time.Duration{delay, 0, -time.Hour} {
		if err := deliveries[i].Again(d); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range received(t, c, 2) {
		if d.ID == deliveries[0].ID {
			t.Errorf("%s came before the others, after %v", d.ID, time.Since(start))
		}
	}
	if d := received(t, c, 1)[0]; d.ID != deliveries[0].ID || time.Since(start) < delay-5*time.Millisecond {
		t.Errorf("%s came after %v", d.ID, time.Since(start))
	}
}

// Row 21: a call that runs longer than the ack wait runs once.
func TestInProgressKeepsACallFromRedelivery(t *testing.T) {
	t.Parallel()
	const wait = 5 * time.Second
	b := connect(t, bustest.Start(t), func(c *Config) { c.Settings.AckWait = wait })
	if b.ProgressInterval() > wait/2 {
		t.Fatalf("progress every %v is too seldom for %v", b.ProgressInterval(), wait)
	}
	fill(t, b, "f", 1)
	c := consumer(t, b, "f")
	d := pulled(t, c, 1)[0]
	if err := c.Pull(1); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	for begun := start; time.Since(begun) < wait*3/2; { // more often than need be, for a machine that is slow at it
		start = time.Now()
		if err := d.InProgress(); err != nil {
			t.Fatal(err)
		}
		noneFor(t, c, wait/20)
	}
	if again := received(t, c, 1)[0]; again.ID != d.ID || time.Since(start) < wait-5*time.Millisecond {
		t.Errorf("%s came after %v", again.ID, time.Since(start))
	}
}

// A consumer that was lost delivers everything again: the newest handle of a call is the one that counts.
func TestReplacedHandleSettlesTheCall(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.Start(t))
	fill(t, b, "f", 1)
	c := consumer(t, b, "f")
	d := pulled(t, c, 1)[0]
	if err := b.js.DeleteConsumer(within(t, patience), b.CallsStream(), "f"); err != nil {
		t.Fatal(err)
	}
	reopen(t, c)
	later := pulled(t, c, 1)[0]
	if later.ID != d.ID || later.Sequence != d.Sequence || !later.Accepted.Equal(d.Accepted) {
		t.Fatalf("the same call came as %s and %s", d.ID, later.ID)
	}
	if err := later.Again(0); err != nil {
		t.Fatal(err)
	}
	newest := pulled(t, c, 1)[0] // its handle counts the deliveries, so it is another one
	d.Replace(newest)
	if got := *d.handle.Load(); got != *newest.handle.Load() || got == *later.handle.Load() {
		t.Errorf("the handle is %s", got)
	}
	if err := d.Done(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	if n := depth(t, b, "f"); n != 0 {
		t.Errorf("%d calls are left", n)
	}
}

func TestRedeliverBringsBackWhatIsOut(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.Start(t))
	fill(t, b, "f", 3)
	c := consumer(t, b, "f")
	first := pulled(t, c, 3)
	if err := first[0].Done(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	if err := c.Redeliver(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	again := pulled(t, c, 2)
	if again[0].ID != first[1].ID || again[1].ID != first[2].ID {
		t.Errorf("%s and %s came back", again[0].ID, again[1].ID)
	}
}

func TestFetchEndsWhenNothingIsThere(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.Start(t))
	start := time.Now()
	deliveries, err := b.Fetch(within(t, unhurried), "f", 10)
	if err != nil || len(deliveries) != 0 || time.Since(start) > soon {
		t.Fatalf("after %v: %v, %v", time.Since(start), deliveries, err)
	}
	fill(t, b, "f", 3)
	if deliveries, err = b.Fetch(within(t, patience), "f", 2); err != nil || len(deliveries) != 2 {
		t.Fatalf("%v, %v", deliveries, err)
	}
}
