// Package await polls conditions. Each wait has a limit, ends when what it waits for cannot happen any more, and then
// says what was missing.
package await

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// interval is the pause between two looks.
const interval = 50 * time.Millisecond

// Until calls check until it returns nil, at most for limit. It ends early when ctx does. The error names what was
// waited for and holds the last error of check, or the cause for which ctx has ended.
func Until(ctx context.Context, what string, limit time.Duration, check func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		err := check(limited)
		if err == nil {
			return nil
		}
		select {
		case <-ticker.C:
			continue
		case <-limited.Done():
		}
		if cause := context.Cause(ctx); cause != nil {
			return fmt.Errorf("wait for %s: %w", what, cause)
		}
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("wait for %s: no answer within %v", what, limit)
		}
		return fmt.Errorf("wait for %s: not within %v: %w", what, limit, err)
	}
}
