package jobrunner

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/pkg/job"
)

// needs are the workloads that runs depend on. The goroutine of Run owns it.
type needs struct {
	// ready says of each workload that exists, by its kind and name, whether it has a ready replica of its newest generation.
	ready map[string]bool
	// users counts the runs that wait for a workload or use it, and woken is when it was last asked to start.
	users map[string]int
	woken map[string]time.Time
	// told says that the last report named any.
	told bool
}

func newNeeds() needs {
	return needs{ready: map[string]bool{}, users: map[string]int{}, woken: map[string]time.Time{}}
}

// workload is the name of a dependency without its kind: Deployment/mysql is mysql.
func workload(dependency string) string {
	if _, name, found := strings.Cut(dependency, "/"); found {
		return name
	}
	return dependency
}

// state is what is known of a dependency. One without a kind is whatever has the name, and of two both have to be ready.
func (n *needs) state(dependency string) (ready, known bool) {
	if strings.Contains(dependency, "/") {
		ready, known = n.ready[dependency]
		return ready, known
	}
	ready = true
	for _, kind := range []string{function.KindDeployment, function.KindStatefulSet} {
		if one, there := n.ready[kind+"/"+dependency]; there {
			ready, known = ready && one, true
		}
	}
	return ready && known, known
}

// block reports whether a run with these dependencies has to wait. One that nobody knows of is never ready (row 23 of the bugs of others).
func (n *needs) block(dependencies []string) bool {
	return slices.ContainsFunc(dependencies, func(d string) bool { ready, _ := n.state(d); return !ready })
}

// gate says what a run waits for. synced says that a workload which is not known does not exist.
func (n *needs) gate(dependencies []string, synced bool) job.Gate {
	var missing, asleep []string
	for _, d := range dependencies {
		ready, known := n.state(d)
		switch {
		case ready:
		case known || !synced:
			asleep = append(asleep, d)
		default:
			missing = append(missing, d)
		}
	}
	switch {
	case len(missing) > 0:
		return job.Gate{Phase: job.Waiting, Reason: job.ReasonDependencyNotFound, Message: fmt.Sprintf("there is no workload %s", strings.Join(missing, ", "))}
	case len(asleep) > 0:
		return job.Gate{Phase: job.Waiting, Reason: job.ReasonDependencyNotReady, Message: "no replica is ready of " + strings.Join(asleep, ", ")}
	}
	return job.Gate{}
}

// onWorkload notes whether a workload is ready.
func (r *Runner) onWorkload(name string, ready bool) {
	if before, known := r.needs.ready[name]; known && before == ready {
		return
	}
	r.needs.ready[name] = ready
	r.reviewUsers(workload(name))
}

func (r *Runner) onWorkloadGone(name string) {
	delete(r.needs.ready, name)
	r.reviewUsers(workload(name))
}

// reviewUsers has the definitions reviewed whose requests may wait for the workload.
func (r *Runner) reviewUsers(name string) {
	if r.needs.users[name] > 0 {
		r.reviewAll()
	}
}

// need counts the run among those that need their dependencies, from when its request is in our hands until its Job is over: not for as long as that is kept.
func (r *Runner) need(t *tracked, tracked bool) {
	needing := tracked && t.known && (t.waits() && t.delivery != nil || t.created() && t.unended())
	if needing == t.needing {
		return
	}
	if t.needing = needing; needing {
		t.needed = t.run.DependsOn
	}
	for _, d := range t.needed {
		r.needWorkload(workload(d), needing)
	}
}

func (r *Runner) needWorkload(name string, needed bool) {
	n := &r.needs
	if !needed {
		if n.users[name]--; n.users[name] <= 0 {
			delete(n.users, name)
			delete(n.woken, name)
		}
		return
	}
	if n.users[name]++; n.users[name] == 1 {
		n.told = true
		r.wake(name, time.Now())
		r.report(bus.Activity{Partial: true, Functions: map[string]bus.FunctionActivity{name: {InFlight: 1}}})
	}
}

// wake asks for a start of the workload, if it is a function.
func (r *Runner) wake(name string, now time.Time) {
	if ready, _ := r.needs.state(name); ready || now.Sub(r.needs.woken[name]) < r.timing.wake {
		return
	}
	r.needs.woken[name] = now
	if err := r.deps.Bus.Wake(name); err != nil {
		r.deps.Logger.Debug().Err(err).Str("function", name).Msg("the wake was not sent")
	}
}

// keepAwake tells the scaler which functions jobs need, and wakes those again that are not ready. One run counts as much as many: a run is not a call, by which load is
// measured.
func (r *Runner) keepAwake(now time.Time) {
	if len(r.needs.users) == 0 && !r.needs.told {
		return
	}
	report := bus.Activity{Functions: map[string]bus.FunctionActivity{}}
	for name := range maps.Keys(r.needs.users) {
		report.Functions[name] = bus.FunctionActivity{InFlight: 1}
		r.wake(name, now)
	}
	r.needs.told = len(report.Functions) > 0
	r.report(report)
}

// leaveFunctions says that we need no function any more.
func (r *Runner) leaveFunctions() {
	if r.needs.told {
		r.report(bus.Activity{Leaving: true})
	}
}

func (r *Runner) report(activity bus.Activity) {
	activity.Sender, activity.Kind = r.deps.Name, bus.KindJobrunner
	if err := r.deps.Bus.ReportActivity(activity); err != nil {
		r.deps.Logger.Debug().Err(err).Msg("activity was not reported")
	}
}
