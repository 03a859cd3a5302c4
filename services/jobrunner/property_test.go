package jobrunner

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sluicefaas/sluice/pkg/job"
)

// TestSlotsAreExact lets everything happen in any order: requests that come again, answers that are lost, watches that lag, Jobs that end or disappear, cancels, definitions that
// allow more or fewer. There are never more Jobs whose pods run than there may be, what is counted is what there is, and in the end every request has had its turn.
func TestSlotsAreExact(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		defer w.runner.alarm.stop()
		t.Repeat(map[string]func(*rapid.T){
			"a request comes":      w.request,
			"a helper does a step": w.step,
			"helpers work":         w.steps,
			"requests come":        func(t *rapid.T) { w.request(t); w.request(t); w.request(t) },
			"a Job ends":           w.end,
			"deleted Jobs go":      w.gone,
			"watches tell":         w.tell,
			"somebody cancels":     w.cancel,
			"a record is lost":     w.lose,
			"a definition changes": w.redefine,
			"time passes":          w.pass,
			"":                     w.check,
		})
		w.finish(t)
	})
}

// check holds after each event.
func (w *world) check(t *rapid.T) {
	used, total, restored := map[string]int{}, 0, 0
	for k, run := range w.runner.tracked {
		if run.key != k {
			t.Fatalf("%v is tracked as %v", run.key, k)
		}
		if should := run.shouldHold(); should != run.holds {
			t.Fatalf("%v takes a slot: %v, is counted: %v", k, should, run.holds)
		}
		if run.holds {
			used[k.definition]++
			total++
			if w.lost[k] { // between the loss and the restoration its slot may have gone to another one
				restored++
			}
		} else if run.known {
			delete(w.lost, k)
		}
		if _, held := w.runner.slots.held[k.definition][run]; held != (run.delivery != nil && !run.holds && (run.waits() || !run.known)) {
			t.Fatalf("%v is held: %v, although it is %+v", k, held, run.run.Phase)
		}
	}
	for name := range w.most {
		if w.runner.slots.used[name] != used[name] {
			t.Fatalf("%d slots of %s are counted, %d are used", w.runner.slots.used[name], name, used[name])
		}
	}
	if w.runner.slots.total != total || total-restored > worldMost {
		t.Fatalf("%d slots are counted, %d are used (%d by runs whose record was lost), %d may be", w.runner.slots.total, total, restored, worldMost)
	}
	w.checkJobs(t)
	w.checkOutput(t)
}

// checkOutput holds that a run has succeeded with the whole of its output.
func (w *world) checkOutput(t *rapid.T) {
	for k, stored := range w.records {
		if run := stored.run; run.Phase == job.Succeeded && (len(run.Log) != 1 || run.Log[0].Object != allOutput) {
			t.Fatalf("%v has succeeded with %+v", k, run.Log)
		}
	}
}

// shouldHold says in other words whether the run takes a slot.
func (t *tracked) shouldHold() bool {
	ownJobIsOver := t.object != nil && t.object.UID == t.run.JobUID && t.object.End != ""
	jobMayBe := t.run.Phase == job.Creating || t.run.Phase == job.Pending || t.run.Phase == job.Running
	switch {
	case !t.known:
		return t.object != nil && !t.object.Suspended && t.object.End == ""
	case t.run.Phase.Final():
		return false
	case jobMayBe:
		return !ownJobIsOver
	}
	return t.granted && t.delivery != nil && t.run.Ending == nil
}

// checkJobs holds what counts: the Jobs themselves.
func (w *world) checkJobs(t *rapid.T) {
	running := map[string]int{}
	for _, o := range w.jobs {
		if !o.Suspended && o.End == "" {
			running[o.Definition]++
		}
	}
	for name, count := range running {
		if count > w.most[name] {
			t.Fatalf("%d Jobs of %s run, at most %d were ever allowed", count, name, w.most[name])
		}
	}
	if len(w.running()) > worldMost {
		t.Fatalf("%d Jobs run, %d may", len(w.running()), worldMost)
	}
}

// finish lets everything work until nothing changes any more.
func (w *world) finish(t *rapid.T) {
	for name := range w.most {
		w.define(name, 2)
	}
	for range 2_000 {
		w.now = w.now.Add(time.Minute)
		for _, run := range w.runner.tracked {
			w.runner.touch(run)
		}
		w.settle()
		for p := range places {
			for len(w.runner.turns.waiting[p]) > 0 {
				w.stepAt(t, p)
			}
		}
		w.gone(t)
		if names := w.running(); len(names) > 0 {
			w.complete(names[0])
			w.settle()
		}
		if len(w.runner.tracked) == 0 {
			break
		}
	}
	w.check(t)
	for k, stored := range w.records {
		waits := stored.run.Phase == job.Queued || stored.run.Phase == job.Waiting
		if !stored.run.Closed && !waits {
			t.Fatalf("%v is left %s/%s, ending %+v; %+v", k, stored.run.Phase, stored.run.Reason, stored.run.Ending, w.runner.tracked[k])
		}
	}
	for k, run := range w.runner.tracked {
		t.Fatalf("%v is left: %s/%s, its request in our hands: %v", k, run.run.Phase, run.run.Reason, run.delivery != nil)
	}
}

// stepAt is a step in which nothing is lost.
func (w *world) stepAt(t *rapid.T, p place) {
	h := &w.runner.turns
	next := h.waiting[p][0].run
	h.waiting[p] = h.waiting[p][1:]
	next.busy = false
	w.runner.touch(next)
	w.do(t, next)
	w.settle()
}
