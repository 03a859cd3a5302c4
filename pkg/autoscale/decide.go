// Package autoscale chooses replica counts, and is the only place that does. It is pure: the scaler hands it the time
// and what it knows about a function, and carries out what it answers.
package autoscale

import (
	"fmt"
	"strings"
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
	// NeverCalled says that nobody has ever decided about the function, and that such a one is to start awake: Since counts as a call.
	NeverCalled bool
	// Fixed says that the count cannot be changed: the function runs elsewhere.
	Fixed bool
	// Blocked says why the cluster gives the workload no further replica now, "" while nothing is known to stand in the way.
	Blocked string
	// Waits says in words which of the workloads that the function depends on, directly or not, are not ready.
	Waits []string
	// Dependents is what the functions do that depend on this one, directly or not; Any is what all do, for one with WakeWithAny.
	Dependents, Any Others
	// Readings are the figures of the triggers, in their order. One that is missing is not valid.
	Readings []Reading
	// History is what Remember made of the decisions before.
	History History
}

// Others is the activity of other functions.
type Others struct {
	// InUse says that one of them has calls queued or in flight, or waits to start; Waiting that one does the latter.
	InUse, Waiting bool
	// LastActivity is the newest that LastActivity returns of any of them.
	LastActivity time.Time
}

// Decide returns the count that f should have now, and why. The reason of a count that stays is the same, to the letter, as long as
// the situation is, so that a changed one is worth a line in the log.
//
// Activity is a call that is queued or in flight, or one at most the timeout ago; a wake-up time of the schedule and the activity of
// functions that depend on this one are as good as a call. It alone wakes a function from zero, and not before what the function
// depends on is ready; the triggers of Scale do so only if WakeFromZero says so. A queue whose depth is unknown is neither empty nor
// full: it holds what is there. A workload that gets no further replica is asked for no more of them, but from zero the start is
// always tried: what stood in the way may be gone.
func Decide(now time.Time, f function.Function, s Signals) function.Decision {
	c := choose(now, f, s)
	return function.Decision{At: now, Replicas: c.replicas, Reason: c.reason}
}

// choice is a count and its reason.
type choice struct {
	replicas int
	reason   string
	// triggered says that the triggers have chosen the count: it counts for the policies.
	triggered bool
}

func choose(now time.Time, f function.Function, s Signals) choice {
	current, least := max(s.Replicas, 0), max(f.ReplicasMin, 0)
	called := activity(now, f, s)
	switch {
	case s.Fixed:
		return choice{replicas: current, reason: "the count is fixed: the function runs elsewhere"}
	case HeldBack(f, s):
		return choice{replicas: current, reason: fmt.Sprintf("held at %s: %s", inReplicas(current), s.Blocked)}
	case current == 0 || current < least:
		return start(now, f, s, called)
	case len(triggers(f)) > 0:
		return follow(now, f, s, called)
	}
	return keep(now, f, s, called)
}

// start decides about a function without replicas, or with fewer than ReplicasMin.
func start(now time.Time, f function.Function, s Signals, called string) choice {
	current, least := max(s.Replicas, 0), max(f.ReplicasMin, 0)
	w := wish{}
	if called != "" || wakesFromZero(f) {
		w = wanted(now, f, s)
	}
	if called == "" && current == 0 && w.count > 0 {
		called = w.reason()
	}
	switch {
	case called != "" && (current > 0 || len(s.Waits) == 0):
		begin := min(max(atStart(f), w.limited), most(f))
		return choice{begin, fmt.Sprintf("%s: %s to start", called, inReplicas(begin)), begin > atStart(f)}
	case current < least:
		return choice{replicas: least, reason: fmt.Sprintf("ReplicasMin: %s to start", inReplicas(least))}
	case called != "":
		return choice{reason: "waits for " + listed(s.Waits)}
	case !s.DepthKnown:
		return choice{replicas: current, reason: "the queue cannot be read: the count stays"}
	}
	return choice{replicas: current, reason: "idle"}
}

