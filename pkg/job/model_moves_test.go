package job_test

import (
	"strconv"

	"github.com/sluicefaas/sluice/pkg/job"
)

// move is one thing that happens. It is put into words only where somebody reads them.
type move struct {
	who, what   string
	uid         int
	detail, but string
}

func (m move) unless(but string) move {
	m.but = but
	return m
}

func (m move) String() string {
	text := m.who + m.what
	if m.uid != 0 {
		text += " " + strconv.Itoa(m.uid)
	}
	if m.detail != "" {
		text += " " + m.detail
	}
	if m.but != "" {
		text += ", " + m.but
	}
	return text
}

// tell is told of something that may happen, and what comes of it.
type tell func(m move, next worldState)

// moves tells everything that may happen next.
func (w *world) moves(s *worldState, each tell) {
	for who := range s.runners {
		runner := func(m move, next worldState) {
			m.who = [...]string{"A: ", "B: "}[who]
			each(m, next)
		}
		w.act(*s, who, runner)
		w.hear(s, who, runner)
		w.interrupt(s, who, runner)
	}
	w.kubernetes(s, each)
	w.people(s, each)
	w.faults(s, each)
}

// hear is what a runner is told: its message, the record, Jobs.
func (w *world) hear(s *worldState, who int, each tell) {
	now := *s
	r := &now.runners[who]
	if s.has(queued) && !r.has(holds) {
		if other := &now.runners[1-who]; !other.has(holds) {
			deliver(&now, who, w.rules.ackOnReceipt)
			each(move{what: "gets the message"}, now)
		} else if s.left.redeliveries > 0 {
			now.left.redeliveries--
			deliver(&now, who, w.rules.ackOnReceipt)
			each(move{what: "gets the message again"}, now)
		}
		now = *s
	}
	if r.has(mustRead) || !r.has(fresh) && (r.has(read) || s.record != 0 || r.has(holds) || r.object != 0) {
		w.readRecord(&now, who)
		each(move{what: "reads the record"}, now)
		now = *s
	}
	for name := range s.cache {
		if w.watched(&now, who, uint8(name)) {
			what := "hears of Job"
			if s.cache[name] == 0 {
				what = "hears that its Job is gone"
			}
			each(move{what: what, uid: s.cache[name].uid()}, now)
		}
		now = *s
	}
	if r.has(denied) && !r.has(mustLook) {
		r.clear(denied)
		each(move{what: triesAgain}, now)
	}
}

// triesAgain is what a runner does some time after it was refused.
const triesAgain = "is ready to try again"

func deliver(s *worldState, who int, acked bool) {
	s.runners[who].set(holds)
	if acked {
		if s.record == 0 {
			s.facts |= lostItsMessage
		}
		s.facts &^= queued
	}
}

// watched puts what the watch shows under the name before the runner; false if that is nothing new.
func (w *world) watched(s *worldState, who int, name uint8) bool {
	r := &s.runners[who]
	switch j := s.cache[name]; {
	case j.is(foreign):
		return false
	case j == 0:
		if r.object == 0 || r.name != name || r.object.is(foreign) {
			return false
		}
		w.show(r, 0, 0, false)
	case r.object.uid() == j.uid():
		if j.age() <= r.object.age() {
			return false
		}
		w.show(r, j, name, r.has(looked) || w.rules.believeEvents && w.run(r.record).JobUID == strconv.Itoa(j.uid()))
	case j.is(deleting) || j.uid() < r.object.uid():
		return false
	default:
		w.show(r, j, name, false)
	}
	return true
}

func (w *world) interrupt(s *worldState, who int, each tell) {
	if now := *s; s.left.crashes > 0 && now.runners[who] != (runnerState{}) {
		now.left.crashes--
		now.runners[who] = runnerState{}
		each(move{what: "crashes"}, now)
	}
}

