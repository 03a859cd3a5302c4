package jobrunner

import (
	"bytes"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/sluicefaas/sluice/pkg/job"
)

// idle is a runner that does nothing by itself: a test calls its helpers.
func (f *fixture) idle(edits ...func(*Deps)) *Runner {
	f.t.Helper()
	deps := Deps{Bus: f.bus, Cluster: f.api, Logger: zerolog.Nop(), Registry: prometheus.NewRegistry()}
	for _, edit := range edits {
		edit(&deps)
	}
	r := New(f.config, deps)
	r.runs, r.timing = f.runs, f.timing
	f.t.Cleanup(r.alarm.stop)
	return r
}

// queued are the ids of the requests in the queue, in their order.
func (f *fixture) queued() (ids []string) {
	f.t.Helper()
	if _, err := f.bus.ScanJobs(f.t.Context(), 0, func(m job.Message) bool { ids = append(ids, m.RunID); return true }); err != nil {
		f.t.Fatal(err)
	}
	return ids
}

// over is the record of a run of the job fib that is closed, whose request was published under that name and is at that place.
func over(name string, place uint64, edit func(job.Run) job.Run) job.Run {
	now := time.Now()
	run := job.Accept(definition("fib", 1), job.Message{Definition: name, RunID: "r1", Sequence: place, Accepted: now}, now)
	if edit == nil {
		edit = func(r job.Run) job.Run { return r.Move(now, job.Succeeded, job.ReasonCompletionsReached, "") }
	}
	run = edit(run)
	run.FinishedAt, run.Closed = now, true
	return run
}

// TestOldRecordGoesAfterItsRequest: the request of a run that is over may still be in the queue. It would run without the record, which goes one look later: the request may be
// on its way to somebody. What nobody could run is kept as a dead letter, and what belongs to others stays.
func TestOldRecordGoesAfterItsRequest(t *testing.T) {
	t.Parallel()
	move := func(phase job.Phase, reason string) func(job.Run) job.Run {
		return func(r job.Run) job.Run { return r.Move(time.Now(), phase, reason, "so it is") }
	}
	for name, c := range map[string]struct {
		word  string // under which it was published, instead of fib
		id    string // of what is in the queue, instead of r1
		place uint64 // in the record, instead of the request's
		edit  func(job.Run) job.Run
		stays bool
		dead  []deadLetter
	}{
		"succeeded":                   {},
		"cancelled":                   {edit: move(job.Cancelled, job.ReasonUserRequested)},
		"under another name":          {word: "fib_a"},
		"rejected":                    {edit: move(job.Rejected, "ImageNotAllowed"), dead: []deadLetter{{"ImageNotAllowed", "so it is", "{}"}}},
		"refused by the API server":   {edit: move(job.Failed, job.ReasonInvalidSpec), dead: []deadLetter{{job.ReasonInvalidSpec, "so it is", "{}"}}},
		"its definition was deleted":  {edit: move(job.Cancelled, job.ReasonDefinitionDeleted), dead: []deadLetter{{reasonUnknownJob, "so it is", "{}"}}},
		"another's is at its place":   {id: "r2", stays: true},
		"another job's, with its id":  {word: "other", edit: func(r job.Run) job.Run { r.SpecHash = "its own"; return r }, stays: true},
		"nothing is at its place":     {place: 7, stays: true},
		"nobody knows where it was":   {place: 1<<63 - 1, edit: func(r job.Run) job.Run { r.Sequence = 0; return r }, stays: true},
		"another request with its id": {edit: func(r job.Run) job.Run { r.SpecHash = "another"; return r }, dead: []deadLetter{{reasonConflict, "the run r1 has another request", "{}"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			word, id := "fib", "r1"
			if c.word != "" {
				word = c.word
			}
			if c.id != "" {
				id = c.id
			}
			place := f.publishRaw(word, id, "{}", "").Sequence
			if c.place != 0 {
				place = c.place
			}
			f.put(over(word, place, c.edit))
			r := f.idle()
			if !c.stays {
				if removed, err := r.removeRecord(t.Context(), key{"fib", "r1"}); removed || err != nil || f.run("fib", "r1") == nil {
					t.Fatalf("its record is removed with its request: %v, %v", removed, err)
				}
			}
			if removed, err := r.removeRecord(t.Context(), key{"fib", "r1"}); !removed || err != nil || f.run("fib", "r1") != nil {
				t.Fatalf("its record is not removed: %v, %v", removed, err)
			}
			if left := f.queued(); (len(left) == 1) != c.stays {
				t.Errorf("in the queue is %v", left)
			}
			if dead := f.dead(); !slices.Equal(dead, c.dead) {
				t.Errorf("dead letters are %+v, want %+v", dead, c.dead)
			}
		})
	}
}

// TestRecordStaysWhileItsRequestCannotBeTakenOut: as without NATS.
func TestRecordStaysWhileItsRequestCannotBeTakenOut(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.put(over("fib", f.publishRaw("fib", "r1", "{}", "").Sequence, nil))
	js, err := jetstream.New(f.raw())
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "sluice-jobs")
	if err != nil {
		t.Fatal(err)
	}
	sealed := stream.CachedInfo().Config
	sealed.DenyDelete = true
	if _, err := js.UpdateStream(t.Context(), sealed); err != nil {
		t.Fatal(err)
	}
	f.patience = time.Second
	r := f.idle(func(d *Deps) { d.Bus = f.connect("jobrunner") })
	if removed, err := r.removeRecord(t.Context(), key{"fib", "r1"}); removed || err == nil {
		t.Errorf("%v, %v", removed, err)
	}
	if f.run("fib", "r1") == nil {
		t.Error("its record is gone")
	}
}

