package bus

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
)

// What a callback does to each kind of record.
func TestCallbackOfEachRecord(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	later, before := now.Add(time.Minute), now.Add(-time.Minute)
	for name, c := range map[string]struct {
		record Attempt
		open   bool
		write  bool
	}{
		"the first attempt runs":              {Attempt{}, true, true},
		"taken over":                          {Attempt{Tries: 1, Until: later}, true, true},
		"taken over after failed attempts":    {Attempt{Tries: 2, Next: before, Until: later}, true, true},
		"its time is over":                    {Attempt{Until: before}, false, false},
		"its time is over now":                {Attempt{Until: now}, false, false},
		"waits for another attempt":           {Attempt{Tries: 1, Next: later}, false, false},
		"another attempt runs":                {Attempt{Tries: 1, Next: before}, true, true},
		"another attempt is due":              {Attempt{Tries: 1, Next: now}, true, true},
		"ended with the same word":            {Attempt{Until: later, Callback: CallbackSuccess}, true, false},
		"ended with the same word long ago":   {Attempt{Until: before, Callback: CallbackSuccess}, true, false},
		"ended with another word":             {Attempt{Until: later, Callback: CallbackError}, false, false},
		"ended before it was said to be open": {Attempt{Callback: CallbackError}, false, false},
	} {
		ended, write, err := c.record.end(CallbackSuccess, now)
		if (err == nil) != c.open || err != nil && !errors.Is(err, ErrNoOpenCall) || write != c.write || write && ended.Callback != CallbackSuccess {
			t.Errorf("%s: got %+v, %v, %v", name, ended, write, err)
		}
	}
}

