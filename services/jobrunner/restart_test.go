package jobrunner

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/job"
)

// killAfter ends a runner right after the nth step of those that count, which is said in died: nothing that it does comes after it.
func (f *fixture) killAfter(n int64, counts func(job.Step) bool, died chan<- job.Step) func(*Deps) {
	return func(d *Deps) {
		r := f.newest
		d.Passed = func(step job.Step, _ job.Run) {
			if counts(step) && r.steps.Add(1) == n {
				died <- step
				r.cancel()
				<-r.done
			}
		}
	}
}

func anyStep(job.Step) bool { return true }

// life is one way in which a run can go.
type life struct {
	name string
	edit func(*job.Definition)
	plan plan
	body string
	live func(f *fixture) // what happens from outside
	end  job.Phase
	pods int        // sets of them
	dies []job.Step // where the runner dies
}

var lives = []life{
	{
		name: "succeeds", plan: plan{after: 20 * time.Millisecond, end: job.Succeeded}, end: job.Succeeded, pods: 1,
		dies: []job.Step{job.Store, job.Create, job.Resume, job.Ack, job.Capture, job.Arm, job.Announce},
	},
	{
		name: "fails without TTL", plan: plan{end: job.Failed}, end: job.Failed, pods: 1,
		edit: func(d *job.Definition) { d.Template = template("", "Never", "x") },
		dies: []job.Step{job.Store, job.Create, job.Resume, job.Ack, job.Capture, job.Announce},
	},
	{
		name: "is cancelled", end: job.Cancelled, pods: 1,
		live: func(f *fixture) {
			f.phase("fib", "r1", job.Running)
			f.cancel("fib", "r1")
		},
		dies: []job.Step{job.Store, job.Create, job.Resume, job.Ack, job.Capture, job.Delete, job.Look, job.Announce},
	},
	{
		name: "is refused by the API server", end: job.Failed, body: `{"image":"refused"}`,
		edit: func(d *job.Definition) { d.Overrides.Images = []string{"*"} },
		dies: []job.Step{job.Store, job.Bury, job.Announce},
	},
	{name: "is rejected", end: job.Rejected, body: `{"image":"other"}`, dies: []job.Step{job.Store, job.Announce}},
}

// TestRestartAtEachStep kills the runner after each step of each life; another one goes on. One set of pods runs at most, the request is out of the queue and one end is told.
func TestRestartAtEachStep(t *testing.T) {
	t.Parallel()
	for _, l := range lives {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			for _, step := range l.dies {
				n := int64(1)
				for restartAfter(t, l, step, n) {
					n++
				}
				if n == 1 {
					t.Errorf("it never did %v", step)
				}
			}
		})
	}
}

// restartAfter kills a runner after its nth step of a kind, and reports whether there was one.
func restartAfter(t *testing.T, l life, step job.Step, n int64) (killed bool) {
	d := definition("fib", 1, func(d *job.Definition) { d.Logs.Save = "Always" })
	if l.edit != nil {
		l.edit(&d)
	}
	f := newFixture(t, d)
	f.api.plan = func(job.Object) plan { return l.plan }
	died := make(chan job.Step, 1)
	first := f.start(f.killAfter(n, func(s job.Step) bool { return s == step }, died))
	f.publish("fib", "r1", l.body)
	lived := make(chan struct{})
	go func() {
		defer close(lived)
		if l.live != nil {
			l.live(f)
		}
	}()
	over := func() bool { r := f.run("fib", "r1"); return r != nil && r.Phase == l.end && r.Closed }
	eventually(t, fmt.Sprintf("the runner dies after %v %d, or is done", step, n), func() bool {
		if len(died) > 0 {
			<-died
			killed = true
			first.stop()
			f.startSynced()
		}
		return killed || over() && first.rests(key{"fib", "r1"})
	})
	run := f.closed("fib", "r1", l.end)
	<-lived
	f.drained()
	l.check(f, run, fmt.Sprintf("killed (%v) after %v %d", killed, step, n))
	return killed
}

