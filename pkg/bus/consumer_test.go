package bus

import (
	"fmt"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
)

func fill(t testing.TB, b *Bus, function string, n int) {
	t.Helper()
	for i := range n {
		publish(t, b, Call{Function: function, Body: fmt.Append(nil, i)})
	}
}

func TestPullBringsExactlyWhatIsAskedFor(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.Start(t))
	fill(t, b, "f", 10)
	fill(t, b, "other", 1)
	c := consumer(t, b, "f")
	for _, n := range []int{1, 3} {
		pulled(t, c, n)
		if c.Asked() != 0 {
			t.Errorf("after all %d have come, %d are asked for", n, c.Asked())
		}
		noneFor(t, c, quiet)
	}
	for range 4 { // several at once
		if err := c.Pull(1); err != nil {
			t.Fatal(err)
		}
	}
	if c.Asked() != 4 {
		t.Errorf("4 pulls ask for %d", c.Asked())
	}
	received(t, c, 4)
	noneFor(t, c, quiet)
	pulled(t, c, 2)
	if err := c.Pull(1); err != nil {
		t.Fatal(err)
	}
	noneFor(t, c, quiet) // the queue of the other function is not touched
	if c.Asked() != 1 {
		t.Errorf("an open pull of 1 counts as %d", c.Asked())
	}
}

// An open pull waits for calls, and one that is not used up gives back what is left.
func TestExpiredPullGivesBackWhatIsLeft(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.Start(t))
	c := consumer(t, b, "f")
	if err := c.pull(4, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	noneFor(t, c, quiet)
	fill(t, b, "f", 1)
	received(t, c, 1)
	if c.Asked() != 3 {
		t.Fatalf("%d are asked for", c.Asked())
	}
	awaitAsked(t, c, 0)
	fill(t, b, "f", 2)
	noneFor(t, c, quiet)
	pulled(t, c, 2)
}

// awaitAsked reads until so many calls are asked for, and none arrives.
func awaitAsked(t *testing.T, c *Consumer, asked int) {
	t.Helper()
	for deadline := time.After(patience); c.Asked() != asked; {
		select {
		case msg := <-c.Messages():
			if d := handled(t, c, msg); d != nil {
				t.Fatalf("call %s arrived", d.ID)
			}
		case <-deadline:
			t.Fatalf("%d calls are asked for, want %d", c.Asked(), asked)
		}
	}
}

// The server serves open pulls in turn, so what is left of one cannot be known from the calls that came. Its end says it.
func TestAskedIsExactAfterPullsWereServedInTurn(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.Start(t))
	c := consumer(t, b, "f")
	for _, expiry := range []time.Duration{5 * time.Second, 30 * time.Second, 30 * time.Second} {
		if err := c.pull(5, expiry); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.conn.Flush(); err != nil {
		t.Fatal(err)
	}
	fill(t, b, "f", 6) // two into each
	received(t, c, 6)
	awaitAsked(t, c, 6)
	fill(t, b, "f", 8)
	received(t, c, 6)
	noneFor(t, c, quiet)
	if c.Asked() != 0 || len(c.pulls) != 0 {
		t.Errorf("%d are asked for, by %v", c.Asked(), c.pulls)
	}
}

func TestHeartbeatsKeepAnOpenPullAlive(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.Start(t))
	c := consumer(t, b, "f")
	if c.Silent(time.Now().Add(time.Hour)) {
		t.Error("silent without a pull")
	}
	if err := c.Pull(1); err != nil {
		t.Fatal(err)
	}
	for beats, deadline := 0, time.After(patience); beats < 3; beats++ {
		select {
		case msg := <-c.Messages():
			if d := handled(t, c, msg); d != nil {
				t.Fatal("a call came from nowhere")
			}
		case <-deadline:
			t.Fatalf("%d heartbeats", beats)
		}
	}
	if now := time.Now(); c.Silent(now) || !c.Silent(now.Add(silence+time.Millisecond)) {
		t.Error("the last heartbeat does not count")
	}
	if c.Asked() != 1 {
		t.Errorf("heartbeats change what is asked for to %d", c.Asked())
	}
}

func TestPullWhoseEndIsOverdueIsLost(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.Start(t))
	c := consumer(t, b, "f")
	if err := c.Pull(1); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(pullExpiry + silence + time.Second)
	c.heard = later // as if other pulls were heard of
	if !c.Silent(later) {
		t.Error("a pull without an end counts for ever")
	}
}

func TestDroppedMessagesAreNoticed(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.Start(t))
	fill(t, b, "f", 300)
	c := b.NewConsumer("f", 1)
	defer c.Close()
	reopen(t, c)
	if err := c.Pull(300); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a drop is noticed", func() bool { return c.Silent(time.Now()) })
	if c.Silent(time.Now()) {
		t.Error("one drop is noticed twice")
	}
}
