package jobrunner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/job"
)

// askHTTP asks for a run as a gateway does, which makes the record after it has queued the request, unless the jobrunner was faster.
func (f *fixture) askHTTP(d job.Definition, id, body string) {
	f.t.Helper()
	run := job.Accept(d, job.Message{Definition: d.Name, RunID: id, Body: []byte(body)}, time.Now())
	run.Sequence = f.publish(d.Name, id, body)
	if _, err := f.runs.Put(f.t.Context(), run, 0); err != nil && !errors.Is(err, bus.ErrOvertaken) {
		f.t.Fatal(err)
	}
}

// TestWaysOfAsking: what a run waits for, and what is told of it, does not depend on who has made its record: the jobrunner, of a request on NATS, or a gateway.
func TestWaysOfAsking(t *testing.T) {
	t.Parallel()
	free, busy := definition("free", 100), definition("busy", 1)
	needs := definition("needs", 100, func(d *job.Definition) { d.DependsOn = []string{"db"} })
	ways := map[string]func(f *fixture, d job.Definition, id, body string){
		"NATS": func(f *fixture, d job.Definition, id, body string) { f.publish(d.Name, id, body) },
		"HTTP": (*fixture).askHTTP,
	}
	for way, ask := range ways {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, free, busy, needs)
			f.startSynced()
			if way == "HTTP" { // so that the record is surely the gateway's
				run := job.Accept(free, job.Message{Definition: "free", RunID: "r1"}, time.Now())
				if _, err := f.runs.Put(t.Context(), run, 0); err != nil {
					t.Fatal(err)
				}
			}
			f.publish("free", "r1", "")
			f.told("r1", "Queued/Accepted", "Pending/Created", "Running/Active")

			f.publish("busy", "first", "")
			f.phase("busy", "first", job.Running)
			ask(f, busy, "second", "")
			if run := f.await("busy", "second", "held up", waitsFor("ConcurrencyLimit")); run.Phase != job.Queued || run.Message == "" || run.Sequence == 0 {
				t.Errorf("the record is %s %q at %d", run.Phase, run.Message, run.Sequence)
			}
			f.told("second", "Queued/ConcurrencyLimit")

			for i := range maxHeld {
				f.publish("needs", fmt.Sprint("n", i), "")
			}
			f.phase("needs", "n7", job.Waiting)
			ask(f, needs, "another", "")
			ask(f, needs, "asks", `{"dependsOn":["mq"]}`)
			f.await("needs", "another", "held up", waitsFor("DependencyNotFound", "db"))
			f.await("needs", "asks", "held up", waitsFor("DependencyNotFound", "mq"))
			f.told("asks", "Waiting/DependencyNotFound")
		})
	}
}

// waitsFor is of a record that gives the reason, and whose sentence has the words.
func waitsFor(reason string, words ...string) func(job.Run) bool {
	return func(r job.Run) bool {
		return r.Reason == reason && !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(r.Message, word) })
	}
}

// told waits until these moves of the run were published, and no others.
func (f *fixture) told(id string, moves ...string) {
	f.t.Helper()
	eventually(f.t, fmt.Sprintf("%v is told of %s", moves, id), func() bool { return len(f.ends.of(id)) >= len(moves) })
	if told := f.ends.of(id); !slices.Equal(told, moves) {
		f.t.Errorf("of %s was told %v, want %v", id, told, moves)
	}
}

// TestGateByPlace: of requests for which there are slots, the first ones wait for nothing.
func TestGateByPlace(t *testing.T) {
	t.Parallel()
	r := graceRunner(t, 5)
	r.slots.most = 10
	d := definition("fib", 2)
	r.catalog.active["fib"], r.catalog.shown["fib"] = d, d
	var batch []job.Message
	for i := range 5 {
		batch = append(batch, job.Message{Definition: "fib", RunID: fmt.Sprint("r", i), Sequence: uint64(i + 1), Accepted: time.Now().Add(-time.Hour)})
	}
	missing, looked := r.unrecorded(&scan{}, batch, time.Now())
	if looked != 5 || len(missing) != 5 {
		t.Fatalf("%d of %d requests need a better record", len(missing), looked)
	}
	for i, request := range missing {
		if closed := request.gate.Closed(); closed != (i >= 2) {
			t.Errorf("request %d waits: %v", i, closed)
		}
	}
}

