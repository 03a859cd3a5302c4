package jobrunner

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/job"
)

// scalerEar hears what a scaler would.
type scalerEar struct {
	mu    sync.Mutex
	wakes map[string]int          // guarded by mu
	last  map[string]bus.Activity // guarded by mu: by sender
}

func (f *fixture) scaler() *scalerEar {
	f.t.Helper()
	ear := &scalerEar{wakes: map[string]int{}, last: map[string]bus.Activity{}}
	stopWakes, err := f.bus.OnWake(func(name string) {
		ear.mu.Lock()
		defer ear.mu.Unlock()
		ear.wakes[name]++
	})
	if err != nil {
		f.t.Fatal(err)
	}
	stopActivity, err := f.bus.OnActivity(func(a bus.Activity) {
		ear.mu.Lock()
		defer ear.mu.Unlock()
		ear.last[a.Sender] = a
	})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { stopWakes(); stopActivity() })
	return ear
}

func (e *scalerEar) woken(name string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.wakes[name]
}

// needed reports whether a living jobrunner keeps the function awake.
func (e *scalerEar) needed(name string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, a := range e.last {
		if a.Kind == bus.KindJobrunner && !a.Leaving && a.Functions[name].InFlight > 0 {
			return true
		}
	}
	return false
}

// delivered is what the server has given out of a definition's queue: messages that are not acknowledged, and deliveries beyond the first.
func (f *fixture) delivered(js jetstream.JetStream, name string) (pending, again int) {
	f.t.Helper()
	consumer, err := js.Consumer(f.t.Context(), "sluice-jobs", name)
	if err != nil {
		f.t.Fatal(err)
	}
	info := consumer.CachedInfo()
	return info.NumAckPending, info.NumRedelivered
}

// TestH7 (jobs.md): a definition waits for a Deployment that is asleep, another one for nothing.
func TestH7(t *testing.T) {
	t.Parallel()
	const parallel = 3
	needsDB := func(d *job.Definition) { d.DependsOn = []string{"Deployment/db"} }
	f := newFixture(t, definition("a", parallel, needsDB), definition("b", 2), definition("few", parallel, needsDB))
	f.ackWait = 4 * time.Second
	f.api.workload("Deployment/db", false)
	f.api.plan = func(o job.Object) plan {
		if o.Definition == "b" {
			return plan{end: job.Succeeded}
		}
		return plan{}
	}
	ear := f.scaler()
	first := f.startSynced()
	for i := range 200 {
		f.publish("a", fmt.Sprint("a", i), "")
	}
	f.publish("few", "f1", "") // more than that would be taken, so that it would come again
	f.phase("few", "f1", job.Waiting)
	f.await("a", "a0", "waiting", func(r job.Run) bool {
		return r.Phase == job.Waiting && r.Reason == job.ReasonDependencyNotReady && r.Message != ""
	})
	for i := range 5 {
		f.publish("b", fmt.Sprint("b", i), "")
		f.closed("b", fmt.Sprint("b", i), job.Succeeded)
	}
	eventually(t, "the Deployment is woken again and again, and kept awake", func() bool { return ear.woken("db") > 2 && ear.needed("db") })
	js, err := jetstream.New(f.raw())
	if err != nil {
		t.Fatal(err)
	}
	_, before := f.delivered(js, "a") // what the server could not deliver because nobody asked any more came again at once
	for deadline := time.Now().Add(3 * f.ackWait); time.Now().Before(deadline); <-time.After(100 * time.Millisecond) {
		pending, again := f.delivered(js, "a")
		if _, one := f.delivered(js, "few"); pending > maxHeld || again > before || one > 0 {
			t.Fatalf("%d requests are taken where %d are held; %d after %d, and %d, came again", pending, maxHeld, again, before, one)
		}
	}
	if f.api.unfinished("a") > 0 {
		t.Fatal("a Job was started before its dependency was ready")
	}

	first.stop()
	f.startSynced()
	f.api.workload("Deployment/db", false) // it has replicas, none of them ready
	never(t, 300*time.Millisecond, "a Job is started before its dependency is ready", func() bool { return f.api.unfinished("a") > 0 })
	f.api.workload("Deployment/db", true)
	eventually(t, "as many run as may", func() bool { return f.api.unfinished("a") == parallel })
	never(t, 300*time.Millisecond, "more run than may", func() bool { return f.api.unfinished("a") > parallel })
	for i := range parallel {
		f.phase("a", fmt.Sprint("a", i), job.Running)
	}
	if depths, err := f.bus.JobDepths(t.Context()); err != nil || depths["a"] != 200-parallel {
		t.Errorf("%d requests are queued: %v", depths["a"], err)
	}
}

// TestKeptAwakeUntilTheEnd: a dependency is kept awake until the last run is over, and not for as long as its Job is kept.
func TestKeptAwakeUntilTheEnd(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("a", 3, func(d *job.Definition) { d.DependsOn = []string{"db", "StatefulSet/cache"} }))
	f.api.workload("Deployment/db", true)
	f.api.workload("StatefulSet/cache", true)
	ear := f.scaler()
	r := f.startSynced()
	f.publish("a", "r1", "")
	f.publish("a", "r2", "")
	f.phase("a", "r1", job.Running)
	f.phase("a", "r2", job.Running)
	f.api.end("r1", job.Succeeded)
	f.closed("a", "r1", job.Succeeded)
	never(t, 200*time.Millisecond, "it may sleep although a run uses it", func() bool { return !ear.needed("db") || !ear.needed("cache") })
	if ear.woken("db") > 0 {
		t.Error("it was woken although it was ready")
	}
	f.api.workload("Deployment/db", false)
	never(t, 100*time.Millisecond, "the run ends because its dependency is gone", func() bool { return f.run("a", "r2").Phase != job.Running })
	f.api.end("r2", job.Succeeded)
	eventually(t, "it may sleep", func() bool { return !ear.needed("db") && !ear.needed("cache") })
	if f.api.of("r2") == nil {
		t.Error("the Job is not kept: the test says nothing")
	}
	r.inside(func(time.Time) {
		if len(r.needs.users) > 0 {
			t.Errorf("used still: %v", r.needs.users)
		}
	})
}
