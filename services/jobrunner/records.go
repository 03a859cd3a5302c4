package jobrunner

import (
	"time"

	"github.com/sluicefaas/sluice/pkg/job"
)

// recordReader passes on to Run's goroutine what the runs bucket holds.
type recordReader struct{ runner *Runner }

// ApplyRun implements bus.RunsReader.
func (b recordReader) ApplyRun(run job.Run, revision uint64) {
	b.runner.do(func(time.Time) { b.runner.applyRun(run, revision) })
}

// RemoveRun implements bus.RunsReader.
func (b recordReader) RemoveRun(definition, id string) {
	b.runner.do(func(time.Time) { b.runner.removeRun(key{definition, id}) })
}

// AppliedRuns implements bus.RunsReader.
func (b recordReader) AppliedRuns(revision uint64) {
	b.runner.do(func(time.Time) { b.runner.onRead(revision) })
}

func (r *Runner) applyRun(run job.Run, revision uint64) {
	k := key{run.Definition, run.ID}
	if newer := r.shelvedAt[k]; revision < newer {
		return
	}
	delete(r.keeping.removing, k)
	delete(r.backlog.writing, run.Sequence)
	t := r.tracked[k]
	if t == nil && rests(run) {
		r.shelf.put(run)
		return
	}
	if t == nil {
		t = r.track(k)
		if _, doubtful := r.doubtful[k]; !doubtful {
			t.doubts = 0 // this is newer than what was on the shelf
		}
	}
	r.take(t, written{run, revision})
}

// removeRun takes that a record is gone, or that an older one is there again. Watches may be late, so it is read, unless we remove it ourselves.
func (r *Runner) removeRun(k key) {
	if _, ours := r.keeping.removing[k]; ours {
		r.shelf.take(k)
	}
	if t := r.tracked[k]; t != nil && t.known {
		t.doubts++
		r.touch(t)
	}
	r.doubt(k)
}

// doubt has a record on the shelf read, which may be gone or an older one.
func (r *Runner) doubt(k key) {
	if _, there := r.shelf.get(k); there {
		r.doubtful[k] = struct{}{}
	}
}

// doubtUntold doubts what we have written and the watch has not told of: if NATS has lost it, the watch, which begins anew, finds nothing new.
func (r *Runner) doubtUntold() {
	for k := range r.shelvedAt {
		r.doubt(k)
	}
}

// maxDoubted bounds the records that are read at a time because they are in doubt: somebody may have emptied the bucket.
const maxDoubted = 500

// lookAtDoubtful takes some of the records that are in doubt off the shelf: they are read, and come back there if they are as they were.
func (r *Runner) lookAtDoubtful() {
	if len(r.doubtful) == 0 {
		return
	}
	room := maxDoubted
	for _, t := range r.tracked {
		if t.doubts > 0 {
			room--
		}
	}
	for k := range r.doubtful {
		if room <= 0 {
			return // the others have the next ticks
		}
		delete(r.doubtful, k)
		if _, there := r.shelf.get(k); there {
			r.track(k)
			room--
		}
	}
}

// onRead notes how far the watch has come, and begins to take requests once all records are known.
func (r *Runner) onRead(revision uint64) {
	for k, at := range r.shelvedAt {
		if at <= revision {
			delete(r.shelvedAt, k)
		}
	}
	if r.read {
		return
	}
	r.read = true
	close(r.backlog.begin)
	r.begin()
}

// begin does what has waited for all records and all Jobs. It is called when the last of them are known, once.
func (r *Runner) begin() {
	if r.ready() {
		r.sortStrays()
		r.reviewAll()
		close(r.known)
	}
}

// ready reports whether everything that takes a slot is known.
func (r *Runner) ready() bool { return r.observed && r.read }

// rest takes the run off the table if nothing has to be done for it, now or at a later time.
func (r *Runner) rest(t *tracked, now time.Time) {
	switch {
	case t.delivery != nil || t.doubts > 0 || now.Before(t.notBefore):
	case t.known && rests(t.run):
		r.forget(t)
		r.shelf.put(t.run)
		r.shelvedAt[t.key] = t.revision // the watch may still tell what was before
	case !t.known:
		r.forget(t)
		if t.object != nil { // one that is suspended, or about to go
			r.strays[t.object.Name] = stray{object: *t.object, since: time.Now(), sorted: true}
		}
	}
}
