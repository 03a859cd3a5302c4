package jobrunner

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/sluicefaas/sluice/pkg/job"
)

// TestDefinitionGoes: runs that wait for a definition that is gone end after the grace, in our hands or not, whoever has made their records, and whether another runner leads since;
// those that have started go on.
func TestDefinitionGoes(t *testing.T) {
	t.Parallel()
	for _, restarts := range []bool{false, true} {
		t.Run(fmt.Sprint("restarts ", restarts), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, definition("fib", 2), definition("other", 1))
			f.timing.unknown = 2 * time.Second
			first := f.startSynced()
			waiting := f.queueBehindTwo("fib")
			if restarts {
				first.stop()
				f.timing.unknown = quick.unknown
			}
			f.api.undefine("fib")
			second := first
			if restarts {
				second = f.startSynced()
			}
			for _, id := range waiting {
				if run := f.closed("fib", id, job.Cancelled); run.Reason != job.ReasonDefinitionDeleted || !strings.Contains(run.Message, "fib") {
					t.Errorf("%s is cancelled because of %s %q", id, run.Reason, run.Message)
				}
			}
			f.drained()
			// Longer than it takes to find and mend what is lost.
			never(t, 3*f.timing.lost, "a request is queued again", func() bool {
				depths, err := f.bus.JobDepths(t.Context())
				return err == nil && len(depths) > 0
			})
			f.checkGone(waiting, first, second)
			for _, id := range []string{"r1", "r2"} {
				f.api.end(id, job.Succeeded)
				f.closed("fib", id, job.Succeeded)
			}
			f.publish("other", "r3", "")
			f.phase("other", "r3", job.Running)
		})
	}
}

// queueBehindTwo lets two runs of the job start, then queues others, and returns their ids: one that is in the runner's hands, and some that are not, asked for in all ways.
func (f *fixture) queueBehindTwo(name string) (waiting []string) {
	f.t.Helper()
	f.publish(name, "r1", "")
	f.phase(name, "r1", job.Running)
	f.publish(name, "asks", `{"dependsOn":["db"]}`)
	f.phase(name, "asks", job.Waiting)
	f.publish(name, "r2", "")
	f.phase(name, "r2", job.Running)
	waiting = []string{"asks", "n1", "n2", "n3", "h1", "h2"}
	for _, id := range waiting[1:] {
		if id[0] == 'h' {
			f.askHTTP(definition(name, 2), id, `{"args":["1"]}`)
		} else {
			f.publish(name, id, `{"args":["1"]}`)
		}
	}
	for _, id := range waiting[1:] {
		f.await(name, id, "recorded", func(r job.Run) bool { return r.Sequence != 0 })
	}
	return waiting
}

// checkGone holds of runs that have waited for a definition that is gone: one end was told of each, its request is kept as a dead letter, and none was queued again.
func (f *fixture) checkGone(waiting []string, runners ...*running) {
	f.t.Helper()
	for _, id := range waiting {
		told := slices.DeleteFunc(f.ends.of(id), func(move string) bool { return !strings.HasPrefix(move, "Cancelled/") })
		if !slices.Equal(told, []string{"Cancelled/DefinitionDeleted"}) {
			f.t.Errorf("of %s was told %v", id, f.ends.of(id))
		}
	}
	dead := f.dead()
	if len(dead) != len(waiting) {
		f.t.Errorf("%d dead letters of %d: %+v", len(dead), len(waiting), dead)
	}
	for _, d := range dead {
		if d.reason != reasonUnknownJob {
			f.t.Errorf("a dead letter is %+v", d)
		}
	}
	for _, r := range runners {
		if lines := r.logs.with("it is queued again"); len(lines) > 0 {
			f.t.Errorf("%v", lines)
		}
	}
	if n := f.api.onceAll(); n != 2 {
		f.t.Errorf("%d runs had pods", n)
	}
}

// graceRunner is a Runner that nobody runs, of which some records wait.
func graceRunner(t *testing.T, waiting int) *Runner {
	t.Helper()
	r := New(Config{}, Deps{Logger: zerolog.Nop(), Registry: prometheus.NewRegistry()})
	t.Cleanup(r.alarm.stop)
	r.observed, r.read = true, true
	for i := range waiting {
		run := job.Accept(definition("fib", 1), job.Message{Definition: "fib", RunID: fmt.Sprint("r", i), Sequence: uint64(i + 1)}, time.Now())
		r.applyRun(run, uint64(i+1))
	}
	return r
}

