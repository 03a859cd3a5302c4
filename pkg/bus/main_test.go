package bus

import (
	"context"
	"errors"
	"flag"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
)

func TestMain(m *testing.M) {
	flag.Parse()
	_ = flag.Set("test.parallel", "8") // the tests wait for the server more than they compute
	goleak.VerifyTestMain(m, bustest.Leaks()...)
}

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// soon is what ends at once may take on a machine that is busy with other things: the test gives unhurried as the patience of whatever would
// make it wait, so that there is no doubt which of the two it was.
const soon, unhurried = 20 * time.Second, time.Minute

// patient is the option that lets a publish be repeated for unhurried.
func patient(c *Config) { c.Settings.PublishPatience = unhurried }

// quiet is how long a test listens for what must not happen.
const quiet = 200 * time.Millisecond

func testConfig(url string) Config {
	return Config{
		URL: url, Replicas: 1, Name: "test",
		Settings: Settings{Prefix: "sluice", QueueLimit: 10_000, PublishPatience: 20 * time.Second},
	}
}

// connect returns a Bus on the server whose calls stream is there.
func connect(t testing.TB, server *bustest.Server, changes ...func(*Config)) *Bus {
	t.Helper()
	b := connectOnly(t, server.URL(), changes...)
	if err := b.EnsureCalls(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	return b
}

func connectOnly(t testing.TB, url string, changes ...func(*Config)) *Bus {
	t.Helper()
	config := testConfig(url)
	for _, change := range changes {
		change(&config)
	}
	b, err := Connect(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// eventually fails the test unless the condition comes true.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.After(patience); !condition(); {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// awaitConnection waits until the Bus has its connection back.
func awaitConnection(t testing.TB, b *Bus) {
	t.Helper()
	eventually(t, "the connection is back", func() bool { return b.Connected() == nil })
}

func publish(t testing.TB, b *Bus, call Call) (id string) {
	t.Helper()
	if call.Method == "" {
		call.Method = "POST"
	}
	id, err := b.PublishCall(within(t, patience), call)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// consumer returns an open Consumer of the function.
func consumer(t testing.TB, b *Bus, function string) *Consumer {
	t.Helper()
	c := b.NewConsumer(function, 1_000)
	t.Cleanup(c.Close)
	reopen(t, c)
	return c
}

func reopen(t testing.TB, c *Consumer) {
	t.Helper()
	if err := c.Open(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	if err := c.Reset(); err != nil {
		t.Fatal(err)
	}
}

// pulled asks for n calls and returns them.
func pulled(t testing.TB, c *Consumer, n int) []*Delivery {
	t.Helper()
	if err := c.Pull(n); err != nil {
		t.Fatal(err)
	}
	return received(t, c, n)
}

// received reads until n calls have arrived.
func received(t testing.TB, c *Consumer, n int) (deliveries []*Delivery) {
	t.Helper()
	for deadline := time.After(patience); len(deliveries) < n; {
		select {
		case msg := <-c.Messages():
			delivery, err := c.Handle(msg)
			switch {
			case errors.Is(err, errLost) && c.bus.config.Replicas > 1: // of several servers one may begin to lead only now
				pullAnew(t, c, n-len(deliveries))
			case err != nil:
				t.Fatalf("handle %q %v: %v", msg.Subject, msg.Header, err)
			case delivery != nil:
				deliveries = append(deliveries, delivery)
			}
		case <-deadline:
			t.Fatalf("%d of %d calls arrived", len(deliveries), n)
		}
	}
	return deliveries
}

func pullAnew(t testing.TB, c *Consumer, n int) {
	t.Helper()
	if err := c.Open(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	if err := c.Reset(); err != nil {
		t.Fatal(err)
	}
	if err := c.Pull(n); err != nil {
		t.Fatal(err)
	}
}

func handled(t testing.TB, c *Consumer, msg *nats.Msg) *Delivery {
	t.Helper()
	delivery, err := c.Handle(msg)
	if err != nil {
		t.Fatalf("handle %q %v: %v", msg.Subject, msg.Header, err)
	}
	return delivery
}

// noneFor fails the test if a call arrives within d.
func noneFor(t testing.TB, c *Consumer, d time.Duration) {
	t.Helper()
	for deadline := time.After(d); ; {
		select {
		case msg := <-c.Messages():
			if delivery := handled(t, c, msg); delivery != nil {
				t.Fatalf("call %s arrived", delivery.ID)
			}
		case <-deadline:
			return
		}
	}
}

// failure reads until Handle returns an error.
func failure(t testing.TB, c *Consumer) error {
	t.Helper()
	for deadline := time.After(patience); ; {
		select {
		case msg := <-c.Messages():
			if _, err := c.Handle(msg); err != nil {
				return err
			}
		case <-deadline:
			t.Fatal("Handle returned no error")
		}
	}
}
