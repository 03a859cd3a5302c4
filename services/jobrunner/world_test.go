package jobrunner

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"pgregory.net/rapid"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/job"
)

// world is a model of all that a Runner works with: the test decides what happens next, and what comes of each step.
type world struct {
	t      *rapid.T
	runner *Runner
	now    time.Time

	records  map[key]written
	revision uint64
	jobs     map[string]job.Object
	births   int
	asked    int
	most     map[string]int // the largest Parallel that a definition has had
	lost     map[key]bool   // whose record was lost while they had a slot, until they are without one again
}

const worldMost = 4 // Jobs of all definitions

func newWorld(t *rapid.T) *world {
	w := &world{t: t, now: time.Unix(1e9, 0), records: map[key]written{}, jobs: map[string]job.Object{}, most: map[string]int{}, lost: map[key]bool{}}
	w.runner = New(Config{MaxRunning: worldMost}, Deps{Logger: zerolog.Nop(), Registry: prometheus.NewRegistry()})
	w.runner.observed, w.runner.read = true, true
	for _, name := range []string{"a", "b"} {
		w.define(name, rapid.IntRange(1, 3).Draw(t, "parallel"))
	}
	return w
}

func (w *world) define(name string, parallel int) {
	d := definition(name, parallel, func(d *job.Definition) { d.Logs.Save = saveNever })
	w.runner.catalog.active[name], w.runner.catalog.shown[name] = d, d
	w.most[name] = max(w.most[name], parallel)
	w.runner.review(name)
	w.settle()
}

// settle draws the conclusions of an event, as Run's goroutine does.
func (w *world) settle() {
	r := w.runner
	for len(r.stale)+len(r.dirty) > 0 {
		for name := range r.stale {
			delete(r.stale, name)
			r.admit(name, w.now)
		}
		for t := range r.dirty {
			delete(r.dirty, t)
			r.consider(t, w.now)
		}
	}
}

func (w *world) name(t *rapid.T) string {
	return rapid.SampledFrom([]string{"a", "b"}).Draw(t, "definition")
}

// request brings a request, a new one or one that is known.
func (w *world) request(t *rapid.T) {
	name := w.name(t)
	if !rapid.Bool().Draw(t, "again") || w.asked == 0 {
		w.asked++
	}
	id := fmt.Sprint("r", rapid.IntRange(1, w.asked).Draw(t, "number"))
	if tracked := w.runner.tracked[key{name, id}]; tracked != nil && tracked.delivery != nil {
		return
	}
	message := job.Message{Definition: name, RunID: id, Sequence: uint64(w.asked), Accepted: w.now}
	tracked := w.runner.track(key{name, id})
	tracked.delivery, tracked.request = &bus.Delivery{}, message
	tracked.accepted = job.Accept(w.runner.catalog.active[name], message, w.now)
	w.settle()
}

// step lets one helper do its work.
func (w *world) step(t *rapid.T) {
	h := &w.runner.turns
	var waiting []place
	for p := range places {
		if len(h.waiting[p]) > 0 {
			waiting = append(waiting, p)
		}
	}
	if len(waiting) == 0 {
		return
	}
	p := rapid.SampledFrom(waiting).Draw(t, "place")
	next := h.waiting[p][0].run
	h.waiting[p] = h.waiting[p][1:]
	w.runner.touch(next)
	next.busy = false
	w.do(t, next)
	w.settle()
}

func (w *world) steps(t *rapid.T) {
	for range rapid.IntRange(2, 20).Draw(t, "steps") {
		w.step(t)
	}
}

var errWorld = errors.New("nobody knows what came of it")