// callbacks returns a dispatcher's records, a gateway's, and what the dispatcher is told.
func callbacks(t *testing.T, server *bustest.Server) (dispatcher, gateway *Attempts, told <-chan string) {
	t.Helper()
	b := connect(t, server)
	dispatcher = openAttempts(t, b)
	ch := make(chan string, 100)
	stop, err := b.OnCallback(func(function, id string) { ch <- function + " " + id })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	if err := b.conn.Flush(); err != nil {
		t.Fatal(err)
	}
	other := connectOnly(t, server.URL())
	if err := other.AwaitCalls(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	if gateway, err = other.AwaitAttempts(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	return dispatcher, gateway, ch
}

func TestCallbackIsKeptAndTold(t *testing.T) {
	t.Parallel()
	dispatcher, gateway, told := callbacks(t, bustest.Start(t))
	id := publish(t, gateway.bus, Call{Function: "f"})
	open := Attempt{Tries: 2, Until: time.Now().Add(time.Minute).UTC(), Endpoint: "10.0.0.1:80"}
	if word, err := dispatcher.Open(within(t, patience), "f", id, open); word != "" || err != nil {
		t.Fatalf("open: %q, %v", word, err)
	}
	for range 2 { // a function may repeat it
		if err := gateway.Callback(within(t, patience), "f", id, CallbackError); err != nil {
			t.Fatal(err)
		}
		if got := next(t, told); got != "f "+id {
			t.Errorf("told of %q", got)
		}
	}
	if err := gateway.Callback(within(t, patience), "f", id, CallbackSuccess); !errors.Is(err, ErrNoOpenCall) {
		t.Errorf("another word: %v", err)
	}
	got, ok, err := dispatcher.Get(within(t, patience), "f", id)
	if err != nil || !ok || got.Tries != 2 || !got.Until.Equal(open.Until) || got.Endpoint != open.Endpoint || got.Callback != CallbackError {
		t.Errorf("got %+v, %v, %v", got, ok, err)
	}
	record(t, dispatcher, "f", id, Attempt{Tries: 3, Next: time.Now().Add(time.Hour)}) // a further failed attempt is recorded over it
	if err := gateway.Callback(within(t, patience), "f", id, CallbackError); !errors.Is(err, ErrNoOpenCall) {
		t.Errorf("while it waits: %v", err)
	}
}

// A function may call back before its 202 has arrived: then nothing is opened any more.
func TestCallbackBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	dispatcher, gateway, _ := callbacks(t, bustest.Start(t))
	id := publish(t, gateway.bus, Call{Function: "f"})
	if err := gateway.Callback(within(t, patience), "f", id, CallbackSuccess); err != nil {
		t.Fatal(err)
	}
	word, err := dispatcher.Open(within(t, patience), "f", id, Attempt{Until: time.Now().Add(time.Minute)})
	if word != CallbackSuccess || err != nil {
		t.Errorf("open: %q, %v", word, err)
	}
	if attempts := load(t, dispatcher, "f"); len(attempts) != 1 {
		t.Errorf("a new owner finds %+v", attempts)
	}
}

func TestCallbackOfNoCall(t *testing.T) {
	t.Parallel()
	dispatcher, gateway, _ := callbacks(t, bustest.Start(t))
	id := publish(t, gateway.bus, Call{Function: "f"})
	created, sequence, _ := ParseCallID(id)
	for name, c := range map[string][2]string{
		"of another function": {"g", id}, "of a later place": {"f", formatCallID(created, sequence+1)}, "of place 0": {"f", formatCallID(created, 0)},
		"of another queue": {"f", formatCallID(created-1, sequence)}, "no id": {"f", "x"}, "a wildcard": {"*", id},
	} {
		if err := gateway.Callback(within(t, patience), c[0], c[1], CallbackSuccess); !errors.Is(err, ErrNoOpenCall) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := gateway.Callback(within(t, patience), "f", id, "maybe"); err == nil || errors.Is(err, ErrNoOpenCall) {
		t.Errorf("another word: %v", err)
	}
	if err := pulled(t, consumer(t, dispatcher.bus, "f"), 1)[0].Done(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	if err := gateway.Callback(within(t, patience), "f", id, CallbackSuccess); !errors.Is(err, ErrNoOpenCall) {
		t.Errorf("of a call that has ended: %v", err)
	}
	if attempts := load(t, dispatcher, "f"); len(attempts) != 0 {
		t.Errorf("records of no call: %+v", attempts)
	}
}

// Of two words that come at the same time one counts, and only its sender is told that it does. The owner's record of the open
// attempt neither undoes it nor is undone.
func TestCallbacksAtTheSameTime(t *testing.T) {
	t.Parallel()
	dispatcher, gateway, _ := callbacks(t, bustest.Start(t))
	for range 20 {
		id := publish(t, gateway.bus, Call{Function: "f"})
		var senders sync.WaitGroup
		errs := make([]error, 8)
		for i := range errs {
			word := []string{CallbackSuccess, CallbackError}[i%2]
			senders.Go(func() { errs[i] = gateway.Callback(within(t, patience), "f", id, word) })
		}
		word, err := dispatcher.Open(within(t, patience), "f", id, Attempt{Tries: 1, Until: time.Now().Add(time.Minute)})
		senders.Wait()
		got, ok, getErr := dispatcher.Get(within(t, patience), "f", id)
		if err != nil || getErr != nil || !ok || got.Callback == "" || word != "" && word != got.Callback {
			t.Fatalf("open said %q %v; the record is %+v %v %v", word, err, got, ok, getErr)
		}
		if word == "" && got.Tries != 1 {
			t.Errorf("the open attempt was undone: %+v", got)
		}
		for i, err := range errs {
			won := got.Callback == []string{CallbackSuccess, CallbackError}[i%2]
			if won != (err == nil) || err != nil && !errors.Is(err, ErrNoOpenCall) {
				t.Errorf("sender %d of %s: %v", i, got.Callback, err)
			}
		}
	}
}

func TestCallbackWaitsForTheServer(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	dispatcher, gateway, _ := callbacks(t, server)
	id := publish(t, gateway.bus, Call{Function: "f"})
	server.Stop()
	if err := gateway.Callback(within(t, quiet), "f", id, CallbackSuccess); !errors.Is(err, ErrUnavailable) {
		t.Errorf("without a server: %v", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- gateway.Callback(context.Background(), "f", id, CallbackSuccess) }()
	server.Start()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if word, err := dispatcher.Open(within(t, patience), "f", id, Attempt{}); word != CallbackSuccess || err != nil {
		t.Errorf("open: %q, %v", word, err)
	}
}
