package bus

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
)

func TestPullsAfterARestart(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	b := connect(t, server)
	reconnects, stop := b.Reconnects()
	defer stop()
	c := consumer(t, b, "f")
	if err := c.Pull(5); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	eventually(t, "the loss is noticed", func() bool { return b.Connected() != nil })
	if c.Pull(1) == nil || c.Asked() != 5 {
		t.Errorf("a pull without a connection counts: %d", c.Asked())
	}
	server.Start()
	select {
	case <-reconnects:
	case <-time.After(patience):
		t.Fatal("no word of the reconnection")
	}
	reopen(t, c)
	if c.Asked() != 0 {
		t.Errorf("%d are asked for after Reset", c.Asked())
	}
	fill(t, b, "f", 3)
	pulled(t, c, 3)
}

func TestPullIsSilentWithoutAServer(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	b := connect(t, server)
	c := consumer(t, b, "f")
	if err := c.Pull(1); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	eventually(t, "silence", func() bool { return c.Silent(time.Now()) })
}

func TestConsumerThatIsGone(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.Start(t))
	c := consumer(t, b, "f")
	if err := c.Pull(1); err != nil {
		t.Fatal(err)
	}
	select { // a sign of life: the server has not only received the pull, it serves it
	case msg := <-c.Messages():
		if _, err := c.Handle(msg); err != nil {
			t.Fatal(err)
		}
	case <-time.After(patience):
		t.Fatal("no heartbeat")
	}
	if err := b.js.DeleteConsumer(within(t, patience), b.CallsStream(), "f"); err != nil {
		t.Fatal(err)
	}
	if err := failure(t, c); !errors.Is(err, errLost) || !strings.Contains(err.Error(), "409") {
		t.Errorf("deleted under a pull: %v", err)
	}
	if err := c.Pull(1); err != nil {
		t.Fatal(err)
	}
	if err := failure(t, c); !errors.Is(err, errLost) || !strings.Contains(err.Error(), "503") {
		t.Errorf("a pull on a missing one: %v", err)
	}
	reopen(t, c)
	fill(t, b, "f", 1)
	pulled(t, c, 1)
}

// After Reset the server may still serve a pull from before: what it brings is delivered and taken off no newer one.
func TestForgottenPullStillDelivers(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.Start(t))
	c := consumer(t, b, "f")
	if err := c.Pull(1); err != nil {
		t.Fatal(err)
	}
	reopen(t, c)
	if err := c.Pull(5); err != nil {
		t.Fatal(err)
	}
	if err := b.conn.Flush(); err != nil {
		t.Fatal(err)
	}
	fill(t, b, "f", 2)
	received(t, c, 2)
	if c.Asked() != 4 {
		t.Errorf("%d are asked for, want 4", c.Asked())
	}
	if c.Silent(time.Now()); len(c.retired) != 1 {
		t.Errorf("%d old subscriptions", len(c.retired))
	}
	if c.Silent(time.Now().Add(time.Hour)); len(c.retired) != 0 {
		t.Error("an old subscription lives for ever")
	}
}

func TestLeaveReturnsWhatNobodyHasHandled(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.Start(t))
	fill(t, b, "f", 5)
	c := consumer(t, b, "f")
	if err := c.Pull(3); err != nil {
		t.Fatal(err)
	}
	if err := c.Pull(10); err != nil {
		t.Fatal(err)
	}
	var arrived []*nats.Msg
	for len(arrived) < 5 {
		if msg := next(t, c.Messages()); !strings.HasPrefix(msg.Subject, c.inbox) { // no heartbeat
			arrived = append(arrived, msg)
		}
	}
	for _, msg := range arrived {
		c.messages <- msg
	}
	left := c.Leave(within(t, patience))
	if c.Asked() != 0 || len(left) != 5 {
		t.Fatalf("%d are asked for, %d left over", c.Asked(), len(left))
	}
	for _, d := range left {
		if err := d.Again(0); err != nil {
			t.Fatal(err)
		}
	}
	fill(t, b, "f", 1)
	select {
	case msg := <-c.Messages():
		t.Fatalf("%q came after the leaving", msg.Subject)
	case <-time.After(quiet):
	}
	reopen(t, c)
	pulled(t, c, 6)
}

func TestLeaveWithoutAServerEnds(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	b := connect(t, server)
	c := consumer(t, b, "f")
	if err := c.Pull(3); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	start := time.Now()
	if left := c.Leave(within(t, quiet)); len(left) != 0 || time.Since(start) > soon {
		t.Fatalf("after %v: %v", time.Since(start), left)
	}
}

func TestOpenWaitsForTheServer(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	b := connect(t, server)
	server.Stop()
	c := b.NewConsumer("f", 1)
	if err := c.Open(within(t, quiet)); !errors.Is(err, ErrUnavailable) {
		t.Errorf("without a server: %v", err)
	}
	opened := make(chan error, 1)
	go func() { opened <- c.Open(within(t, patience)) }()
	server.Start()
	if err := <-opened; err != nil {
		t.Error(err)
	}
}
