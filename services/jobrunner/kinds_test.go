package jobrunner

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/job"
)

// shared is the definitions bucket.
func (f *fixture) shared() map[string]job.Definition {
	f.t.Helper()
	bucket, err := f.bus.OpenDefinitions(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	all, err := bucket.Load(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	return all
}

func generation(g string) func(*job.Definition) {
	return func(d *job.Definition) { d.Generation = g }
}

func image(i string) func(*job.Definition) {
	return func(d *job.Definition) { d.Template = template("", "Never", i) }
}

func TestDefinitionsAreShared(t *testing.T) {
	t.Parallel()
	given := definition("both", 7, func(d *job.Definition) { d.Source = "SLIMFAAS_JOBS_CONFIGURATION" })
	f := newFixture(t, definition("cron", 1), definition("both", 2, generation("cron")))
	f.config.JobsConfiguration = SlimFaasJobs{
		Definitions: []job.Definition{given, definition("json", 3, func(d *job.Definition) { d.Source = given.Source })},
		Warnings:    []string{"something is odd"},
	}
	r := f.startSynced()
	all := f.shared()
	if len(all) != 3 || all["cron"].Parallel != 1 || all["json"].Parallel != 3 {
		t.Errorf("the bucket has %+v", all)
	}
	if all["both"].Parallel != 2 {
		t.Error("the configuration wins over the CronJob of the same name")
	}
	if len(r.logs.with("something is odd")) != 1 {
		t.Error("the warning is not logged")
	}
	f.api.undefine("both")
	eventually(t, "the configuration's holds", func() bool { return f.shared()["both"].Parallel == 7 })
	f.api.define(definition("both", 4, generation("cron-2")))
	eventually(t, "the CronJob's holds again", func() bool { return f.shared()["both"].Parallel == 4 })
	f.api.undefine("cron")
	eventually(t, "one that is gone is removed", func() bool { _, there := f.shared()["cron"]; return !there })
}

// TestRefusedDefinition: a generation that the cluster refuses is not used and says why, and the last good one stays, with the reason.
func TestRefusedDefinition(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("good", 1), definition("bad", 1, image("refused/a")))
	r := f.startSynced()
	if all := f.shared(); len(all) != 2 || len(all["good"].Problems) != 0 || !isRefused(all["bad"], "refused/a") {
		t.Errorf("the bucket has %+v", all)
	}
	f.api.define(definition("good", 5, generation("g2"), image("refused/b")))
	eventually(t, "the reason is shown", func() bool {
		d := f.shared()["good"]
		return d.Parallel == 1 && d.Generation == "g1" && len(d.Problems) == 1 && strings.Contains(d.Problems[0], "refused/b")
	})
	// Another leader comes to the same.
	r.stop()
	second := f.startSynced()
	if d := f.shared()["good"]; d.Generation != "g1" || len(d.Problems) != 1 {
		t.Errorf("with the next leader it is %+v", d)
	}
	if last, known := (observer{second.Runner}).LastDefinition("good"); !known || last.Generation != "g1" {
		t.Errorf("the last definition is %+v", last)
	}
	f.publish("good", "r1", "")
	if run := f.phase("good", "r1", job.Running); run.Generation != "g1" {
		t.Errorf("it ran with %s", run.Generation)
	}
	f.api.define(definition("good", 6, generation("g3")))
	eventually(t, "the next good one holds", func() bool { d := f.shared()["good"]; return d.Generation == "g3" && len(d.Problems) == 0 })
}

// TestDefinitionsWithoutAPIServer: what cannot be checked holds if there was none before, and is checked later.
func TestDefinitionsWithoutAPIServer(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("new", 1), definition("bad", 1, image("refused/a")))
	f.api.script = refuse("check", errServer)
	r := f.startSynced()
	if all := f.shared(); len(all) != 2 {
		t.Errorf("the bucket has %+v", all)
	}
	hang := make(chan struct{})
	answer := sync.OnceFunc(func() { close(hang) })
	t.Cleanup(answer)
	f.api.set(func() {
		f.api.script = func(made request) error {
			if made.verb == "check" {
				<-hang
			}
			return nil
		}
	})
	f.api.define(definition("new", 2, generation("g1b")))
	never(t, 200*time.Millisecond, "the one that holds is gone while the next one is checked", func() bool { return f.shared()["new"].Parallel != 1 })
	answer()
	eventually(t, "the bad one is not used", func() bool { return isRefused(f.shared()["bad"], "refused/a") })
	eventually(t, "the good one is checked", func() (good bool) {
		r.inside(func(time.Time) { good = r.kinds["new"].good != nil && r.kinds["new"].good.Parallel == 2 })
		return good
	})
	f.api.set(func() { f.api.script = refuse("check", errServer) })
	f.api.define(definition("new", 3, generation("g2")))
	never(t, 200*time.Millisecond, "one that is not checked takes the place of a good one", func() bool { return f.shared()["new"].Parallel == 3 })
	f.api.set(func() { f.api.script = nil })
	eventually(t, "it holds", func() bool { return f.shared()["new"].Parallel == 3 })
}

// TestDefinitionOfAnEarlierLeader is removed when nobody defines it any more, not before that is known.
func TestDefinitionOfAnEarlierLeader(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 1), definition("gone", 1))
	first := f.startSynced()
	first.stop()
	delete(f.api.definitions, "gone")
	mute := &muted{apiServer: f.api, release: make(chan struct{})}
	second := f.start(func(d *Deps) { d.Cluster = mute })
	eventually(t, "it runs", func() (reads bool) {
		second.inside(func(time.Time) { reads = second.read })
		return reads
	})
	never(t, 200*time.Millisecond, "it is removed although the cluster has not told all", func() bool { return len(f.shared()) != 2 })
	f.publish("fib", "r1", "")
	never(t, 200*time.Millisecond, "a request is taken although the slots are not known", func() bool { return f.api.of("r1") != nil })
	f.await("fib", "r1", "recorded", func(r job.Run) bool { return r.Phase == job.Queued })
	close(mute.release)
	eventually(t, "it is removed", func() bool { _, there := f.shared()["gone"]; return !there })
	f.phase("fib", "r1", job.Running)
}

// muted is a cluster that tells nothing for a while.
type muted struct {
	*apiServer
	release chan struct{}
}

func (m *muted) Watch(ctx context.Context, o Observer) error {
	select {
	case <-m.release:
		return m.apiServer.Watch(ctx, o)
	case <-ctx.Done():
		return nil
	}
}

// TestAnnouncedDefinitions: a reader that has missed a change of the bucket hears how new it is.
func TestAnnouncedDefinitions(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 1))
	heard := make(chan struct{}, 1)
	conn := f.raw()
	if _, err := conn.Subscribe((bus.Names{Prefix: "sluice"}).DefinitionsRevisionSubject(), func(*natsMsg) { signal(heard) }); err != nil {
		t.Fatal(err)
	}
	f.startSynced()
	select {
	case <-heard:
	case <-time.After(long):
		t.Fatal("nothing is announced")
	}
}

func TestSame(t *testing.T) {
	t.Parallel()
	a, b := definition("fib", 1), definition("fib", 1)
	b.Problems, b.DependsOn = []string{}, []string{}
	if !same(&a, &b) || same(&a, nil) || !same(nil, nil) {
		t.Error("equal definitions are not the same, or others are")
	}
	b.Problems = append(b.Problems, "x")
	if same(&a, &b) {
		t.Error("another problem is not noticed")
	}
	if slices.Equal(a.Problems, b.Problems) {
		t.Error("the comparison has changed one")
	}
}
