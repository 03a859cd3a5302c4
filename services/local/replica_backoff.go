package local

import "time"

const (
	firstBackoff = time.Second
	maxBackoff   = 30 * time.Second
	// stableAfter is how long a replica has to have been ready for its earlier failures to be forgotten.
	stableAfter = time.Minute
	// forgottenAfter is how long ago the last failure has to be, for instance because the function was at zero.
	forgottenAfter = 5 * time.Minute
)

// backoff decides when a replica that failed is started again. It belongs to the replica's slot, so that scaling
// down and up again does not get round it.
type backoff struct {
	failures int
	failedAt time.Time
}

// fail records a failure after the replica was ready for a time, which is 0 if it never was.
func (b *backoff) fail(now time.Time, ready time.Duration) {
	if ready >= stableAfter {
		b.failures = 0
	}
	b.failures++
	b.failedAt = now
}

// wait is how long the next start has to wait: 1, 2, 4 … 30 s after the failure.
func (b *backoff) wait(now time.Time) time.Duration {
	if now.Sub(b.failedAt) >= forgottenAfter {
		b.failures = 0
	}
	if b.failures == 0 {
		return 0
	}
	delay := min(firstBackoff<<min(b.failures-1, 10), maxBackoff)
	return max(b.failedAt.Add(delay).Sub(now), 0)
}
