package jobrunner

import (
	"context"
	"errors"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/job"
)

// lookForLost has the whole queue looked at when there have been fewer requests of a definition than records that wait for one, for longer than it takes whoever
// publishes to write both.
func (r *Runner) lookForLost(now time.Time) {
	if b := &r.backlog; !b.due.IsZero() && !now.Before(b.due) {
		b.due = time.Time{}
		signal(b.whole)
	}
	depths := map[string]uint64{}
	for _, q := range r.queues.all {
		depths[q.definition] += q.depth
	}
	for name := range r.backlog.short {
		if _, there := r.shelf[name]; !there {
			delete(r.backlog.short, name)
		}
	}
	for name := range r.shelf {
		if _, defined := r.catalog.active[name]; !defined || uint64(r.shelf.waiting(name)) <= depths[name] {
			delete(r.backlog.short, name)
			continue
		}
		since, short := r.backlog.short[name]
		if !short {
			r.backlog.short[name] = now
		} else if now.Sub(since) > r.timing.lost && now.Sub(r.backlog.wholeAt) > r.timing.lost {
			r.backlog.again(now, r.timing.lost)
		}
	}
}

// mendLost queues requests again that are not in the queue although records wait for them: the stream was lost, or whoever published them ended in between.
func (r *Runner) mendLost(ctx context.Context, at scan) {
	lost, err := question(ctx, r, func(time.Time) []key { return r.lost(at) })
	if err != nil {
		return
	}
	for _, k := range lost {
		if err := r.republish(ctx, k); err != nil && ctx.Err() == nil {
			r.deps.Logger.Warn().Err(err).Str("job", k.definition).Str("run", k.id).Msg("a request that was lost could not be queued again: it will be tried again")
		}
	}
}

// lost are the records that wait for a request that was not seen, the oldest first. Those of a job that is not defined end, or wait for its definition. It runs in Run's goroutine.
func (r *Runner) lost(at scan) (lost []key) {
	var all []shelvedRun
	for name, b := range r.shelf {
		if _, defined := r.catalog.active[name]; !defined {
			continue
		}
		for id, kept := range b.runs {
			k := key{name, id}
			if _, seen := at.seen[k]; !seen && !kept.over() && at.began.Sub(kept.since()) > r.timing.lost {
				all = append(all, shelvedRun{kept, k})
			}
		}
	}
	sortByAge(all)
	for _, run := range all {
		lost = append(lost, run.key)
	}
	return lost
}

// republish queues the request of a record again. The record says where it is from then on.
func (r *Runner) republish(ctx context.Context, k key) error {
	ctx, cancel := context.WithTimeout(ctx, 2*patience[onBus])
	defer cancel()
	run, revision, err := r.runs.Get(ctx, k.definition, k.id)
	if err != nil || revision == 0 || run.Ending != nil || run.Phase != job.Queued && run.Phase != job.Waiting {
		return err
	}
	if _, found, err := r.findRequest(ctx, run); err != nil || found {
		return err // it was not seen as this run's: its definition was away
	}
	message := job.Message{Definition: k.definition, RunID: k.id, Requester: run.Requester, Path: run.Path, Body: run.Request}
	if job.RequestHash(message) != run.SpecHash {
		return r.giveUp(ctx, run, revision)
	}
	if run.Sequence, err = r.deps.Bus.PublishJob(ctx, message); err != nil {
		return err
	}
	r.deps.Logger.Info().Str("job", k.definition).Str("run", k.id).Msg("the request of a run was not in the queue: it is queued again")
	if _, err = r.runs.Put(ctx, run, revision); errors.Is(err, bus.ErrOvertaken) {
		return r.takeBack(ctx, run)
	}
	return err
}

// takeBack drops a request that was queued again if its run has ended meanwhile, or is to: its record does not say where it is.
func (r *Runner) takeBack(ctx context.Context, queued job.Run) error {
	run, revision, err := r.runs.Get(ctx, queued.Definition, queued.ID)
	if err != nil || revision == 0 || run.Ending == nil && !run.Phase.Final() {
		return err
	}
	return r.deps.Bus.DropJob(ctx, queued.Sequence)
}

// findRequest looks for the run's own request at its place in the queue: a stream that was made anew has others there.
func (r *Runner) findRequest(ctx context.Context, run job.Run) (request job.Message, found bool, err error) {
	if run.Sequence == 0 {
		return request, false, nil
	}
	request, found, err = r.deps.Bus.JobAt(ctx, run.Sequence)
	own := request.RunID == run.ID && (request.Definition == run.Definition || job.RequestHash(request) == run.SpecHash)
	return request, found && own, err
}

// giveUp ends a run whose request cannot be made again from the record: it was published for another name of the job, or is too large to be kept twice.
func (r *Runner) giveUp(ctx context.Context, run job.Run, revision uint64) error {
	run.Ending = &job.Ending{Phase: job.Failed, Reason: "RequestLost", Message: "the request is not in the queue any more", At: time.Now()}
	if _, err := r.runs.Put(ctx, run, revision); err != nil && !errors.Is(err, bus.ErrOvertaken) {
		return err
	}
	return nil
}
