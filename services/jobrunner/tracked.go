package jobrunner

import (
	"strconv"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/job"
)

// key names a run.
type key struct{ definition, id string }

// tracked is a run for which something has to be done: one that is not over, whose request is in our hands or of which there is a Job. The goroutine of Run owns it.
type tracked struct {
	key
	// run is the record of that revision; known is false if there is none.
	run      job.Run
	revision uint64
	known    bool
	// doubts counts what has happened since the record was read after which it may be another one: it is read before anything is decided.
	doubts int
	// place is where the request is or was in the queue as the shelf had it, until the record is read.
	place uint64
	// delivery is the request while it is in our hands, as request, and accepted what it makes of itself; progress is when the server was last told that
	// it is worked on.
	delivery *bus.Delivery
	request  job.Message
	accepted job.Run
	progress time.Time
	// undefined is since when there has been no definition for it while it waits.
	undefined time.Time
	// object is the Job under the run's name, of which Runner.byName knows; looked says that it, or that there is none, is what the API server itself has said, at lookedAt.
	name     string
	object   *job.Object
	looked   bool
	lookedAt time.Time
	// granted says that the run has a slot although no record says so yet, and holds that it is counted as having one; needing that needed, its dependencies, are kept awake.
	granted, holds, needing bool
	needed                  []string
	// held says that its request is in our hands and it has no slot; able that it could have one.
	held, able bool
	// denied is why the cluster has not made the Job; said is what the record is to say of a creation of which nobody knows what came of it.
	denied *job.Denial
	said   *said
	// told says that we have written its record: its first move is published, or another one was before it.
	told bool
	// kept says that result was captured, after so many attempts, of a Job with that end; announced that the end was published, and dropped that its request is out of the queue.
	kept, announced, dropped bool
	result                   job.Result
	keptEnd                  job.Phase // what the Job's End was
	captures                 int
	// outputs are those that are followed; inPlace says whether that is needed, nil while nobody has looked.
	outputs map[outputKey]*output
	inPlace *bool
	// busy says that a helper is at work for it, or waits for its turn; later is a record that somebody has written in the meantime.
	busy      bool
	later     *written
	failures  int       // in a row, on failedOn
	failedOn  place     // where the last step failed
	notBefore time.Time // no step before it
	due       time.Time // when to decide although nothing has happened, zero for never
}

// written is a record with its revision.
type written struct {
	run      job.Run
	revision uint64
}

// said is a reason with its sentence.
type said struct{ reason, message string }

// track returns the run, which is tracked from now on.
func (r *Runner) track(k key) *tracked {
	t := r.tracked[k]
	if t == nil {
		t = &tracked{key: k}
		r.tracked[k] = t
		if kept, there := r.shelf.get(k); there {
			r.shelf.take(k)
			t.doubts++
			t.place = kept.sequence
		}
	}
	r.touch(t)
	return t
}

// take notes a record that somebody else has written, as the watch says. What is not newer than what is known is passed over.
func (r *Runner) take(t *tracked, w written) {
	switch {
	case t.busy:
		if t.later == nil || w.revision > t.later.revision {
			t.later = &w
		}
	case w.revision > t.revision:
		r.replace(t, w)
	}
}

// replace notes a record that was read, or that somebody else has written: what was seen before may be older than it. In a bucket that was rolled back its revision is lower than
// the one that is known.
func (r *Runner) replace(t *tracked, w written) {
	t.unkeep(w.run.JobUID)
	t.looked, t.denied = false, nil
	r.note(t, w)
}

// unkeep lets go of what was captured, unless it was of that Job.
func (t *tracked) unkeep(uid string) {
	if t.run.JobUID != uid {
		t.kept, t.result = false, job.Result{}
	}
}

// note makes that the run's record.
func (r *Runner) note(t *tracked, w written) {
	t.run, t.revision, t.known = w.run, w.revision, true
	r.name(t, w.run.JobName)
	r.touch(t)
}

// lose notes that there is no record.
func (r *Runner) lose(t *tracked) {
	t.unkeep("")
	t.run, t.revision, t.known, t.place = job.Run{}, 0, false, 0
	t.looked, t.denied = false, nil
	r.touch(t)
}

// name notes which Job is the run's, if any is.
func (r *Runner) name(t *tracked, name string) {
	if t.name == name {
		return
	}
	r.unname(t)
	if o := t.object; o != nil && o.Name != name {
		r.strays[o.Name] = stray{object: *o, since: time.Now(), sorted: true}
		t.object = nil
	}
	t.looked = false
	if t.name = name; name == "" {
		return
	}
	r.byName[name] = t
	if s, there := r.strays[name]; there {
		delete(r.strays, name)
		t.watched(s.object)
	}
}

