package jobrunner

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/job"
)

// scanBatch bounds the requests that are looked at together.
const scanBatch = 256

// backlog is what keeps the records of queued requests in step with the queue: each request has a record soon, also when no slot is free, and each record that waits has a
// request.
type backlog struct {
	// published tells of new requests, and whole that all are to be looked at, from the first on.
	published, whole chan struct{}
	// begin is closed when all records are known.
	begin chan struct{}
	// writing are the records that are being written and of which the watch has not told, by the place of the request. The goroutine of Run owns it, as what follows.
	writing map[uint64]writing
	// short is since when a definition has fewer requests than records that wait for them; wholeAt is when all were last looked at, and due when
	// they are to be looked at again, zero for not yet.
	short        map[string]time.Time
	wholeAt, due time.Time
}

// writing is a record of that definition that is being written, since then.
type writing struct {
	definition string
	since      time.Time
}

// maxWriting is how long a record may be on its way before it counts as not written.
const maxWriting = time.Minute

func newBacklog() backlog {
	return backlog{
		published: make(chan struct{}, 1), whole: make(chan struct{}, 1), begin: make(chan struct{}),
		writing: map[uint64]writing{}, short: map[string]time.Time{},
	}
}

// again has the whole queue looked at, now and when what is young now is old enough to count as lost.
func (b *backlog) again(now time.Time, lost time.Duration) {
	b.wholeAt, b.due = now, now.Add(lost+lost/4)
	signal(b.whole)
}

// scan is one look at the queue, from a place on.
type scan struct {
	next uint64
	// seen are the runs whose requests are in the queue; nil unless all of it is looked at, since began.
	seen  map[key]struct{}
	began time.Time
}

// followBacklog looks at what is published until ctx ends: at the whole queue first, once all records are known.
func (r *Runner) followBacklog(ctx context.Context) {
	select {
	case <-r.backlog.begin:
	case <-ctx.Done():
		return
	}
	ticker := time.NewTicker(r.timing.index)
	defer ticker.Stop()
	at := &scan{seen: map[key]struct{}{}, began: time.Now()}
	const seldom = 10 // a hint may be missed
	ticks := 0
	for published := true; ; {
		if published {
			published = !r.lookAtBacklog(ctx, at)
		}
		select {
		case <-r.backlog.published:
			published = true
			if !pauseFor(ctx, r.timing.index) { // by then most of them have been taken
				return
			}
		case <-r.backlog.whole:
			published = true
			at = &scan{seen: map[key]struct{}{}, began: time.Now()}
		case <-ticker.C:
			ticks++
			published = published || ticks%seldom == 0
		case <-ctx.Done():
			return
		}
	}
}

