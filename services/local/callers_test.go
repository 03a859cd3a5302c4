package local

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/function"
)

// heard makes a report of one function f.
func heard(kind string, revision uint64, partial bool, inFlight map[string]int) bus.Activity {
	return bus.Activity{Sender: kind, Kind: kind, Revision: revision, Partial: partial, Functions: map[string]bus.FunctionActivity{"f": {Endpoints: inFlight}}}
}

// A replica is free once both who call have heard that it is no endpoint any more, and have ended their calls there.
func TestReleased(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCallers(nil, time.Minute, zerolog.Nop())
		done := make(chan struct{})
		go func() {
			c.released(context.Background(), "f", "a:1")
			close(done)
		}()
		listed := func(revision uint64, addresses ...string) {
			var state function.State
			state.Function.Name = "f"
			for _, a := range addresses {
				state.Endpoints = append(state.Endpoints, function.Endpoint{Address: a})
			}
			c.Apply(state)
			c.Applied(revision)
		}
		for i, step := range []func(){
			func() { c.hear(heard(bus.KindGateway, 9, false, nil)) },
			func() { c.hear(heard(bus.KindDispatcher, 9, false, nil)) },
			func() { listed(5, "a:1", "b:1") },
			func() { listed(10, "b:1") },
			func() { c.hear(heard(bus.KindGateway, 10, true, nil)) }, // partial: its revision says nothing
			func() { c.hear(heard(bus.KindGateway, 10, false, map[string]int{"a:1": 1})) },
			func() { c.hear(heard(bus.KindDispatcher, 11, false, map[string]int{"b:1": 3})) },
			func() { c.hear(bus.Activity{Sender: "x", Kind: bus.KindGateway, Leaving: true}) },
		} {
			step()
			synctest.Wait()
			select {
			case <-done:
				t.Fatalf("it was released at step %d", i)
			default:
			}
		}
		c.hear(bus.Activity{Sender: bus.KindGateway, Kind: bus.KindGateway, Revision: 12})
		synctest.Wait()
		select {
		case <-done:
		default:
			t.Error("it was not released")
		}
	})
}

// Nobody waits for ever, and a function that is gone has no endpoints.
func TestReleaseIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCallers(nil, time.Minute, zerolog.Nop())
		start := time.Now()
		c.released(context.Background(), "f", "a:1")
		if took := time.Since(start); took != time.Minute {
			t.Errorf("it waited %s", took)
		}
		c.Remove("f")
		c.Applied(3)
		c.hear(heard(bus.KindGateway, 3, false, nil))
		c.hear(heard(bus.KindDispatcher, 4, false, nil))
		start = time.Now()
		c.released(context.Background(), "f", "a:1")
		if took := time.Since(start); took != 0 {
			t.Errorf("it waited %s for a function that is gone", took)
		}
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		c.released(ended, "g", "a:1")
	})
}
