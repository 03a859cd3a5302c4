// Package autoscale chooses replica counts, and is the only place that does. It is pure: the scaler hands it the time
// and what it knows about a function, and carries out what it answers.
package autoscale

import (
	"fmt"
	"time"

	"github.com/sluicefaas/sluice/pkg/function"
)

// Signals are what the scaler knows about one function at one moment.
type Signals struct {
	// Replicas is the count that the workload asks for now, Ready how many of them can be called.
	Replicas, Ready int
	// Depth is how many calls wait in the queue. It means something only where DepthKnown is true.
	Depth      int64
	DepthKnown bool
	// InFlight counts the calls, sync and async, that run or that are held for a replica.
	InFlight int
	// LastActivity is when the newest call, sync or async, began or ended; zero for none since the leader started.
	LastActivity time.Time
	// Since is when the leader started, or first saw the function if that was later. A function that has replicas
	// is left as it is deployed until its timeout has passed once from then on.
	Since time.Time
	// Fixed says that the count cannot be changed: the function runs elsewhere.
	Fixed bool
	// Blocked says why the cluster gives the workload no further replica now, "" while nothing is known to stand in the way.
	Blocked string
}

// Decide returns the count that f should have now, and why. The reason stays the same, to the letter, as long as the
// situation does, so that a changed one is worth a line in the log.
//
// Activity is a call that is queued or in flight, or one at most the timeout ago. It alone wakes a function from
// zero. A queue whose depth is unknown is neither empty nor full: it holds what is there. A workload that gets no further
// replica is asked for no more of them, but from zero the start is always tried: what stood in the way may be gone.
func Decide(now time.Time, f function.Function, s Signals) function.Decision {
	replicas, reason := choose(now, f, s)
	return function.Decision{At: now, Replicas: replicas, Reason: reason}
}

func choose(now time.Time, f function.Function, s Signals) (replicas int, reason string) {
	current, least := max(s.Replicas, 0), max(f.ReplicasMin, 0)
	called := activity(now, f, s)
	switch {
	case s.Fixed:
		return current, "the count is fixed: the function runs elsewhere"
	case HeldBack(f, s):
		return current, fmt.Sprintf("held at %s: %s", counted(current, "replica"), s.Blocked)
	case called != "" && (current == 0 || current < least):
		start := max(f.ReplicasAtStart, least, 1)
		return start, fmt.Sprintf("%s: %s to start", called, counted(start, "replica"))
	case current < least:
		return least, fmt.Sprintf("ReplicasMin: %s to start", counted(least, "replica"))
	case called != "":
		return current, "in use"
	case !s.DepthKnown:
		return current, "the queue cannot be read: the count stays"
	case current == least:
		return current, "idle"
	case recent(now, s.Since, f):
		return current, fmt.Sprintf("left as deployed until its timeout of %v has passed once", f.IdleTimeout())
	}
	return least, fmt.Sprintf("no call for %v: down to %d", f.IdleTimeout(), least)
}

// HeldBack reports whether Decide leaves the count below ReplicasMin because the cluster gives no further replica.
func HeldBack(f function.Function, s Signals) bool {
	return s.Blocked != "" && !s.Fixed && s.Replicas > 0 && s.Replicas < f.ReplicasMin
}

// activity says in words what makes the function active, or "" if nothing does.
func activity(now time.Time, f function.Function, s Signals) string {
	switch {
	case s.DepthKnown && s.Depth > 0:
		return are(s.Depth, "queued")
	case s.InFlight > 0:
		return are(int64(s.InFlight), "in flight")
	case recent(now, s.LastActivity, f):
		return "it was called"
	}
	return ""
}

// recent says whether at is at most the timeout of f ago. A time to come is as recent as now.
func recent(now, at time.Time, f function.Function) bool {
	return !at.IsZero() && now.Sub(at) <= f.IdleTimeout()
}

// NextCheck returns after how long time alone may change what Decide answers, for the scaler's timer; 0 means never:
// then only another signal can.
func NextCheck(now time.Time, f function.Function, s Signals) time.Duration {
	if s.Fixed || s.InFlight > 0 || s.DepthKnown && s.Depth > 0 {
		return 0
	}
	next := time.Duration(0)
	for _, at := range []time.Time{s.LastActivity, s.Since} {
		if left := untilIdle(now, at, f); left > 0 && (next == 0 || left < next) {
			next = left
		}
	}
	return next
}

// untilIdle is the time until at is no longer recent, 0 if it is not. Bounding the age keeps the sum from overflowing
// for a time that is far ahead, which is looked at again after one timeout.
func untilIdle(now, at time.Time, f function.Function) time.Duration {
	if !recent(now, at, f) {
		return 0
	}
	return f.IdleTimeout() - max(now.Sub(at), 0) + 1
}

func are(n int64, what string) string {
	if n == 1 {
		return "1 call is " + what
	}
	return fmt.Sprintf("%d calls are %s", n, what)
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