func (r *Runner) unname(t *tracked) {
	if r.byName[t.name] == t {
		delete(r.byName, t.name)
	}
	t.name = ""
}

// forget ends the tracking of a run; what is worth keeping is on the shelf.
func (r *Runner) forget(t *tracked) {
	r.unname(t)
	r.stopOutputs(t)
	delete(r.tracked, t.key)
	delete(r.dirty, t)
	r.recount(t)
}

// sight is what is known of the run, for job.Decide.
func (r *Runner) sight(t *tracked, now time.Time) job.Sight {
	s := job.Sight{
		Now: now, Run: t.run, Known: t.known, Object: t.object, Looked: t.looked, Denied: t.denied, Gate: r.gate(t),
		Kept: t.kept, Result: t.result, Announced: t.announced,
	}
	if t.delivery != nil {
		s.Message, s.Accepted = &t.request, &t.accepted
	}
	return s
}

// hasLooked takes what the API server itself has said; nil says that there is no Job of the name. Whoever has removed one that was there may have written so in the record.
func (t *tracked) hasLooked(o *job.Object, now time.Time) {
	if o == nil {
		if t.object != nil {
			t.doubts++
		}
		t.object = nil
	} else {
		if known := t.object; known != nil && known.UID == o.UID && len(o.Pods) == 0 { // a request may know of no pods
			o.Pods, o.Trouble, o.TroubleDetail = known.Pods, known.Trouble, known.TroubleDetail
		}
		t.see(t.newer(*o))
	}
	t.looked, t.lookedAt = true, now
}

// watched takes what a watch says: news of the Job that is known, unless they are old, or a hint that there is another one.
func (t *tracked) watched(o job.Object) {
	switch known := t.object; {
	case known != nil && known.UID == o.UID:
		t.see(t.newer(o))
	case o.Deleting, known != nil && older(o.Version, known.Version):
	default:
		t.see(&o)
		t.looked = false
	}
}

// see makes that the Job under the run's name. What was captured before it ended does not count.
func (t *tracked) see(o *job.Object) {
	t.object = o
	if t.kept = t.kept && o.End == t.keptEnd; t.kept {
		t.result = t.result.Ends(o.Pods)
	}
}

// vanished takes that the Job is gone, as a watch says.
func (t *tracked) vanished(uid string) {
	switch {
	case t.object == nil:
		t.looked = false
	case t.object.UID == uid:
		t.object, t.looked = nil, false
		t.doubts++ // see hasLooked
	}
}

// newer is the newer one of what is known and another view of the same Job. Pods have versions of their own: those of the other view count.
func (t *tracked) newer(o job.Object) *job.Object {
	known := t.object
	if known == nil || known.UID != o.UID || !older(o.Version, known.Version) {
		return &o
	}
	merged := *known
	merged.Pods, merged.Trouble, merged.TroubleDetail = o.Pods, o.Trouble, o.TroubleDetail
	return &merged
}

// older compares versions of one kind of object (KEP-5504: they are decimal numbers). Where they are not, nothing is older.
func older(a, b string) bool {
	first, errFirst := strconv.ParseUint(a, 10, 64)
	second, errSecond := strconv.ParseUint(b, 10, 64)
	return errFirst == nil && errSecond == nil && first < second
}

// captured takes what was kept of that Job. It may have ended since.
func (t *tracked) captured(o job.Object, result job.Result) {
	t.kept, t.keptEnd, t.result = true, o.End, result
	if t.object != nil {
		t.see(t.object)
	}
}

// unended reports whether the run's own Job has not ended.
func (t *tracked) unended() bool {
	return t.object == nil || t.object.UID != t.run.JobUID || t.object.End == ""
}

// waits reports whether the run has no Job, and may get one.
func (t *tracked) waits() bool {
	return t.known && (t.run.Phase == job.Queued || t.run.Phase == job.Waiting) && t.run.Ending == nil
}

// created reports whether the run may have a Job that is not over.
func (t *tracked) created() bool {
	return t.known && (t.run.Phase == job.Creating || t.run.Phase == job.Pending || t.run.Phase == job.Running)
}

// creating reports whether the Job is to be made.
func (t *tracked) creating() bool {
	return t.known && t.run.Phase == job.Creating && t.run.Ending == nil
}
