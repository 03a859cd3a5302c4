package scaler

import (
	"fmt"
	"maps"
	"time"

	"github.com/sluicefaas/sluice/pkg/autoscale"
	"github.com/sluicefaas/sluice/pkg/function"
)

// dependencies is who depends on whom, and what they ask of each other. The goroutine of Run owns it.
type dependencies struct {
	graph function.Graph
	// all has what a function depends on, directly or not, the nearest first, as far as somebody has asked.
	all map[string][]string
	// stale are the functions whose DependsOn the graph does not have yet: they are decided about when it has.
	stale map[string]struct{}
	// users are those that depend on a workload, directly or not, by its name.
	users map[string]*users
	// watched are the workloads that are no functions, with how many of their pods are ready.
	watched map[string]int
	// synced says that every workload that existed at the start is known.
	synced bool
	// next are the functions that are to be decided about because of others.
	next map[string]struct{}
}

// users are the functions that depend on one workload, directly or not: how many of them are in use, and how many wait to start.
type users struct {
	inUse, waiting int
	lastActivity   time.Time
	// told is when the workload was last decided about because of them.
	told time.Time
}

// asks is what a function asks of those that it depends on.
type asks struct {
	inUse, waits bool
	lastActivity time.Time
}

// readiness is how much of a workload is ready; known says that there is one.
type readiness struct {
	ready, want int
	known       bool
}

func newDependencies() dependencies {
	return dependencies{
		all: map[string][]string{}, stale: map[string]struct{}{}, users: map[string]*users{}, watched: map[string]int{}, next: map[string]struct{}{},
	}
}

// of returns what the function depends on, directly or not.
func (d *dependencies) of(name string) []string {
	if len(d.graph.DependsOn(name)) == 0 {
		return nil
	}
	if all, known := d.all[name]; known {
		return all
	}
	d.all[name] = reach(name, d.graph.DependsOn)
	return d.all[name]
}

// reach returns what can be reached from name in steps, the nearest first.
func reach(name string, step func(string) []string) []string {
	var all []string
	seen := map[string]struct{}{name: {}}
	for queue := []string{name}; len(queue) > 0; queue = queue[1:] {
		for _, next := range step(queue[0]) {
			if _, known := seen[next]; !known {
				seen[next] = struct{}{}
				all, queue = append(all, next), append(queue, next)
			}
		}
	}
	return all
}

// user returns what is known of those that depend on name.
func (d *dependencies) user(name string) *users {
	if d.users[name] == nil {
		d.users[name] = &users{}
	}
	return d.users[name]
}

// others is the same as a signal.
func (d *dependencies) others(name string) autoscale.Others {
	u := d.users[name]
	if u == nil {
		return autoscale.Others{}
	}
	return autoscale.Others{InUse: u.inUse > 0, Waiting: u.waiting > 0, LastActivity: u.lastActivity}
}

// observeWatched takes what the cluster reports of a workload that is no function.
func (s *Scaler) observeWatched(w function.Workload) {
	name, ready := w.Function.Name, 0
	if f := s.functions[name]; f != nil && f.present {
		s.forget(name)
	}
	for _, pod := range w.Pods {
		if pod.Ready {
			ready++
		}
	}
	before, known := s.dependencies.watched[name]
	s.dependencies.watched[name] = ready
	if !known || min(before, 1) != min(ready, 1) {
		s.readinessChanged(name, !known)
	}
}

// forgetWatched drops a workload that is no function, or that has become one.
func (s *Scaler) forgetWatched(name string) {
	if _, known := s.dependencies.watched[name]; known {
		delete(s.dependencies.watched, name)
		s.readinessChanged(name, true)
	}
}

// readinessChanged has those decided about that may wait for name, or all that depend on it.
func (s *Scaler) readinessChanged(name string, all bool) {
	d := &s.dependencies
	for _, dependent := range reach(name, d.graph.Dependents) {
		if f := s.functions[dependent]; f != nil && f.present && (all || f.state.Replicas == 0 || d.others(dependent).Waiting) {
			d.next[dependent] = struct{}{}
		}
	}
}

// readiness is how much of a workload is ready.
func (s *Scaler) readiness(name string) readiness {
	if f := s.functions[name]; f != nil && f.present {
		return f.readiness()
	}
	ready, known := s.dependencies.watched[name]
	return readiness{ready: min(ready, 1), want: 1, known: known}
}