// TestRejectedRunNeverRuns: not when its record is old and gone, and its definition would take it now.
func TestRejectedRunNeverRuns(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 1))
	f.timing.spared, f.config.History = time.Second, time.Nanosecond
	f.startSynced()
	f.publish("fib", "r0", "")
	f.phase("fib", "r0", job.Running)
	f.publishRaw("fib", "bad", `{"image":"example/other:1"}`, "")
	f.closed("fib", "bad", job.Rejected)
	eventually(t, "its record is removed", func() bool { return f.run("fib", "bad") == nil })
	f.api.define(definition("fib", 1, generation("g2"), func(d *job.Definition) { d.Overrides.Images = []string{"example/*"} }))
	eventually(t, "it is shared", func() bool { return f.shared()["fib"].Generation == "g2" })
	f.api.end("r0", job.Succeeded)
	f.publish("fib", "r2", "")
	f.phase("fib", "r2", job.Running)
	f.drained()
	if dead := f.dead(); len(dead) != 1 || dead[0].reason != "ImageNotAllowed" {
		t.Errorf("dead letters are %+v", dead)
	}
	if f.api.of("bad") != nil || f.run("fib", "bad") != nil {
		t.Errorf("it has the record %+v and the Job %+v", f.run("fib", "bad"), f.api.of("bad"))
	}
}

// TestRecordUnderAReusedID: a record that is made while the old one of its id is removed is not taken for that.
func TestRecordUnderAReusedID(t *testing.T) {
	t.Parallel()
	d := definition("fib", 1)
	k := key{"fib", "r1"}
	next := job.Accept(d, job.Message{Definition: "fib", RunID: "r1", Sequence: 9}, time.Now())
	for name, c := range map[string]struct {
		told    func(r *Runner) // by the watch, before the helper's answer
		removed bool
		shelved bool
		doubted bool
	}{
		"nothing is told":                      {told: func(*Runner) {}, removed: true},
		"its end is told":                      {told: func(r *Runner) { r.removeRun(k) }, removed: true},
		"another one is told":                  {told: func(r *Runner) { r.applyRun(next, 5) }, removed: true, shelved: true},
		"its end and another one are told":     {told: func(r *Runner) { r.removeRun(k); r.applyRun(next, 5) }, removed: true, shelved: true},
		"it is left":                           {told: func(*Runner) {}, shelved: true, doubted: true},
		"it is left, and another one was told": {told: func(r *Runner) { r.applyRun(next, 5) }, shelved: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := graceRunner(t, 0)
			r.shelf.put(over("fib", 1, nil))
			r.keeping.removing = map[key]struct{}{k: {}}
			c.told(r)
			var removed []key
			if c.removed {
				removed = append(removed, k)
			}
			r.onRemovedRecords(removed)
			_, shelved := r.shelf.get(k)
			if _, doubted := r.doubtful[k]; shelved != c.shelved || doubted != c.doubted || r.keeping.removing != nil {
				t.Errorf("on the shelf %v, in doubt %v, being removed %v", shelved, doubted, r.keeping.removing)
			}
		})
	}
}

