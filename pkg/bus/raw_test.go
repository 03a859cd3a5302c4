package bus

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
)

// rawClient speaks the NATS protocol by hand, so that it can send what no client library would.
type rawClient struct {
	t    *testing.T
	conn net.Conn
	from *bufio.Reader
}

func newRawClient(t *testing.T, server *bustest.Server) *rawClient {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(server.URL(), "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	c := &rawClient{t, conn, bufio.NewReader(conn)}
	c.send(`CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true}`, "SUB ack 1")
	return c
}

func (c *rawClient) send(lines ...string) {
	c.t.Helper()
	for _, line := range lines {
		if _, err := fmt.Fprintf(c.conn, "%s\r\n", line); err != nil {
			c.t.Fatal(err)
		}
	}
}

// publish sends one message and returns what is answered: the ack's JSON, or the status line.
func (c *rawClient) publish(subject, header, body string) string {
	c.t.Helper()
	if header == "" {
		c.send(fmt.Sprintf("PUB %s ack %d", subject, len(body)), body)
	} else {
		c.send(fmt.Sprintf("HPUB %s ack %d %d", subject, len(header), len(header)+len(body)), header+body)
	}
	for {
		line, err := c.from.ReadString('\n')
		if err != nil {
			c.t.Fatal(err)
		}
		if strings.HasPrefix(line, "MSG ") || strings.HasPrefix(line, "HMSG ") {
			answer, err := c.from.ReadString('\n')
			if err != nil {
				c.t.Fatal(err)
			}
			return strings.TrimSpace(answer)
		}
	}
}

func TestBrokenHeaderBlockIsABadMessage(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	b := connect(t, server)
	raw := newRawClient(t, server)
	blocks := []string{"NATS/1.0\r\nno colon\r\n\r\n", "garbage\r\n\r\n", "NATS/1.0\r\nBad Name: x\r\n\r\n", "NATS/1.0\r\nX: \x01\r\n\r\n"}
	for _, block := range blocks {
		raw.publish("sluice.call.f", block, "body")
	}
	raw.publish("sluice.call.f", "", "good")
	deliveries := pulled(t, consumer(t, b, "f"), len(blocks)+1)
	for i, block := range blocks {
		if d := deliveries[i]; !errors.Is(d.Err, ErrBadMessage) || d.Call.Function != "f" || string(d.Call.Body) != "body" {
			t.Errorf("%q: got %+v, %v", block, d.Call, d.Err)
		}
	}
	if last := deliveries[len(blocks)]; last.Err != nil || string(last.Call.Body) != "good" {
		t.Errorf("the good message behind them: %+v, %v", last.Call, last.Err)
	}
}

func TestStatusLineOfAMessageIsNoStatusOfThePull(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	b := connect(t, server)
	raw := newRawClient(t, server)
	for _, line := range []string{"100 Idle Heartbeat", "404 No Messages", "408 Request Timeout", "409 Consumer Deleted", "503"} {
		raw.publish("sluice.call.f", "NATS/1.0 "+line+"\r\nNats-Pending-Messages: 3\r\n\r\n", "")
	}
	c := consumer(t, b, "f")
	for _, d := range pulled(t, c, 5) {
		if d.Err != nil || len(d.Call.Body) != 0 {
			t.Errorf("got %+v, %v", d.Call, d.Err)
		}
	}
	if c.Asked() != 0 {
		t.Errorf("%d calls are still asked for", c.Asked())
	}
}

// The same for calls of a function that nobody knows.
func TestFetchTakesMessagesThatLookLikeAStatus(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	b := connect(t, server)
	raw := newRawClient(t, server)
	raw.publish("sluice.call.f", "NATS/1.0 404 No Messages\r\n\r\n", "")
	raw.publish("sluice.call.f", "NATS/1.0\r\nno colon\r\n\r\n", "x")
	raw.publish("sluice.call.a/b", "", "x")
	deliveries, err := b.Fetch(within(t, patience), "f", 2)
	if err != nil || len(deliveries) != 2 || !errors.Is(deliveries[1].Err, ErrBadMessage) {
		t.Fatalf("got %v, %v", deliveries, err)
	}
	deliveries, err = b.Fetch(within(t, patience), "a/b", 2)
	if err != nil || len(deliveries) != 1 || deliveries[0].Call.Function != "a/b" {
		t.Fatalf("a subject that is no name: %v, %v", deliveries, err)
	}
	if err := deliveries[0].Done(within(t, patience)); err != nil {
		t.Error(err)
	}
	for _, wildcard := range []string{"*", ">"} {
		raw.publish("sluice.call."+wildcard, "", "x")
		if _, err := b.Fetch(within(t, patience), wildcard, 2); !errors.Is(err, ErrBadMessage) {
			t.Errorf("%s would take the calls of all functions: %v", wildcard, err)
		}
	}
}

func TestWrongSubjectsAreRefused(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	b := connect(t, server)
	raw := newRawClient(t, server)
	for _, subject := range []string{"sluice.call.a.b", "sluice.call", "sluice.calls.f", "Sluice.call.f"} {
		if answer := raw.publish(subject, "", "x"); !strings.Contains(answer, "503") {
			t.Errorf("%s: %s", subject, answer)
		}
	}
	if answer := raw.publish("sluice.call.f", "NATS/1.0\r\nNats-Rollup: all\r\n\r\n", "x"); !strings.Contains(answer, "rollup not permitted") {
		t.Errorf("a rollup: %s", answer)
	}
	if depths, err := b.Depths(within(t, patience)); err != nil || len(depths) != 0 {
		t.Errorf("depths %v, %v", depths, err)
	}
}