// readiness is how much of a function is ready. One whose count cannot be changed has no more than there are.
func (f *tracked) readiness() readiness {
	want := max(f.workload.Function.ReplicasAtStart, 1)
	if f.workload.Fixed {
		want = min(want, max(f.workload.Replicas, 1))
	}
	return readiness{ready: min(f.ready, want), want: want, known: true}
}

// waits says in words what f depends on and is not ready.
func (s *Scaler) waits(f *tracked) []string {
	var waits []string
	for _, name := range s.dependencies.of(f.name) {
		switch r := s.readiness(name); {
		case !r.known:
			waits = append(waits, name+" (unknown)")
		case r.ready < r.want:
			waits = append(waits, fmt.Sprintf("%s (%d of %d ready)", name, r.ready, r.want))
		}
	}
	return waits
}

// dependencyProblems are the sentences about the annotation DependsOn. That there is no such workload can be said when all are known.
func (s *Scaler) dependencyProblems(f *tracked) []string {
	var problems []string
	if problem := s.dependencies.graph.Problem(f.name); problem != "" {
		problems = append(problems, problem)
	}
	if !s.dependencies.synced {
		return problems
	}
	for _, name := range s.dependencies.graph.DependsOn(f.name) {
		if !s.readiness(name).known {
			problems = append(problems, fmt.Sprintf("annotation DependsOn names %s, which is no workload here: the function is not started before there is one", name))
		}
	}
	return problems
}

// tell lets the functions that depend on f, and those that it depends on, know what has changed.
func (s *Scaler) tell(f *tracked, signals autoscale.Signals, now time.Time) {
	if r := f.readiness(); r != f.told {
		s.readinessChanged(f.name, !f.told.known)
		f.told = r
	}
	signals.Replicas = f.state.Replicas
	spec := f.workload.Function
	s.ask(f, asks{
		inUse:        autoscale.InUse(now, spec, signals),
		waits:        autoscale.Waits(now, spec, signals),
		lastActivity: autoscale.LastActivity(now, spec, signals),
	}, now)
}

// ask changes what f asks of those that it depends on. They are decided about where that may matter now.
func (s *Scaler) ask(f *tracked, asks asks, now time.Time) {
	before := f.asks
	f.asks = asks
	if asks == before {
		return
	}
	for _, name := range s.dependencies.of(f.name) {
		u := s.dependencies.user(name)
		was := *u
		u.inUse += count(asks.inUse) - count(before.inUse)
		u.waiting += count(asks.waits) - count(before.waits)
		u.note(asks.lastActivity)
		if before.inUse && !asks.inUse {
			u.note(now)
		}
		dependency := s.functions[name]
		if dependency == nil || !dependency.present {
			continue
		}
		changed := (u.inUse > 0) != (was.inUse > 0) || (u.waiting > 0) != (was.waiting > 0)
		if changed || dependency.state.Replicas == 0 || now.Sub(u.told) > s.timing.tick/2 {
			u.told = now
			s.dependencies.next[name] = struct{}{}
		}
	}
}

func (u *users) note(at time.Time) {
	if at.After(u.lastActivity) {
		u.lastActivity = at
	}
}

func count(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// settle makes the graph anew, if need be and nothing else is waiting to be handled, and decides about all that others have changed.
// Thousands of functions that come at once need few graphs.
func (s *Scaler) settle(now time.Time) {
	if len(s.dependencies.stale) > 0 && len(s.events) == 0 {
		s.regraph()
	}
	s.decideNext(now)
}

// decideNext decides about functions because of others, until nothing changes.
func (s *Scaler) decideNext(now time.Time) {
	for next := s.dependencies.next; len(next) > 0; {
		for name := range next {
			delete(next, name)
			if f := s.functions[name]; f != nil && f.present {
				s.decide(f, now)
			}
		}
	}
}

// regraph makes the graph anew and has all decided about that are in it.
func (s *Scaler) regraph() {
	d := &s.dependencies
	dependsOn := map[string][]string{}
	for name, f := range s.functions {
		if f.present && len(f.workload.Function.DependsOn) > 0 {
			dependsOn[name] = f.workload.Function.DependsOn
		}
	}
	d.graph = function.NewGraph(dependsOn)
	d.all, d.users = map[string][]string{}, map[string]*users{}
	maps.Copy(d.next, d.stale)
	clear(d.stale)
	for name := range dependsOn {
		d.next[name] = struct{}{}
		f := s.functions[name]
		for _, dependency := range d.of(name) {
			u := d.user(dependency)
			u.inUse += count(f.asks.inUse)
			u.waiting += count(f.asks.waits)
			u.note(f.asks.lastActivity)
			d.next[dependency] = struct{}{}
		}
	}
}
