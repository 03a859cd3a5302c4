package ops_test

import (
	"context"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience bounds every wait of these tests.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) == "daemon" {
		daemonChild()
		return
	}
	if os.Getenv(childEnv) != "" {
		os.Exit(signalChild())
	}
	goleak.VerifyTestMain(m)
}

// within returns what the channel gives, or fails the test.
func within[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case value := <-from:
		return value
	case <-time.After(patience):
		t.Fatalf("waited %s for: %s", patience, what)
		panic("unreachable")
	}
}

// background runs f in a goroutine and returns its result's channel.
func background(f func() error) <-chan error {
	result := make(chan error, 1)
	go func() { result <- f() }()
	return result
}

func cancelled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