// do is a step of a run with what comes of it.
func (w *world) do(t *rapid.T, run *tracked) {
	lost := rapid.IntRange(0, 9).Draw(t, "luck") == 0
	switch said := run.said; {
	case said != nil && run.creating() && run.run.Reason != said.reason:
		run.said = nil
		w.store(run, run.run.Move(w.now, job.Creating, said.reason, said.message), lost)
		return
	case w.now.Before(run.notBefore):
		return
	case run.doubts > 0:
		w.read(run)
		return
	}
	switch a := job.Decide(w.runner.sight(run, w.now)); a.Step {
	case job.Store:
		w.store(run, a.Record, lost)
	case job.Look, job.Create, job.Rest: // it looks again at what is on its way out
		w.look(run, a.Step, lost)
	case job.Resume:
		w.resume(run, a.UID)
	case job.Delete:
		w.remove(run, a.UID, lost)
	case job.Capture:
		w.capture(t, run)
	case job.Arm:
		w.arm(run, a.UID)
	case job.Announce:
		run.announced = true
	case job.Ack, job.Bury:
		w.runner.release(run)
	}
}

func (w *world) read(run *tracked) {
	if stored, there := w.records[run.key]; there {
		w.runner.replace(run, stored)
	} else {
		w.runner.lose(run)
	}
	run.doubts = 0
}

func (w *world) store(run *tracked, record job.Run, lost bool) {
	stored, revision := w.records[run.key], run.revision
	if stored.revision != revision {
		w.runner.onStored(run, written{}, bus.ErrOvertaken, w.now)
		return
	}
	w.revision++
	next := written{record, w.revision}
	w.records[run.key] = next
	if lost {
		w.runner.onStored(run, written{}, errWorld, w.now)
		return
	}
	w.runner.onStored(run, next, nil, w.now)
}

func (w *world) look(run *tracked, step job.Step, lost bool) {
	name := run.run.JobName
	if !run.known {
		name = run.name
	}
	if _, there := w.jobs[name]; step == job.Create && !there {
		w.births++
		seed := run.run
		w.jobs[name] = job.Object{
			Name: name, UID: fmt.Sprint("uid-", w.births), Version: strconv.Itoa(w.births), RunID: run.id, Definition: run.definition,
			SpecHash: run.run.SpecHash, Attempt: 1, Suspended: true, Seed: &seed,
		}
	}
	var seen *job.Object
	if o, there := w.jobs[name]; there {
		seen = &o
	}
	switch {
	case step == job.Create && lost:
		w.runner.onCreated(run, creation{outcome: outcomeError, err: errWorld}, w.now)
	case step == job.Create:
		w.runner.onCreated(run, creation{object: seen, outcome: outcomeCreated}, w.now)
	case w.runner.onCluster(run, nil, w.now):
		run.hasLooked(seen, w.now)
	}
}

// change changes a Job and returns it as it is then.
func (w *world) change(name string, edit func(*job.Object)) *job.Object {
	o := w.jobs[name]
	w.births++
	edit(&o)
	o.Version = strconv.Itoa(w.births)
	w.jobs[name] = o
	return &o
}

// resume lets the Job run. The answer is not lost: with the record lost at the same moment, nobody knows of a Job that runs until it is looked at.
func (w *world) resume(run *tracked, uid string) {
	if o, there := w.jobs[run.name]; !there || o.UID != uid || o.Version != run.object.Version {
		w.runner.onResumed(run, nil, ErrChanged, w.now)
		return
	}
	resumed := w.change(run.name, func(o *job.Object) { o.Suspended, o.StartedAt = false, w.now })
	w.runner.onResumed(run, resumed, nil, w.now)
}

// remove begins to delete the Job, or fails if it is lost.
func (w *world) remove(run *tracked, uid string, lost bool) {
	if lost {
		w.runner.onRemoved(run, errWorld, w.now)
		return
	}
	if o, there := w.jobs[run.name]; there && o.UID == uid {
		w.change(run.name, func(o *job.Object) { o.Deleting = true })
	}
	w.runner.onRemoved(run, nil, w.now)
}

// Output of a Job that has ended, and of one that still ran.
const (
	allOutput  = "all"
	someOutput = "some"
)

