package dispatcher

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Row 25: work that waits beside a free slot is not healthy, whatever the reason. Here the server delivers nothing.
func TestLiveFailsWithoutProgress(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := newBackend(t, nil, answer(200))
	r.put(spec("f"), b)
	r.put(spec("other"), newBackend(t, nil, answer(200)))
	s := r.dispatch(func(c *Config) { c.StuckAfter = 200 * time.Millisecond })
	r.publish("f", "")
	r.publish("other", "")
	r.awaitEmpty("f", "other")
	holdsFor(t, 600*time.Millisecond, "idle is healthy", func() bool { return s.Live(t.Context()) == nil })

	js, err := jetstream.New(r.raw())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.PauseConsumer(t.Context(), "sluice-calls", "f", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	r.publish("f", "")
	eventually(t, "it is noticed", func() bool { return s.Live(t.Context()) != nil })
	if got := s.Live(t.Context()).Error(); !strings.HasPrefix(got, "calls of f have waited for more than 200ms") {
		t.Errorf("it says %q", got)
	}
	if _, err := js.ResumeConsumer(t.Context(), "sluice-calls", "f"); err != nil {
		t.Fatal(err)
	}
	r.awaitEmpty("f")
	eventually(t, "it is healthy again", func() bool { return s.Live(t.Context()) == nil })
}

// What keeps calls waiting for a good reason is healthy: no replica, no free slot, a retry that waits, NATS away.
func TestLiveHoldsWhileCallsWaitForAReason(t *testing.T) {
	t.Parallel()
	r, g := newRig(t), make(gate)
	defer close(g)
	busy := newBackend(t, nil, g.hold)
	r.put(spec("asleep"))
	r.put(spec("busy", parallel(1, 0)), busy)
	retried := newBackend(t, nil, answer(500))
	r.put(spec("waiting", retries(600)), retried)
	for _, name := range []string{"asleep", "busy", "busy", "busy", "waiting"} {
		r.publish(name, "")
	}
	s := r.dispatch(func(c *Config) { c.StuckAfter = 100 * time.Millisecond })
	eventually(t, "the calls run", func() bool { return busy.own.current() == 1 && retried.count() == 1 })
	eventually(t, "a start that was slow is forgotten", func() bool { return s.Live(t.Context()) == nil })
	holdsFor(t, time.Second, "it is healthy", func() bool { return s.Live(t.Context()) == nil })
	r.server.Stop()
	holdsFor(t, 500*time.Millisecond, "it is healthy without NATS", func() bool { return s.Live(t.Context()) == nil })
	r.server.Start()
}
