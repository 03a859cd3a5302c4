package jobrunner

import (
	"context"
	"errors"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/job"
)

// store writes a record over the one that is known.
func (r *Runner) store(t *tracked, record job.Run) step {
	before, revision := t.run, t.revision
	if record.Sequence == 0 && t.delivery != nil {
		record.Sequence = t.request.Sequence
	}
	untold := t.known && !t.told && before.Phase == job.Queued && before.Reason == job.ReasonAccepted // whoever was asked over HTTP has made it
	orphaned := record.Phase.Final() && !before.Phase.Final() && record.Ending != nil && !t.kept && record.Logs.Save != saveNever
	return step{onBus, func(ctx context.Context) func(time.Time) {
		if orphaned {
			record = r.findOutput(ctx, record)
		}
		stored, err := r.runs.Put(ctx, record, revision)
		if err == nil && untold {
			r.tellMove(ctx, job.Run{}, before)
		}
		if err == nil {
			r.tellMove(ctx, before, record)
			r.passed(job.Store, record)
		}
		return func(now time.Time) { r.onStored(t, written{record, stored}, err, now) }
	}}
}

// onStored takes what became of a record. After a failure it may be stored or not, so it is read.
func (r *Runner) onStored(t *tracked, w written, err error, now time.Time) {
	switch {
	case err == nil:
		r.worked(t, onBus, now)
		r.metrics.moved(t.run, w.run)
		t.told = true
		if t.run.Ending == nil && w.run.Ending != nil {
			t.looked = false // the Job may have ended before that
		}
		r.note(t, w)
	case errors.Is(err, bus.ErrOvertaken):
		t.doubts++
	case errors.Is(err, bus.ErrTooLarge) && !t.known && t.delivery != nil && !t.accepted.Phase.Final():
		t.accepted = t.accepted.Reject(now, job.ReasonTooLarge, "body: "+err.Error())
	default:
		t.doubts++
		r.failed(t, onBus, err, now)
	}
}

// say lets the record of a run that is being created say why that does not succeed.
func (r *Runner) say(t *tracked, s *said, now time.Time) step {
	next := r.store(t, t.run.Move(now, job.Creating, s.reason, s.message))
	write := next.work
	next.work = func(ctx context.Context) func(time.Time) {
		then := write(ctx)
		return func(now time.Time) {
			t.said = nil
			then(now)
		}
	}
	return next
}

// tellMove publishes a move to whoever listens. The end has a step of its own, and Creating is nothing that callers know.
func (r *Runner) tellMove(ctx context.Context, before, after job.Run) {
	if after.Phase.Final() || after.Phase == job.Creating || before.Phase == after.Phase && before.Reason == after.Reason {
		return
	}
	if err := r.deps.Bus.AnnounceRun(ctx, after); err != nil {
		r.deps.Logger.Debug().Err(err).Str("job", after.Definition).Str("run", after.ID).Str("phase", string(after.Phase)).Msg("a move was not announced")
	}
}

// readRecord reads the record as it is now. What happens meanwhile makes it doubtful again.
func (r *Runner) readRecord(t *tracked) step {
	doubts := t.doubts
	return step{onBus, func(ctx context.Context) func(time.Time) {
		run, revision, err := r.runs.Get(ctx, t.definition, t.id)
		return func(now time.Time) {
			switch {
			case errors.Is(err, bus.ErrUnreadable):
				r.unreadable(t, err, now)
				return
			case err != nil:
				r.failed(t, onBus, err, now)
				return
			case revision == 0:
				r.lose(t)
			default:
				r.replace(t, written{run, revision})
			}
			t.doubts -= doubts
			r.worked(t, onBus, now)
		}
	}}
}

// announce publishes the end of the run.
func (r *Runner) announce(t *tracked) step {
	run := t.run
	return step{onBus, func(ctx context.Context) func(time.Time) {
		err := r.deps.Bus.AnnounceRun(ctx, run)
		if err == nil {
			r.passed(job.Announce, run)
		}
		return func(now time.Time) {
			if err != nil {
				r.failed(t, onBus, err, now)
				return
			}
			t.announced = true
			r.worked(t, onBus, now)
		}
	}}
}

// acknowledge takes the request out of the queue. One whose end cannot be told comes again, and is acknowledged then.
func (r *Runner) acknowledge(t *tracked) step {
	run, delivery := t.run, t.delivery
	return step{onBus, func(ctx context.Context) func(time.Time) {
		err := delivery.Done(ctx)
		if err == nil {
			r.passed(job.Ack, run)
		}
		return func(time.Time) { r.onSettled(t, delivery, err) }
	}}
}

// bury keeps the request as a dead letter.
func (r *Runner) bury(t *tracked, reason, detail string) step {
	run, delivery := t.run, t.delivery
	return step{onBus, func(ctx context.Context) func(time.Time) {
		err := r.deps.Bus.BuryJob(ctx, delivery, reason, detail)
		if err == nil {
			r.passed(job.Bury, run)
		}
		return func(time.Time) {
			if err == nil {
				r.metrics.buried(reason)
				r.deps.Logger.Warn().Str("job", t.definition).Str("run", t.id).Str("reason", reason).Str("detail", detail).Msg("the request is kept as a dead letter")
			}
			r.onSettled(t, delivery, err)
		}
	}}
}

// onSettled lets go of a request that is out of the queue, or comes again.
func (r *Runner) onSettled(t *tracked, delivery *bus.Delivery, err error) {
	if err != nil {
		r.deps.Logger.Debug().Err(err).Str("job", t.definition).Str("run", t.id).Msg("the end of a request could not be told: it comes again")
	}
	if t.delivery == delivery {
		r.release(t)
	}
}

// drop takes the request of a run that ended in the queue out of it.
func (r *Runner) drop(t *tracked) step {
	run := t.run
	return step{onBus, func(ctx context.Context) func(time.Time) {
		err := r.dropRequest(ctx, run)
		return func(now time.Time) {
			if err != nil {
				r.failed(t, onBus, err, now)
				return
			}
			t.dropped = true
			r.worked(t, onBus, now)
		}
	}}
}

// dropRequest removes the run's request from the queue, if it is there.
func (r *Runner) dropRequest(ctx context.Context, run job.Run) error {
	if _, found, err := r.findRequest(ctx, run); err != nil || !found {
		return err
	}
	return r.deps.Bus.DropJob(ctx, run.Sequence)
}
