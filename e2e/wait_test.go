package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// pace is how often a condition is looked at.
const pace = 100 * time.Millisecond

// until waits for the condition, which also tells what it has seen. It fails the test when the limit or the test's time is over.
func until(ctx context.Context, t *testing.T, what string, limit time.Duration, condition func(context.Context) (ok bool, seen string)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	seen := "nothing"
	for {
		ok, now := condition(ctx)
		if ok {
			return
		}
		if ctx.Err() == nil {
			seen = now
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("waited %s for: %s; last seen: %s", limit, what, seen)
		}
	}
}

// throughout checks again and again that the condition holds for the whole time.
func throughout(ctx context.Context, t *testing.T, what string, length time.Duration, condition func(context.Context) (ok bool, seen string)) {
	t.Helper()
	over := time.NewTimer(length)
	defer over.Stop()
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	start := time.Now()
	for {
		if ok, seen := condition(ctx); !ok && ctx.Err() == nil {
			t.Fatalf("%s: no longer after %s: %s", what, time.Since(start).Round(time.Millisecond), seen)
		}
		select {
		case <-ticker.C:
		case <-over.C:
			return
		case <-ctx.Done():
			t.Fatalf("%s: interrupted: %v", what, context.Cause(ctx))
		}
	}
}

// pass lets time pass in which nothing is to be seen from outside.
func pass(ctx context.Context, length time.Duration) error {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("interrupted: %w", context.Cause(ctx))
	}
}
