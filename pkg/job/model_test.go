package job_test

import (
	"testing"
	"time"
)

// requireWell explores the whole of a world, and fails with the shortest way to whatever is wrong in it. Where time is short it is the beginning of the world.
func requireWell(t *testing.T, w *world) {
	t.Run(w.name, func(t *testing.T) {
		t.Parallel()
		w.twins = true
		most := 4_000_000
		if testing.Short() || raced {
			most = 15_000
		}
		begin := time.Now()
		states, found := explore(w, most)
		t.Logf("%d states in %s", states, time.Since(begin).Round(time.Millisecond))
		switch {
		case found != nil:
			t.Error(found)
		case states > most && !testing.Short() && !raced:
			t.Errorf("the world has more than %d states", most)
		}
	})
}

// TestH1CrashBetweenCreationAndAck: the runner is killed, or only paused, anywhere, and another one gets the message.
func TestH1CrashBetweenCreationAndAck(t *testing.T) {
	requireWell(t, &world{name: "crashes and redeliveries", left: budgets{crashes: 2, redeliveries: 2}})
	requireWell(t, &world{name: "answers are lost", left: budgets{lostAnswers: 2, redeliveries: 1}})
	requireWell(t, &world{name: "an answer is lost in a crash", left: budgets{crashes: 1, lostAnswers: 1}})
	requireWell(t, &world{name: "the gateway has written the record", queuedBefore: true, left: budgets{crashes: 1, redeliveries: 1}})
	requireWell(t, &world{name: "the watch lags behind", lag: true, left: budgets{crashes: 1}})
}

// TestH2LateRequests: a process that was paused, or a network, brings a request when the run is long over and its Job removed.
func TestH2LateRequests(t *testing.T) {
	requireWell(t, &world{name: "after a crash", left: budgets{crashes: 1, lateRequests: 1}})
	requireWell(t, &world{name: "after a redelivery", left: budgets{redeliveries: 1, lateRequests: 1}})
}

// TestH4CancelRace: somebody cancels at any moment.
func TestH4CancelRace(t *testing.T) {
	requireWell(t, &world{name: "and a runner crashes", left: budgets{crashes: 1, cancels: 1}})
	requireWell(t, &world{name: "and an answer is lost", left: budgets{lostAnswers: 1, cancels: 1}})
	requireWell(t, &world{name: "and the watch lags behind", lag: true, left: budgets{cancels: 1}})
	requireWell(t, &world{name: "and the start deadline passes", left: budgets{cancels: 1, delays: 1}})
}

func TestModelOfLostThings(t *testing.T) {
	requireWell(t, &world{name: "the record", left: budgets{crashes: 1, redeliveries: 1, recordLosses: 1}})
	requireWell(t, &world{name: "the record of a run that is cancelled", left: budgets{cancels: 1, recordLosses: 1}})
	requireWell(t, &world{name: "the message", unpublished: true, left: budgets{crashes: 1, redeliveries: 1, lostAnswers: 1}})
	requireWell(t, &world{name: "the Job", left: budgets{crashes: 1, deletions: 1}})
}

func TestModelOfRefusals(t *testing.T) {
	requireWell(t, &world{name: "no quota, or invalid", left: budgets{crashes: 1, denials: 1, redeliveries: 1}})
	requireWell(t, &world{name: "and cancelled", left: budgets{cancels: 1, denials: 1}})
	requireWell(t, &world{name: "the name is taken", taken: true, left: budgets{crashes: 1, redeliveries: 1}})
	requireWell(t, &world{name: "the name is taken, for a while", taken: true, left: budgets{deletions: 1}})
}

func TestModelOfTime(t *testing.T) {
	requireWell(t, &world{name: "the start deadline passes", left: budgets{crashes: 1, delays: 1}})
	requireWell(t, &world{name: "somebody suspends the Job", left: budgets{crashes: 1, suspensions: 1}})
}