// onLine is where a log goes, with what is done when a line has the words.
type onLine struct {
	words string
	do    func()
	once  sync.Once
}

func (l *onLine) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte(l.words)) {
		l.once.Do(l.do)
	}
	return len(line), nil
}

// TestRequestOfARunThatEndsIsNotQueuedAgain: a run that is cancelled while its request, which was lost, is queued again leaves no request behind; its record does not say where it is.
func TestRequestOfARunThatEndsIsNotQueuedAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		meanwhile func(job.Run) job.Run
		left      int
	}{
		"cancelled":    {meanwhile: func(r job.Run) job.Run { return r.Cancel(time.Now(), "a person") }},
		"over":         {meanwhile: func(r job.Run) job.Run { return r.Move(time.Now(), job.Cancelled, job.ReasonUserRequested, "") }},
		"waits":        {meanwhile: func(r job.Run) job.Run { return r.Move(time.Now(), job.Queued, job.ReasonConcurrencyLimit, "") }, left: 1},
		"as it was":    {left: 1},
		"taken by now": {meanwhile: func(r job.Run) job.Run { return r.Move(time.Now(), job.Creating, job.ReasonCreating, "") }, left: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := definition("fib", 1)
			f := newFixture(t)
			f.put(job.Accept(d, job.Message{Definition: "fib", RunID: "r1", Sequence: 7}, time.Now()))
			log := &onLine{words: "it is queued again", do: func() {
				if c.meanwhile == nil {
					return
				}
				run, revision, err := f.runs.Get(t.Context(), "fib", "r1")
				if err == nil {
					_, err = f.runs.Put(t.Context(), c.meanwhile(run), revision)
				}
				if err != nil {
					t.Error(err)
				}
			}}
			if err := f.idle(func(d *Deps) { d.Logger = zerolog.New(log) }).republish(t.Context(), key{"fib", "r1"}); err != nil {
				t.Fatal(err)
			}
			if left := f.queued(); len(left) != c.left {
				t.Errorf("in the queue is %v", left)
			}
		})
	}
}

// TestRequestThatIsThereIsNotLost: a look at the queue may have taken it for another run's, as while its definition was away. It is neither queued twice nor given up.
func TestRequestThatIsThereIsNotLost(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		word   string
		gone   bool
		queued int
		ends   bool
	}{
		"it is there":                         {word: "fib", queued: 1},
		"it is there, under another name":     {word: "fib_a", queued: 1},
		"it is not there":                     {word: "fib", gone: true, queued: 1},
		"it is not there, under another name": {word: "fib_a", gone: true, ends: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			m := job.Message{Definition: c.word, RunID: "r1", Sequence: f.publishRaw(c.word, "r1", "", "").Sequence, Accepted: time.Now()}
			f.put(job.Accept(definition("fib", 1), m, time.Now()))
			if c.gone {
				if err := f.bus.DropJob(t.Context(), m.Sequence); err != nil {
					t.Fatal(err)
				}
			}
			if err := f.idle().republish(t.Context(), key{"fib", "r1"}); err != nil {
				t.Fatal(err)
			}
			run := f.run("fib", "r1")
			if (run.Ending != nil) != c.ends || run.Ending != nil && run.Ending.Reason != "RequestLost" {
				t.Errorf("it is to end: %+v", run.Ending)
			}
			queued := f.queued()
			if len(queued) != c.queued {
				t.Errorf("in the queue is %v", queued)
			}
			if moved := run.Sequence != m.Sequence; moved != (c.gone && !c.ends) {
				t.Errorf("its request is said to be at %d, it was at %d", run.Sequence, m.Sequence)
			}
		})
	}
}
