package bus

import (
	"errors"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
)

func openAttempts(t testing.TB, b *Bus) *Attempts {
	t.Helper()
	attempts, err := b.OpenAttempts(within(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	return attempts
}

func record(t testing.TB, a *Attempts, function, id string, attempt Attempt) { //nolint:revive // a helper of tests: each argument says something
	t.Helper()
	if err := a.Record(within(t, patience), function, id, attempt); err != nil {
		t.Fatal(err)
	}
}

func load(t testing.TB, a *Attempts, function string) map[uint64]Attempt {
	t.Helper()
	attempts, err := a.Load(within(t, patience), function)
	if err != nil {
		t.Fatal(err)
	}
	return attempts
}

func TestAttemptsSurviveARestart(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	b := connect(t, server)
	a := openAttempts(t, b)
	next := time.Now().Add(time.Hour).UTC()
	record(t, a, "f", b.callID(7), Attempt{Tries: 1, Next: next, Outcome: "timeout"})
	record(t, a, "f", b.callID(7), Attempt{Tries: 2, Next: next, Outcome: "answered 503", Status: 503})
	record(t, a, "f", b.callID(1<<40), Attempt{Tries: 1, Next: next})
	record(t, a, "f-2", b.callID(7), Attempt{Tries: 9})
	for range 2 {
		attempts := load(t, a, "f")
		if got := attempts[7]; len(attempts) != 2 || got.Tries != 2 || !got.Next.Equal(next) || got.Outcome != "answered 503" || got.Status != 503 || attempts[1<<40].Tries != 1 {
			t.Fatalf("got %+v", attempts)
		}
		server.Stop()
		server.Start()
	}
	second := connect(t, server) // what an owner that has died has kept
	if attempts := load(t, openAttempts(t, second), "f"); len(attempts) != 2 {
		t.Errorf("another Bus got %+v", attempts)
	}
}

func TestRemovedAttemptsAreGone(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.Start(t))
	a := openAttempts(t, b)
	record(t, a, "f", b.callID(1), Attempt{Tries: 1})
	record(t, a, "f", b.callID(2), Attempt{Tries: 2})
	for range 2 {
		if err := a.Remove(within(t, patience), "f", b.callID(1)); err != nil {
			t.Fatal(err)
		}
	}
	if attempts := load(t, a, "f"); len(attempts) != 1 || attempts[2].Tries != 2 {
		t.Errorf("got %+v", attempts)
	}
	if attempts := load(t, a, "none"); len(attempts) != 0 {
		t.Errorf("a function without records has %+v", attempts)
	}
	mark, err := b.js.Stream(within(t, patience), "KV_"+b.AttemptsBucket())
	if err != nil {
		t.Fatal(err)
	}
	msg, err := mark.GetLastMsgForSubject(within(t, patience), "$KV."+b.AttemptsBucket()+"."+attemptKey("f", b.callID(1)))
	if err != nil || msg.Header.Get("Nats-TTL") != removedTTL.String() {
		t.Errorf("the mark of a removed record stays: %v, %v", msg, err)
	}
}

// A record of a stream that is gone says nothing about the call at the same place of the new one.
func TestAttemptsOfAnotherStreamArePassedOver(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.Start(t))
	a := openAttempts(t, b)
	record(t, a, "f", formatCallID(b.created.Load()-1, 1), Attempt{Tries: 1})
	record(t, a, "f", "no-id", Attempt{Tries: 1})
	if _, err := a.kv.Put(within(t, patience), attemptKey("f", b.callID(2)), []byte("no JSON")); err != nil {
		t.Fatal(err)
	}
	record(t, a, "f", b.callID(3), Attempt{Tries: 3})
	if attempts := load(t, a, "f"); len(attempts) != 1 || attempts[3].Tries != 3 {
		t.Errorf("got %+v", attempts)
	}
}

func TestAttemptsWaitForTheServer(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	b := connect(t, server)
	a := openAttempts(t, b)
	server.Stop()
	if err := a.Record(within(t, quiet), "f", b.callID(1), Attempt{}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("without a server: %v", err)
	}
	if _, err := a.Load(within(t, quiet), "f"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("without a server: %v", err)
	}
	recorded := make(chan error, 1)
	go func() { recorded <- a.Record(within(t, patience), "f", b.callID(1), Attempt{Tries: 1}) }()
	server.Start()
	if err := <-recorded; err != nil {
		t.Fatal(err)
	}
	if attempts := load(t, a, "f"); attempts[1].Tries != 1 {
		t.Errorf("got %+v", attempts)
	}
}
