package bus

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
	"github.com/sluicefaas/sluice/pkg/job"
)

// guarding runs Guard; its result comes on the channel.
func guarding(t *testing.T, b *Bus) (stop context.CancelFunc, ended <-chan error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- b.Guard(ctx) }()
	t.Cleanup(cancel)
	return cancel, result
}

func reconnected(t *testing.T, reconnects <-chan struct{}) {
	t.Helper()
	select {
	case <-reconnects:
	case <-within(t, patience).Done():
		t.Fatal("the connection does not come back")
	}
}

// A server that comes back with its data is the same; one that has lost it is told, whether or not somebody has made the stream anew.
func TestGuardTellsOfLostData(t *testing.T) {
	t.Parallel()
	for name, remade := range map[string]bool{"gone": false, "made anew": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := bustest.Start(t)
			b := connect(t, server)
			reconnects, stop := b.Reconnects()
			defer stop()
			_, ended := guarding(t, b)
			server.Stop()
			server.Start()
			reconnected(t, reconnects)
			select {
			case err := <-ended:
				t.Fatalf("a server with its data: %v", err)
			default:
			}
			server.Lose()
			if remade {
				other := connect(t, server)
				if err := other.EnsureCalls(within(t, patience)); err != nil {
					t.Fatal(err)
				}
			}
			select {
			case err := <-ended:
				if !errors.Is(err, ErrReplaced) {
					t.Errorf("got %v, want ErrReplaced", err)
				}
			case <-within(t, patience).Done():
				t.Error("nobody noticed")
			}
		})
	}
}

// Before there is a stream nothing is lost, and the end of the context is no error.
func TestGuardWaitsForTheStream(t *testing.T) {
	t.Parallel()
	b := connectOnly(t, bustest.Start(t).URL())
	stop, ended := guarding(t, b)
	awaitConnection(t, b)
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// The jobrunner's is for what was started. The queue can be made anew: the records say what was in it.
func TestGuardOfJobs(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	b := jobsBus(t, server.URL())
	putRun(t, openRuns(t, b), run("j", "1", job.Queued), 0)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- b.GuardJobs(ctx) }()
	if err := b.js.DeleteStream(within(t, patience), b.JobsStream()); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	server.Start()
	awaitConnection(t, b)
	select {
	case err := <-ended:
		t.Fatalf("a server with its data: %v", err)
	case <-time.After(lostAfter + time.Second):
	}
	server.Lose()
	awaitConnection(t, b)
	openRuns(t, b) // as by another jobrunner
	select {
	case err := <-ended:
		if !errors.Is(err, ErrReplaced) {
			t.Errorf("got %v, want ErrReplaced", err)
		}
	case <-within(t, patience).Done():
		t.Error("nobody noticed")
	}
}