func pauseFor(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// lookAtBacklog looks at the requests from where it was on. It reports whether it got to the end.
func (r *Runner) lookAtBacklog(ctx context.Context, at *scan) bool {
	for {
		batch, young, err := r.readBacklog(ctx, at)
		looked := 0
		if err == nil {
			looked, err = r.recordAll(ctx, at, batch)
		}
		if err != nil {
			if ctx.Err() == nil {
				r.deps.Logger.Debug().Err(err).Msg("the backlog could not be looked at: it will be tried again")
			}
			return false
		}
		if looked == scanBatch {
			continue
		}
		if at.seen != nil { // what is young cannot be lost yet
			r.mendLost(ctx, *at)
			at.seen = nil
		}
		return !young && looked == len(batch)
	}
}

// readBacklog reads the next requests that are old enough to be looked at. young says that there are others.
func (r *Runner) readBacklog(ctx context.Context, at *scan) (batch []job.Message, young bool, err error) {
	const skew = 10 * time.Second // by which the server's clock may be ahead of ours
	_, err = r.deps.Bus.ScanJobs(ctx, at.next, func(m job.Message) bool {
		age := time.Since(m.Accepted)
		if young = age < r.timing.index && age > -skew; young {
			return false
		}
		batch = append(batch, m)
		return len(batch) < scanBatch
	})
	return batch, young, err
}

// unrecorded is a request of which no record says that, or where, it is in the queue.
type unrecorded struct {
	message    job.Message
	definition job.Definition
	// before is how many others there are before it, and gate what it waits for, as far as that is known.
	before int
	gate   job.Gate
}

// recordAll gives records to the requests of a batch that have none, and returns how many of the batch it has looked at.
func (r *Runner) recordAll(ctx context.Context, at *scan, batch []job.Message) (looked int, err error) {
	type answer struct {
		missing []unrecorded
		looked  int
	}
	found, err := question(ctx, r, func(now time.Time) (a answer) {
		a.missing, a.looked = r.unrecorded(at, batch, now)
		return a
	})
	if err != nil {
		return 0, err
	}
	for _, request := range found.missing {
		err := r.record(ctx, request)
		if errors.Is(err, bus.ErrUnreadable) {
			continue // that is told when it is taken
		}
		if err != nil {
			return 0, err
		}
	}
	if found.looked > 0 {
		at.next = batch[found.looked-1].Sequence + 1
	}
	return found.looked, nil
}

// errEnded says that Run's goroutine answers no more.
var errEnded = errors.New("the runner has ended")

// question asks Run's goroutine.
func question[T any](ctx context.Context, r *Runner, ask func(now time.Time) T) (answer T, err error) {
	answers := make(chan T, 1)
	if !r.do(func(now time.Time) { answers <- ask(now) }) {
		return answer, errEnded
	}
	select {
	case answer = <-answers:
		return answer, nil
	case <-ctx.Done():
		return answer, ctx.Err()
	case <-r.done:
		return answer, errEnded
	}
}

// unrecorded are those of a batch that need a record, or a better one, up to one that will be taken any moment. It runs in Run's goroutine.
func (r *Runner) unrecorded(at *scan, batch []job.Message, now time.Time) (missing []unrecorded, looked int) {
	before := map[string]int{} // by definition, the requests of the batch that nobody has taken
	looked = len(batch)
	maps.DeleteFunc(r.backlog.writing, func(_ uint64, w writing) bool { return now.Sub(w.since) > maxWriting })
	for i, m := range batch {
		if job.ValidRunID(m.RunID) != nil {
			continue
		}
		k, d, defined := r.meant(m)
		if at.seen != nil { // it is in the queue, whatever becomes of its record
			at.seen[k] = struct{}{}
		}
		if !defined || looked < len(batch) || !r.needsRecord(k, m) {
			continue
		}
		gate := r.gateOf(d, d.DependsOn, before[d.Name])
		if !gate.Closed() && now.Sub(m.Accepted) < 5*r.timing.index {
			looked = i
			continue
		}
		missing = append(missing, unrecorded{m, d, before[d.Name], gate})
		r.backlog.writing[m.Sequence] = writing{d.Name, now}
		before[d.Name]++
	}
	return missing, looked
}

// meant is the run that a request is about, with its definition if there is one.
func (r *Runner) meant(m job.Message) (k key, d job.Definition, defined bool) {
	name := m.Definition
	if d, defined = job.Find(m.Definition, r.catalog.shown); defined {
		name = d.Name
	}
	if k = r.owner(m, name); k.definition != name {
		d, defined = r.catalog.active[k.definition]
	}
	return k, d, defined
}

// gateOf is what a request of the definition with these dependencies waits for that is not in our hands, and has so many others before it.
func (r *Runner) gateOf(d job.Definition, dependencies []string, before int) job.Gate {
	if gate := r.needs.gate(dependencies, r.observed); gate.Closed() {
		return gate
	}
	if r.ready() && r.free(d) <= r.startable(d.Name)+before {
		return r.slotGate(d)
	}
	return job.Gate{}
}

// needsRecord reports whether there is no record of the request, or one that waits and does not say where in the queue it is, or what it waits for.
func (r *Runner) needsRecord(k key, m job.Message) bool {
	if t := r.tracked[k]; t != nil {
		return t.delivery == nil && !t.busy && (!t.known || t.waits() && t.run.Sequence == 0)
	}
	kept, there := r.shelf.get(k)
	return !there || !kept.over() && m.Sequence != 0 && (kept.sequence == 0 || kept.accepted)
}

// record writes the record of a request that nobody has taken yet, or notes in the one that there is where it is and what it waits for.
func (r *Runner) record(ctx context.Context, u unrecorded) error {
	ctx, cancel := context.WithTimeout(ctx, patience[onBus])
	defer cancel()
	now := time.Now()
	run := job.Accept(u.definition, u.message, now)
	if len(run.Request) > maxRequest {
		run.Request = nil
	}
	gate, err := r.gateOfRequest(ctx, u, run.DependsOn)
	if err != nil {
		return err
	}
	run = held(run, gate, now) // a rejected one stays as it is
	_, err = r.runs.Put(ctx, run, 0)
	switch {
	case err == nil:
		r.tellMove(ctx, job.Run{}, run)
		return nil
	case errors.Is(err, bus.ErrTooLarge):
		return nil // it is given up when it is taken
	case errors.Is(err, bus.ErrOvertaken):
		return r.recordAgain(ctx, run, gate)
	}
	return err
}

// recordAgain notes in the record that there is already, of a run that was asked for over HTTP say, what is known of its request.
func (r *Runner) recordAgain(ctx context.Context, asked job.Run, gate job.Gate) error {
	stored, revision, err := r.runs.Get(ctx, asked.Definition, asked.ID)
	if err != nil || revision == 0 || stored.Ending != nil || stored.Phase != job.Queued && stored.Phase != job.Waiting {
		return err
	}
	next := stored
	if next.Sequence == 0 {
		next.Sequence = asked.Sequence
	}
	if next.Reason == job.ReasonAccepted {
		next = held(next, gate, time.Now())
	}
	if next.Sequence == stored.Sequence && next.Reason == stored.Reason {
		return nil
	}
	_, err = r.runs.Put(ctx, next, revision)
	switch {
	case errors.Is(err, bus.ErrOvertaken):
		return nil // whoever was faster knows better
	case err == nil:
		r.tellMove(ctx, stored, next)
	}
	return err
}

// gateOfRequest is the gate of a request that may have dependencies of its own.
func (r *Runner) gateOfRequest(ctx context.Context, u unrecorded, dependencies []string) (job.Gate, error) {
	if slices.Equal(dependencies, u.definition.DependsOn) {
		return u.gate, nil
	}
	return question(ctx, r, func(time.Time) job.Gate { return r.gateOf(u.definition, dependencies, u.before) })
}

// held is the run with what it waits for, if it has to wait.
func held(run job.Run, gate job.Gate, now time.Time) job.Run {
	if !gate.Closed() {
		return run
	}
	return run.Move(now, gate.Phase, gate.Reason, gate.Message)
}
