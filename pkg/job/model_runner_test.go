package job_test

import (
	"fmt"

	"github.com/sluicefaas/sluice/pkg/job"
)

// sightKey is all that a decision depends on.
type sightKey struct {
	record recordID
	flags  runnerFlags
	object jobState
	name   uint8
	passed bool
}

type decision struct {
	step   job.Step
	record recordID
	uid    int
}

// decide asks the protocol what a runner is to do with what it knows.
func (w *world) decide(s *worldState, who int) decision {
	r := &s.runners[who]
	key := sightKey{r.record, r.flags &^ (read | fresh), r.object, r.name, s.has(timePassed)}
	if d, ok := w.decided[key]; ok {
		return d
	}
	action := w.rules.decide(w.sight(s, r))
	d := decision{step: action.Step}
	if action.Step == job.Store {
		d.record = w.records.id(action.Record)
	}
	if action.UID != "" {
		if _, err := fmt.Sscan(action.UID, &d.uid); err != nil {
			panic(err)
		}
	}
	w.decided[key] = d
	return d
}

func (w *world) sight(s *worldState, r *runnerState) job.Sight {
	sight := job.Sight{
		Now: modelNoon, Run: *w.run(r.record), Known: r.record != 0, Object: r.object.object(r.name), Looked: r.has(looked),
		Kept: r.has(kept), Announced: r.has(told),
	}
	if s.has(timePassed) {
		sight.Now = modelNoon.AddDate(0, 0, 1)
	}
	if r.has(holds) {
		accepted := modelRun()
		sight.Message, sight.Accepted = &job.Message{}, &accepted
	}
	switch {
	case r.has(refused):
		sight.Denied = &job.Denial{ForGood: true, Reason: job.ReasonInvalidSpec}
	case r.has(denied):
		sight.Denied = &job.Denial{Reason: job.ReasonJobQuotaExceeded}
	}
	switch {
	case r.has(keptAll):
		sight.Result.Log = []job.LogPart{{Object: "all"}}
	case r.has(keptSome):
		sight.Result.Log = []job.LogPart{{Object: "some"}}
	}
	return sight
}

// act tells every way in which the runner's next effect may go.
func (w *world) act(s worldState, who int, each tell) {
	r := &s.runners[who]
	if !r.has(read) || r.has(mustRead) {
		return // reads first, which is another move
	}
	if r.has(mustLook) {
		w.look(&s, who)
		each(move{what: "Look"}, s)
		return
	}
	switch d := w.decide(&s, who); d.step {
	case job.Store:
		w.store(s, who, d, each)
	case job.Create:
		w.create(s, who, each)
	case job.Resume:
		w.resume(s, who, d, each)
	case job.Delete:
		w.delete(s, who, d, each)
	case job.Ack, job.Bury:
		w.ack(s, who, d, each)
	case job.Look:
		w.look(&s, who)
		each(move{what: "Look"}, s)
	case job.Capture:
		w.capture(&s, who)
		each(move{what: "Capture"}, s)
	case job.Arm:
		w.arm(&s, who, d)
		each(move{what: "Arm"}, s)
	case job.Announce:
		s.facts |= announced
		r.set(told)
		each(move{what: "Announce"}, s)
	case job.Rest:
	}
}

// readRecord gives the runner the record as it is.
func (w *world) readRecord(s *worldState, who int) {
	r := &s.runners[who]
	if w.run(r.record).JobUID != w.run(s.record).JobUID {
		r.clear(kept)
	}
	r.record = s.record
	if !w.rules.believeOldLooks {
		r.clear(looked)
	}
	r.clear(mustRead | denied | refused)
	r.set(read | fresh)
}

// name is which of the run's names the record has.
func (w *world) nameOf(r *runnerState) uint8 {
	if r.record == 0 {
		return r.name
	}
	return uint8(w.run(r.record).Salt)
}

func (w *world) look(s *worldState, who int) {
	r := &s.runners[who]
	name := w.nameOf(r)
	jobs := s.jobs
	if w.rules.lookAtCache {
		jobs = s.cache
	}
	w.show(r, jobs[name], name, true)
	if r.clear(mustLook); jobs[name] != 0 {
		r.clear(denied | refused)
	}
}

// put is a write that has come to the server and goes through.
func (w *world) put(s *worldState, id recordID) {
	before, after := w.run(s.record), w.run(id)
	s.record = id
	s.late.fresh = false
	for i := range s.runners {
		s.runners[i].clear(fresh)
	}
	var uid int
	if _, err := fmt.Sscan(after.JobUID, &uid); err == nil {
		s.recorded |= 1 << uid
	}
	if after.Ending != nil && before.Ending == nil && s.has(jobEnded) {
		s.facts |= endedTooLate
	}
	if before.Phase.Final() && before.Phase != after.Phase {
		s.facts |= finalChanged
	}
}

func (w *world) store(s worldState, who int, d decision, each tell) {
	r := &s.runners[who]
	m := move{what: "Store", detail: string(w.run(d.record).Phase)}
	before := s
	if r.has(fresh) || r.record == 0 && s.record == 0 || w.rules.writeBlindly {
		old, record := w.run(r.record), w.run(d.record)
		again := old.JobName != record.JobName || old.Ending == nil && record.Ending != nil && !w.rules.endUnseen
		w.put(&s, d.record)
		if s.left.lostAnswers > 0 {
			unsure := s
			unsure.left.lostAnswers--
			unsure.runners[who].set(mustRead)
			each(m.unless("answer lost"), unsure)
		}
		if r.record = d.record; again {
			r.clear(looked)
		}
		r.set(fresh)
		each(m, s)
	} else {
		r.set(mustRead)
		each(m.unless("overtaken"), s)
	}
	if sent := before; before.left.lateRequests > 0 {
		sent.left.lateRequests--
		creates := sent.runners[who].record == 0
		sent.late = request{kind: lateStore, record: d.record, fresh: !creates && sent.runners[who].has(fresh), creates: creates}
		sent.runners[who].set(mustRead)
		each(m.unless("still under way"), sent)
	}
}