// rests reports whether the runner lives and has nothing left to do for the run. A record can be read before the step that has written it is counted, and the runner may
// die there: whoever reads one that is closed has not seen its last step.
func (r *running) rests(k key) (rests bool) {
	r.inside(func(time.Time) { rests = r.tracked[k] == nil })
	return rests
}

func (l life) check(f *fixture, run job.Run, when string) {
	t := f.t
	if got := len(f.api.podSets("fib", "r1")); got != l.pods {
		t.Errorf("%s: the pods were started %d times", when, got)
	}
	f.api.onceAll()
	told := func() []string {
		return slices.DeleteFunc(f.ends.of("r1"), func(move string) bool { return move != string(l.end)+"/"+run.Reason })
	}
	eventually(t, when+": the end is told", func() bool { return len(told()) > 0 })
	if twice := strings.Contains(when, job.Announce.String()) || strings.Contains(when, job.Store.String()); len(told()) > 1 && !twice {
		t.Errorf("%s: the end was told as %v", when, f.ends.of("r1"))
	}
	if l.pods > 0 && len(run.Log) != 1 {
		t.Errorf("%s: %d outputs are kept", when, len(run.Log))
	}
	if o := f.api.of("r1"); o != nil && (o.Suspended || run.TTL != nil && o.TTL == nil) {
		t.Errorf("%s: the Job is left as %+v", when, o)
	}
}

// TestTwoRunners lets two runners do the same work at the same time, as while a leader is paused: each run has one set of pods, and one end.
func TestTwoRunners(t *testing.T) {
	t.Parallel()
	const runs = 60
	f := newFixture(t, definition("fib", 10))
	f.api.plan = func(job.Object) plan { return plan{after: 10 * time.Millisecond, end: job.Succeeded} }
	for i := range runs {
		f.publish("fib", fmt.Sprint("r", i), "")
	}
	f.start()
	f.start()
	for i := range runs {
		f.closed("fib", fmt.Sprint("r", i), job.Succeeded)
	}
	f.drained()
	if n := f.api.onceAll(); n != runs {
		t.Errorf("%d runs had pods", n)
	}
}

// TestChaos kills runners after any number of steps while requests and cancels come, and the API server fails now and then, before or after it has done what it was asked for.
func TestChaos(t *testing.T) {
	t.Parallel()
	const runs = 80
	f := newFixture(t, definition("fib", 6), definition("other", 3))
	f.api.plan = func(job.Object) plan { return plan{after: 15 * time.Millisecond, end: job.Succeeded} }
	var requests atomic.Int64
	flaky := func(request) error {
		if requests.Add(1)%7 == 0 {
			return errServer
		}
		return nil
	}
	f.api.set(func() { f.api.script, f.api.fate = flaky, flaky })
	names := []string{"fib", "other"}
	for i := range runs {
		f.publish(names[i%2], fmt.Sprint("r", i), "")
	}
	cancelled := make(chan struct{})
	go func() {
		defer close(cancelled)
		for i := 5; i < runs; i += 10 {
			f.cancel(names[i%2], fmt.Sprint("r", i))
		}
	}()
	for _, steps := range []int64{3, 25, 40, 9, 70, 33} {
		died := make(chan job.Step, 1)
		r := f.start(f.killAfter(steps, anyStep, died))
		select {
		case <-died:
		case <-time.After(long):
			t.Fatal("the runner does nothing")
		}
		r.stop()
	}
	f.start()
	for i := range runs {
		f.await(names[i%2], fmt.Sprint("r", i), "over", func(r job.Run) bool { return r.Closed && (r.Phase == job.Succeeded || r.Phase == job.Cancelled) })
	}
	<-cancelled
	f.drained()
	f.api.onceAll()
	f.api.set(func() {
		for name, o := range f.api.jobs {
			if o.Suspended {
				t.Errorf("the Job %s is left suspended", name)
			}
		}
	})
}
