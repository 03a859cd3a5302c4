package jobrunner

import (
	"fmt"
	"time"

	"github.com/sluicefaas/sluice/pkg/job"
)

// plan is what the pods of a Job do by themselves: they end so after that time, or wait for the test if End is empty.
type plan struct {
	after time.Duration
	end   job.Phase
}

// startLocked starts the pods of a Job, as Kubernetes' Job controller does.
func (s *apiServer) startLocked(o *object) {
	if o.Deleting || o.Started() {
		return
	}
	k := fmt.Sprintf("%s.%s/%d", o.Definition, o.RunID, o.Attempt)
	s.started[k] = append(s.started[k], o.UID)
	var p plan
	if s.plan != nil {
		p = s.plan(o.Object)
	}
	if p.end == stuck {
		return
	}
	o.StartedAt = time.Now()
	o.Counts.Active, o.Counts.Ready = o.parallelism, o.parallelism
	for range o.parallelism {
		s.births++
		pod := job.Pod{
			Name: fmt.Sprintf("%s-%d", o.Name, s.births), Phase: "Running", StartedAt: time.Now(), Containers: []job.Container{{Name: "main"}},
		}
		o.Pods = append(o.Pods, pod)
		s.outputs[outputKey{pod.Name, "main"}] = &outputScript{text: "output of " + o.RunID + "\n", ended: make(chan struct{})}
	}
	s.changedLocked(o)
	if p.end != "" {
		s.laterLocked(p.after, func() { s.endLocked(o, p.end) })
	}
}

// stuck is the end of a plan whose pods never start.
const stuck = job.Phase("stuck")

// laterLocked does something after a time.
func (s *apiServer) laterLocked(d time.Duration, do func()) {
	s.timers.Add(1)
	time.AfterFunc(d, func() {
		defer s.timers.Done()
		s.mu.Lock()
		defer s.mu.Unlock()
		do()
	})
}

// endLocked lets the pods of a Job end, and with them the Job.
func (s *apiServer) endLocked(o *object, end job.Phase) {
	if o.End != "" || o.Deleting || s.jobs[o.Name] != o {
		return
	}
	code, reason := 0, "CompletionsReached"
	o.Counts = job.Counts{Succeeded: o.parallelism}
	if end == job.Failed {
		code, reason = 1, "BackoffLimitExceeded"
		o.Counts = job.Counts{Failed: o.parallelism}
	}
	o.End, o.EndReason, o.FinishedAt = end, reason, time.Now()
	for i := range o.Pods {
		o.Pods[i].Phase, o.Pods[i].Containers = string(end), []job.Container{{Name: "main", ExitCode: &code}}
		s.silenceLocked(o.Pods[i].Name, false)
	}
	s.changedLocked(o)
}

// silenceLocked ends the output of a pod.
func (s *apiServer) silenceLocked(pod string, gone bool) {
	o := s.outputs[outputKey{pod, "main"}]
	if o == nil {
		return
	}
	select {
	case <-o.ended:
	default:
		close(o.ended)
	}
	o.gone = o.gone || gone
}

// deleteLocked begins to delete a Job: it goes when its pods have ended.
func (s *apiServer) deleteLocked(o *object) {
	o.Deleting = true
	o.Counts.Terminating, o.Counts.Active, o.Counts.Ready = o.Counts.Active, 0, 0
	s.changedLocked(o)
	if !s.holdPods {
		s.laterLocked(time.Millisecond, func() { s.goneLocked(o) })
	}
}

func (s *apiServer) goneLocked(o *object) {
	if s.jobs[o.Name] != o {
		return
	}
	delete(s.jobs, o.Name)
	s.version++
	for _, pod := range o.Pods {
		s.silenceLocked(pod.Name, true)
	}
	name, uid := o.Name, o.UID
	s.tellLocked(func(observer Observer) { observer.Forget(name, uid) })
}

// end lets the Job of a run end.
func (s *apiServer) end(id string, end job.Phase) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.ofLocked(id)
	if o == nil {
		s.t.Fatalf("there is no Job of run %s", id)
	}
	s.endLocked(o, end)
}

// ofLocked is the Job of a run, nil if there is none.
func (s *apiServer) ofLocked(id string) *object {
	for _, o := range s.jobs {
		if o.RunID == id {
			return o
		}
	}
	return nil
}

// of is a copy of it.
func (s *apiServer) of(id string) *job.Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.ofLocked(id); o != nil {
		seen := o.seen()
		return &seen
	}
	return nil
}

// change changes the Job of a run, and tells.
func (s *apiServer) change(id string, edit func(*object)) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.ofLocked(id)
	if o == nil {
		s.t.Fatalf("there is no Job of run %s", id)
	}
	edit(o)
	s.changedLocked(o)
}

// remove takes the Job of a run away, with its pods, as a person or the TTL does.
func (s *apiServer) remove(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.ofLocked(id); o != nil {
		s.goneLocked(o)
	}
}

// put makes a Job as it is, as one that was created some time ago.
func (s *apiServer) put(o *object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.births++
	o.UID = fmt.Sprintf("uid-%d", s.births)
	s.jobs[o.Name] = o
	s.changedLocked(o)
}

// unfinished counts the Jobs of a definition whose pods run, or may.
func (s *apiServer) unfinished(definition string) (count int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.jobs {
		if o.Definition == definition && o.End == "" {
			count++
		}
	}
	return count
}

// podSets are the UIDs of the Jobs of a run whose pods were started.
func (s *apiServer) podSets(definition, id string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.started[fmt.Sprintf("%s.%s/1", definition, id)]
}

// onceAll checks that no attempt of any run had two sets of pods, and returns how many had one.
func (s *apiServer) onceAll() int {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for attempt, uids := range s.started {
		if len(uids) != 1 {
			s.t.Errorf("the pods of %s were started by %d Jobs: %v", attempt, len(uids), uids)
		}
	}
	return len(s.started)
}

func (s *apiServer) count(verb string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[verb]
}

// set changes what the server does.
func (s *apiServer) set(edit func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	edit()
}

func (s *apiServer) define(d job.Definition) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.definitions[d.Name] = d
	s.tellLocked(func(o Observer) { o.Define(d) })
}

func (s *apiServer) undefine(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.definitions, name)
	s.tellLocked(func(o Observer) { o.Undefine(name) })
}

func (s *apiServer) workload(name string, ready bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.workloads[name] = ready
	s.tellLocked(func(o Observer) { o.Workload(name, readyCount(ready), true) })
}