// keep decides about a function that is up and has no triggers.
func keep(now time.Time, f function.Function, s Signals, called string) choice {
	current, least := max(s.Replicas, 0), max(f.ReplicasMin, 0)
	switch {
	case called != "" && s.Dependents.Waiting && current < atStart(f) && len(s.Waits) == 0 && s.Blocked == "":
		return choice{replicas: atStart(f), reason: fmt.Sprintf("a function that depends on it waits: %s to start", inReplicas(atStart(f)))}
	case called != "":
		return choice{replicas: current, reason: "in use"}
	case !s.DepthKnown:
		return choice{replicas: current, reason: "the queue cannot be read: the count stays"}
	case current == least:
		return choice{replicas: current, reason: "idle"}
	case recent(now, s.Since, f):
		return choice{replicas: current, reason: fmt.Sprintf("left as deployed until its timeout of %v has passed once", idleTimeout(now, f))}
	}
	return choice{replicas: least, reason: fmt.Sprintf("no call for %v: down to %d", idleTimeout(now, f), least)}
}

// follow decides about a function that is up and has triggers. While it is in use, they choose the count, from ReplicasAtStart on;
// when it is idle, they can keep it from going down to ReplicasMin.
func follow(now time.Time, f function.Function, s Signals, called string) choice {
	current, least := max(s.Replicas, 0), max(f.ReplicasMin, 0)
	w := wanted(now, f, s)
	if called == "" && w.count <= least {
		return keep(now, f, s, called)
	}
	replicas := w.limited
	if called != "" {
		replicas = max(replicas, min(atStart(f), most(f)))
	}
	if !s.DepthKnown || called == "" && recent(now, s.Since, f) {
		replicas = max(replicas, current)
	}
	if s.Blocked != "" {
		replicas = min(replicas, current)
	}
	return followed(f, w, current, choice{replicas: replicas, reason: called})
}

// followed gives the choice of follow its reason; before, that is what makes the function active.
func followed(f function.Function, w wish, current int, c choice) choice {
	called := c.reason
	c.triggered = c.replicas != current
	switch {
	case c.replicas == current && called != "":
		c.reason = "in use"
	case c.replicas == current:
		c.reason = "idle, but its triggers want it"
	case c.replicas < current && c.replicas == most(f) && current > most(f):
		c.reason = fmt.Sprintf("ReplicaMax: down to %d", c.replicas)
	case c.replicas <= w.limited:
		c.reason = w.says(current)
	case c.replicas > current:
		c.reason, c.triggered = fmt.Sprintf("%s: %s to start", called, inReplicas(c.replicas)), false
	default:
		c.reason = fmt.Sprintf("%s: down to %d, ReplicasAtStart", w.reason(), c.replicas)
	}
	return c
}

// HeldBack reports whether Decide leaves the count below ReplicasMin because the cluster gives no further replica.
func HeldBack(f function.Function, s Signals) bool {
	return s.Blocked != "" && !s.Fixed && s.Replicas > 0 && s.Replicas < f.ReplicasMin
}

// Waits reports whether f would be started now if what it depends on were ready.
func Waits(now time.Time, f function.Function, s Signals) bool {
	if s.Fixed || s.Replicas > 0 || f.ReplicasMin > 0 || len(s.Waits) == 0 {
		return false
	}
	return activity(now, f, s) != "" || wakesFromZero(f) && wanted(now, f, s).count > 0
}

// InUse reports whether f keeps awake what it depends on, for as long as it lasts: its calls are queued or in flight, it waits to start,
// or triggers that could wake it want it.
func InUse(now time.Time, f function.Function, s Signals) bool {
	if s.DepthKnown && s.Depth > 0 || s.InFlight > 0 || Waits(now, f, s) {
		return true
	}
	return wakesFromZero(f) && s.Replicas > 0 && wanted(now, f, s).count > max(f.ReplicasMin, 0)
}

// atStart is the count on waking.
func atStart(f function.Function) int { return max(f.ReplicasAtStart, f.ReplicasMin, 1) }

func inReplicas(n int) string {
	if n == 1 {
		return "1 replica"
	}
	return fmt.Sprintf("%d replicas", n)
}

// maxListed bounds a sentence.
const maxListed = 8

func listed(words []string) string {
	if more := len(words) - maxListed; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(words[:maxListed], ", "), more)
	}
	return strings.Join(words, ", ")
}