// kubernetes is what the cluster does by itself.
func (w *world) kubernetes(s *worldState, each tell) {
	for name, j := range s.jobs {
		change := func(what string, now jobState, facts facts) {
			next := *s
			next.jobs[name] = now
			next.facts |= facts
			if now.is(started) && !j.is(started) {
				next.ran |= 1 << j.uid()
			}
			each(move{what: "Job", uid: j.uid(), detail: what}, next)
		}
		switch {
		case j.is(deleting):
			change("is gone", 0, 0)
			if j.is(started) && !j.is(ended|suspended) {
				change("ends while it is deleted", j|ended, jobEnded)
			}
		case j.mayRun() && !j.is(started):
			change("starts its pods", j|started, 0)
		case j.mayRun():
			change("completes", j|ended, jobEnded)
		case j.is(ended) && j.is(armed):
			change("is removed by its TTL", 0, 0)
		}
		if s.cache[name] != j {
			next := *s
			next.cache[name] = j
			each(move{what: "the watch catches up"}, next)
		}
	}
}

// people cancel, delete and suspend.
func (w *world) people(s *worldState, each tell) {
	run := w.run(s.record)
	if next := *s; s.left.cancels > 0 && s.record != 0 {
		next.left.cancels--
		if cancelled := run.Cancel(modelNoon, "somebody"); cancelled.Ending != run.Ending {
			w.put(&next, w.records.id(cancelled))
			next.facts |= cancelAsked
			each(move{what: "somebody cancels"}, next)
		}
	}
	for name, j := range s.jobs {
		if j == 0 {
			continue
		}
		if next := *s; s.left.deletions > 0 && !j.is(deleting) {
			next.left.deletions--
			next.jobs[name] |= deleting
			if !j.is(foreign) {
				next.facts |= personDeleted
			}
			each(move{what: "somebody deletes Job", uid: j.uid()}, next)
		}
		if next := *s; s.left.suspensions > 0 && j.mayRun() {
			next.left.suspensions--
			next.jobs[name] = j&^started | suspended | userSuspended
			each(move{what: "somebody suspends Job", uid: j.uid()}, next)
		}
		if next := *s; j.is(userSuspended) && j.unfinished() {
			next.jobs[name] = j&^(suspended|userSuspended) | userResumed
			each(move{what: "somebody resumes Job", uid: j.uid()}, next)
		}
	}
}

// faults are what else may happen.
func (w *world) faults(s *worldState, each tell) {
	if next := *s; s.late.kind != noRequest {
		w.land(&next)
		each(move{what: [...]string{lateStore: "the late Store lands", lateCreate: "the late Create lands", lateResume: "the late Resume lands"}[s.late.kind]}, next)
	}
	if run := w.run(s.record); s.left.recordLosses > 0 && run.Phase == job.Running && run.Ending == nil {
		next := *s
		next.left.recordLosses--
		w.put(&next, 0)
		next.facts |= recordLost
		each(move{what: "the record is lost"}, next)
	}
	if next := *s; s.left.delays > 0 && !s.has(timePassed) {
		next.left.delays--
		next.facts |= timePassed
		each(move{what: "hours pass"}, next)
	}
	if w.orphaned(s) {
		next := *s
		next.facts |= queued
		each(move{what: "the message is published again"}, next)
	}
}

// orphaned reports whether a queued run has lost its message: the leader's sweep publishes it again.
func (w *world) orphaned(s *worldState) bool {
	return w.run(s.record).Phase == job.Queued && !s.has(queued) && !s.runners[0].has(holds) && !s.runners[1].has(holds)
}

// land lets the late request have its effect.
func (w *world) land(s *worldState) {
	late := s.late
	s.late = request{}
	switch late.kind {
	case lateStore:
		if late.fresh || late.creates && s.record == 0 || w.rules.writeBlindly {
			w.put(s, late.record)
		}
	case lateCreate:
		if s.jobs[late.name] == 0 {
			w.born(s, late.name)
		}
	case lateResume:
		w.unsuspend(s, late.job, late.name)
	}
}