// TestGraceOfDefinition: runs end when their definition has not been there for the grace, never before the cluster has told what it has. The runner looks once a second.
func TestGraceOfDefinition(t *testing.T) {
	t.Parallel()
	d := definition("fib", 1)
	grace, start := standardTiming.unknown, time.Now()
	undefine := func(r *Runner) { r.undefine("fib") }
	define := func(r *Runner) { // as one that the cluster takes
		r.kind("fib").good = &d
		r.define(d)
	}
	tests := []struct {
		name   string
		before func(*Runner)
		later  map[time.Duration]func(*Runner) // what happens after that time
		ends   time.Duration                   // 0 for never
	}{
		{name: "it is not there", ends: grace + time.Second},
		{name: "the cluster has not told yet", before: func(r *Runner) { r.observed = false }},
		{name: "the records are not known yet", before: func(r *Runner) { r.read = false }},
		{name: "it is there", before: define},
		{name: "it goes", before: define, later: map[time.Duration]func(*Runner){10 * time.Second: undefine}, ends: 12*time.Second + grace},
		{name: "it comes back", later: map[time.Duration]func(*Runner){grace: define}},
		{name: "it comes back between two looks", later: map[time.Duration]func(*Runner){30 * time.Second: func(r *Runner) { define(r); undefine(r) }}, ends: 32*time.Second + grace},
		{name: "the cluster has not said whether it takes it", later: map[time.Duration]func(*Runner){grace: func(r *Runner) { r.define(d) }}},
		{name: "the cluster tells late", before: func(r *Runner) { r.observed = false }, later: map[time.Duration]func(*Runner){
			2 * grace: func(r *Runner) { r.observed = true },
		}, ends: 3*grace + 2*time.Second},
	}
	for _, test := range tests {
		r := graceRunner(t, 1)
		if test.before != nil {
			test.before(r)
		}
		ended := time.Duration(0)
		for after := time.Duration(0); after <= 4*grace && ended == 0; after += time.Second {
			r.lookAtDeadlines(start.Add(after))
			if t := r.tracked[key{"fib", "r0"}]; t != nil {
				r.take(t, written{job.Accept(d, job.Message{Definition: "fib", RunID: "r0"}, start), 2})
				if r.deleted(t, start.Add(after)) {
					ended = after
				}
			}
			if change := test.later[after]; change != nil {
				change(r)
			}
		}
		if ended != test.ends {
			t.Errorf("%s: the run ends after %v, want %v", test.name, ended, test.ends)
		}
	}
}

// TestManyEndings begin some at a time: a record may be large.
func TestManyEndings(t *testing.T) {
	t.Parallel()
	r := graceRunner(t, 2*maxEndings+1)
	now := time.Now()
	r.lookAtDeadlines(now)
	for i, want := range []int{maxEndings, 2 * maxEndings, 2*maxEndings + 1} {
		now = now.Add(2 * r.timing.unknown)
		if r.lookAtDeadlines(now); len(r.tracked) != want {
			t.Errorf("after %d looks %d runs are about to end, want %d", i+1, len(r.tracked), want)
		}
	}
}

// TestRecordEndsBeforeItsRequest: a request is not given up while a record says that it waits, or it would be queued again.
func TestRecordEndsBeforeItsRequest(t *testing.T) {
	t.Parallel()
	r := graceRunner(t, 1)
	q, later := r.queue("fib"), time.Now().Add(2*r.timing.unknown)
	k := key{"fib", "r0"}
	if r.emptied(q, later) {
		t.Error("the request of a record on the shelf is given up")
	}
	run := r.track(k)
	if !r.emptied(q, later) || !r.inQueue(k) {
		t.Error("the request of a record that may still wait is given up, or others are not")
	}
	record := job.Accept(definition("fib", 1), job.Message{Definition: "fib", RunID: "r0"}, later)
	r.replace(run, written{record, 2})
	run.doubts = 0
	if !r.inQueue(k) {
		t.Error("the request of a record that waits is given up")
	}
	r.replace(run, written{ended(record, job.Ending{Phase: job.Cancelled, At: later}), 3})
	if r.inQueue(k) {
		t.Error("the request of a run that is to end is not given up")
	}
	if r.emptied(q, time.Now()) {
		t.Error("requests are given up before the grace is over")
	}
}