// TestWhyThereIsNoSlot: the sentence names the bound that holds, and none where only the order does.
func TestWhyThereIsNoSlot(t *testing.T) {
	t.Parallel()
	d := definition("fib", 2)
	for _, c := range []struct {
		used, total int
		want        string
	}{
		{2, 2, "2 Jobs of fib run, and no more may"}, {2, 10, "2 Jobs of fib run, and no more may"}, {1, 10, "10 Jobs of all definitions run, and no more may"},
		{1, 5, "others were asked for before it, and wait"},
	} {
		r := graceRunner(t, 5)
		r.slots.most, r.slots.total, r.slots.used["fib"] = 10, c.total, c.used
		if gate := r.slotGate(d); gate.Message != c.want || gate.Phase != job.Queued || gate.Reason != job.ReasonConcurrencyLimit {
			t.Errorf("%d of %d: %+v", c.used, c.total, gate)
		}
	}
}

// TestRequestsThatAreSeen: what is in the queue is not lost, also behind a request that will be taken any moment, and of a job that is not defined.
func TestRequestsThatAreSeen(t *testing.T) {
	t.Parallel()
	r := graceRunner(t, 3)
	r.slots.most = 10
	d := definition("fib", 3)
	r.catalog.active["fib"], r.catalog.shown["fib"] = d, d
	now := time.Now()
	batch := []job.Message{
		{Definition: "fib", RunID: "r0", Sequence: 4, Accepted: now}, // queued again, and young
		{Definition: "fib", RunID: "r1", Sequence: 5, Accepted: now},
		{Definition: "gone", RunID: "r2", Sequence: 6, Accepted: now},
	}
	at := &scan{seen: map[key]struct{}{}, began: now.Add(time.Hour)}
	if missing, looked := r.unrecorded(at, batch, now); looked != 0 || len(missing) != 0 {
		t.Errorf("%d are looked at, %d need a record", looked, len(missing))
	}
	if _, seen := at.seen[key{"gone", "r2"}]; !seen {
		t.Error("a request of a job that is not defined is not seen")
	}
	if lost := r.lost(*at); !slices.Equal(lost, []key{{"fib", "r2"}}) {
		t.Errorf("%v are lost", lost)
	}
}

// lateCluster tells nothing before it may.
type lateCluster struct {
	Cluster
	may chan struct{}
}

func (c lateCluster) Watch(ctx context.Context, observer Observer) error {
	select {
	case <-c.may:
		return c.Cluster.Watch(ctx, observer)
	case <-ctx.Done():
		return nil
	}
}

// TestAskedWhileNobodyLeads: requests that were queued over HTTP meanwhile say what they wait for, each in one write, also when the cluster tells late how many Jobs there are.
func TestAskedWhileNobodyLeads(t *testing.T) {
	t.Parallel()
	for _, late := range []bool{false, true} {
		t.Run(fmt.Sprint("late ", late), func(t *testing.T) {
			t.Parallel()
			const queued = 40
			d := definition("fib", 2)
			f := newFixture(t, d)
			f.timing.index = 10 * time.Millisecond
			for i := range queued {
				f.askHTTP(d, fmt.Sprint("r", i), "")
			}
			const old = 200 * time.Millisecond // when nobody expects them to be taken any moment
			<-time.After(old)
			may := make(chan struct{})
			time.AfterFunc(map[bool]time.Duration{true: old}[late], func() { close(may) })
			f.startSynced(func(d *Deps) { d.Cluster = lateCluster{d.Cluster, may} })
			for i := range queued {
				id := fmt.Sprint("r", i)
				if i < 2 {
					f.phase("fib", id, job.Running)
					continue
				}
				run := f.await("fib", id, "held up", waitsFor("ConcurrencyLimit"))
				if moves := len(run.Moves); moves != 2 {
					t.Errorf("%s has moved %d times: %v", id, moves, run.Moves)
				}
				f.told(id, "Queued/ConcurrencyLimit")
			}
		})
	}
}
