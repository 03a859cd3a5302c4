package main

import (
	"slices"
	"strconv"
	"sync"
	"time"
)

// Bounds of what a run remembers.
const (
	maxLatencies = 500_000
	maxFailures  = 500
)

// tally sums up the calls of one run.
type tally struct {
	mu          sync.Mutex
	started     time.Time // this and all below are guarded by mu
	ended       time.Time // zero while the run goes on
	statuses    map[string]int
	latencies   []time.Duration // of successes
	accepted    []string
	failures    []failure
	lastSuccess time.Time
	gap         gap
}

// failure is one call that did not succeed. Status is 0 without an answer.
type failure struct {
	At     time.Time `json:"at"`
	Status int       `json:"status"`
	Detail string    `json:"detail"`
	Millis float64   `json:"millis"`
}

// gap is a time without a success.
type gap struct {
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Millis float64   `json:"millis"`
}

// result is what is known of a run.
type result struct {
	Running  bool           `json:"running"`
	Started  time.Time      `json:"started"`
	Ended    time.Time      `json:"ended"`
	Statuses map[string]int `json:"statuses"`
	// P50, P99 and Max are latencies of successes in milliseconds.
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
	// Accepted are the ids of the answers 202.
	Accepted []string  `json:"accepted"`
	Failures []failure `json:"failures"`
	// LongestGap is between the ends of two successes, or from the start to the first, or from the last to the end.
	LongestGap gap `json:"longestGap"`
}

func newTally(now time.Time) tally {
	return tally{started: now, lastSuccess: now, statuses: map[string]int{}}
}

// begin makes now the start of the run.
func (t *tally) begin(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.started, t.lastSuccess = now, now
}

func (t *tally) add(o outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	status := "none"
	if o.status > 0 {
		status = strconv.Itoa(o.status)
	}
	t.statuses[status]++
	switch {
	case o.ok():
		t.succeeded(o)
	case len(t.failures) < maxFailures:
		t.failures = append(t.failures, failure{At: o.start, Status: o.status, Detail: o.detail, Millis: millis(o.end.Sub(o.start))})
	}
}

// succeeded is called with mu held.
func (t *tally) succeeded(o outcome) {
	t.noteGap(o.end)
	t.lastSuccess = o.end
	if len(t.latencies) < maxLatencies {
		t.latencies = append(t.latencies, o.end.Sub(o.start))
	}
	if o.status == 202 {
		t.accepted = append(t.accepted, o.id)
	}
}

// noteGap is called with mu held.
func (t *tally) noteGap(now time.Time) {
	if length := millis(now.Sub(t.lastSuccess)); length > t.gap.Millis {
		t.gap = gap{From: t.lastSuccess, To: now, Millis: length}
	}
}

func (t *tally) finish(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = now
	t.noteGap(now)
}

func (l *loadRun) result() result {
	t := &l.tally
	t.mu.Lock()
	defer t.mu.Unlock()
	sorted := slices.Sorted(slices.Values(t.latencies))
	statuses := map[string]int{}
	for status, count := range t.statuses {
		statuses[status] = count
	}
	return result{
		Running: t.ended.IsZero(), Started: t.started, Ended: t.ended, Statuses: statuses,
		P50: percentile(sorted, 50), P99: percentile(sorted, 99), Max: percentile(sorted, 100),
		Accepted: slices.Clone(t.accepted), Failures: slices.Clone(t.failures), LongestGap: t.gap,
	}
}

// percentile is the nearest rank of p percent, in milliseconds.
func percentile(sorted []time.Duration, p int) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return millis(sorted[max((len(sorted)*p+99)/100, 1)-1])
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