// capture keeps what the Job has left, which may end meanwhile.
func (w *world) capture(t *rapid.T, run *tracked) {
	o, output := *run.object, someOutput
	if o.End != "" {
		output = allOutput
	} else if rapid.Bool().Draw(t, "ends meanwhile") {
		w.complete(o.Name)
	}
	run.captured(o, job.Result{Log: []job.LogPart{{Object: output}}})
}

func (w *world) arm(run *tracked, uid string) {
	if o, there := w.jobs[run.name]; there && o.UID == uid {
		run.hasLooked(w.change(run.name, func(o *job.Object) { o.TTL = run.run.TTL }), w.now)
	}
}

// complete lets the pods of a Job end, if they run, and tells.
func (w *world) complete(name string) {
	if o := w.jobs[name]; !o.Suspended && !o.Deleting && o.End == "" && o.UID != "" {
		w.runner.observe(*w.change(name, func(o *job.Object) { o.End, o.FinishedAt = job.Succeeded, w.now }), w.now)
	}
}

// running are the names of the Jobs whose pods run.
func (w *world) running() []string {
	var names []string
	for name, o := range w.jobs {
		if !o.Suspended && o.End == "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// end lets the pods of a Job end, or takes the Job away, and tells.
func (w *world) end(t *rapid.T) {
	names := w.running()
	if len(names) == 0 {
		return
	}
	name := rapid.SampledFrom(names).Draw(t, "job")
	o := w.jobs[name]
	if o.Deleting || rapid.IntRange(0, 4).Draw(t, "disappears") == 0 {
		delete(w.jobs, name)
		w.runner.vanish(name, o.UID, w.now)
	} else {
		w.complete(name)
	}
	w.settle()
}

// gone takes away what is on its way out and has no pods.
func (w *world) gone(*rapid.T) {
	for _, name := range slices.Sorted(maps.Keys(w.jobs)) {
		if o := w.jobs[name]; o.Deleting {
			delete(w.jobs, name)
			w.runner.vanish(name, o.UID, w.now)
		}
	}
	w.settle()
}

// tell lets the watches tell of a Job and of a record as they are.
func (w *world) tell(t *rapid.T) {
	if names := slices.Sorted(maps.Keys(w.jobs)); len(names) > 0 {
		w.runner.observe(w.jobs[rapid.SampledFrom(names).Draw(t, "job")], w.now)
	}
	for _, stored := range w.records {
		w.runner.applyRun(stored.run, stored.revision)
	}
	w.settle()
}

// cancel is a gateway's.
func (w *world) cancel(t *rapid.T) {
	if len(w.records) == 0 {
		return
	}
	k := rapid.SampledFrom(w.keys()).Draw(t, "run")
	w.revision++
	w.records[k] = written{w.records[k].run.Cancel(w.now, "somebody"), w.revision}
	w.runner.applyRun(w.records[k].run, w.revision)
	w.settle()
}

// lose takes a record away, as a bucket that was rolled back.
func (w *world) lose(t *rapid.T) {
	if len(w.records) == 0 {
		return
	}
	k := rapid.SampledFrom(w.keys()).Draw(t, "run")
	delete(w.records, k)
	if run := w.runner.tracked[k]; run != nil && run.holds {
		w.lost[k] = true
	}
	w.runner.removeRun(k)
	w.runner.lookAtDoubtful()
	if run := w.runner.tracked[k]; run != nil && run.doubts > 0 && !run.busy {
		w.read(run)
	}
	w.settle()
}

func (w *world) keys() []key {
	return slices.SortedFunc(maps.Keys(w.records), func(a, b key) int {
		return slices.Compare([]string{a.definition, a.id}, []string{b.definition, b.id})
	})
}

func (w *world) redefine(t *rapid.T) { w.define(w.name(t), rapid.IntRange(0, 3).Draw(t, "parallel")) }

func (w *world) pass(t *rapid.T) {
	w.now = w.now.Add(time.Duration(rapid.IntRange(1, 60).Draw(t, "seconds")) * time.Second)
	for _, run := range w.runner.tracked {
		w.runner.touch(run)
	}
	w.settle()
}