// born is a Job as the runners make it.
func (w *world) born(s *worldState, name uint8) {
	s.lastUID++
	j := newJob(int(s.lastUID), suspended)
	if w.rules.createRunning {
		j &^= suspended
		s.facts |= startedRunning
	}
	if w.rules.armAtCreation {
		j |= armed
		s.facts |= armedEarly
	}
	s.jobs[name] = j
}

func (w *world) create(s worldState, who int, each tell) {
	r := &s.runners[who]
	name := w.nameOf(r)
	if s.left.denials > 0 {
		quota, never := s, s
		quota.left.denials--
		quota.runners[who].set(mustLook | denied)
		each(move{what: "Create", but: "no quota"}, quota)
		never.left.denials--
		never.facts |= deniedForGood
		never.runners[who].set(mustLook | refused)
		each(move{what: "Create", but: "invalid"}, never)
	}
	if s.left.lateRequests > 0 {
		sent := s
		sent.left.lateRequests--
		sent.late = request{kind: lateCreate, name: name}
		sent.runners[who].clear(looked)
		each(move{what: "Create", but: "still under way"}, sent)
	}
	if s.jobs[name] != 0 {
		r.set(mustLook)
		each(move{what: "Create", but: "name taken"}, s)
		return
	}
	w.born(&s, name)
	if s.left.lostAnswers > 0 {
		unsure := s
		unsure.left.lostAnswers--
		unsure.runners[who].clear(looked)
		each(move{what: "Create", but: "answer lost"}, unsure)
	}
	w.show(r, s.jobs[name], name, true)
	each(move{what: "Create"}, s)
}

// unsuspend is a Resume that has come to the server. It goes through if the Job is as it was.
func (w *world) unsuspend(s *worldState, j jobState, name uint8) bool {
	now := &s.jobs[name]
	if *now != j && (!w.rules.resumeByName || !now.is(suspended)) {
		return false
	}
	if now.is(userSuspended) {
		s.facts |= resumedAgain
	}
	*now &^= suspended
	return true
}

func (w *world) resume(s worldState, who int, d decision, each tell) {
	r := &s.runners[who]
	m := move{what: "Resume", uid: d.uid}
	if s.left.lateRequests > 0 {
		sent := s
		sent.left.lateRequests--
		sent.late = request{kind: lateResume, job: r.object, name: r.name}
		sent.runners[who].clear(looked)
		each(m.unless("still under way"), sent)
	}
	if !w.unsuspend(&s, r.object, r.name) {
		r.clear(looked)
		each(m.unless("changed"), s)
		return
	}
	if s.left.lostAnswers > 0 {
		unsure := s
		unsure.left.lostAnswers--
		unsure.runners[who].clear(looked)
		each(m.unless("answer lost"), unsure)
	}
	w.show(r, s.jobs[r.name], r.name, true)
	each(m, s)
}

func (w *world) delete(s worldState, who int, d decision, each tell) {
	r := &s.runners[who]
	m := move{what: "Delete", uid: d.uid}
	failed := s
	for i := range s.jobs {
		if s.jobs[i].uid() == d.uid {
			s.jobs[i] |= deleting
		}
	}
	if s.left.lostAnswers > 0 {
		unsure := s
		unsure.left.lostAnswers--
		unsure.runners[who].clear(looked | kept)
		each(m.unless("answer lost"), unsure)
		failed.left.lostAnswers--
		failed.runners[who].clear(looked | kept)
		each(m.unless("failed"), failed)
	}
	r.unsee()
	each(m, s)
}

// unsee forgets a Job that is to be looked at again.
func (r *runnerState) unsee() {
	r.object, r.name = 0, 0
	r.clear(looked)
}

// ack takes the message out. One that is lost leaves it there, although the runner has done with it.
func (w *world) ack(s worldState, who int, d decision, each tell) {
	s.runners[who].clear(holds)
	if s.left.lostAnswers > 0 {
		lost := s
		lost.left.lostAnswers--
		each(move{what: d.step.String(), but: "lost"}, lost)
	}
	w.takeOut(&s)
	if d.step == job.Bury {
		s.facts |= buried
	}
	each(move{what: d.step.String()}, s)
}

// takeOut ends the message. By then the record alone must lead to the run's end.
func (w *world) takeOut(s *worldState) {
	run := w.run(s.record)
	if !s.has(recordLost) && (s.record == 0 || run.JobUID == "" && !run.Phase.Final()) {
		s.facts |= lostItsMessage
	}
	s.facts &^= queued
}

// capture keeps what there is.
func (w *world) capture(s *worldState, who int) {
	r := &s.runners[who]
	r.clear(kept)
	switch j := s.jobs[r.name]; {
	case j.uid() != r.object.uid():
		r.set(keptNone)
	case j.is(ended):
		r.set(keptAll)
	default:
		r.set(keptSome)
	}
}

func (w *world) arm(s *worldState, who int, d decision) {
	r := &s.runners[who]
	for i := range s.jobs {
		if j := &s.jobs[i]; j.uid() == d.uid {
			*j |= armed
			if run := w.run(s.record); !run.Phase.Final() || run.JobUID != fmt.Sprint(d.uid) || len(run.Log) == 0 && j.is(ended) {
				s.facts |= armedEarly
			}
		}
	}
	r.object |= armed
}
