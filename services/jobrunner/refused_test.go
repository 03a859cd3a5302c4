package jobrunner

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicefaas/sluice/pkg/job"
)

// isRefused reports whether a definition says that it is not used because of that, and no Job could be made of it.
func isRefused(d job.Definition, why string) bool {
	return strings.Contains(d.Refused, why) && d.Template == nil && len(d.Problems) == 0
}

// unreadable is a CronJob that cannot be read.
func unreadable(name string) job.Definition {
	return job.RefusedDefinition(name, "CronJob/"+name, "it cannot be read")
}

// TestRefusedDefinitionStartsNothing: not with any leader, not on NATS, and no fallback stands for it.
func TestRefusedDefinitionStartsNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("bad", 1, image("refused/a")), unreadable("broken"), definition("rest", 1, func(d *job.Definition) { d.Fallback = true }))
	for range 2 {
		r := f.startSynced()
		if all := f.shared(); len(all) != 3 || !isRefused(all["bad"], "refused/a") || !isRefused(all["broken"], "it cannot be read") {
			t.Fatalf("the bucket has %+v", all)
		}
		for _, name := range []string{"bad", "broken"} {
			if _, known := (observer{r.Runner}).LastDefinition(name); known {
				t.Errorf("%s counts as one that was valid", name)
			}
			f.publishRaw(name, "", "", "")
		}
		f.publishRaw("else", "", "", "")
		eventually(t, "the requests are given up, and the fallback's runs", func() bool {
			dead := len(f.dead())
			return dead > 0 && dead%2 == 0 && f.api.unfinished("rest") == 1
		})
		r.stop()
	}
	for _, dead := range f.dead() {
		if dead.reason != reasonUnknownJob || !strings.Contains(dead.detail, "refused/a") && !strings.Contains(dead.detail, "it cannot be read") {
			t.Errorf("the dead letter %+v", dead)
		}
	}
	if f.api.unfinished("bad")+f.api.unfinished("broken") > 0 {
		t.Error("a refused one has runs")
	}
}

// TestRefusedDefinitionIsMended: also when it is not the definition that has changed.
func TestRefusedDefinitionIsMended(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fixed", 1, image("refused/a")), definition("allowed", 1), unreadable("broken"))
	f.api.script = func(r request) error {
		if r.verb == "check" && r.name == "allowed" {
			return ErrInvalid
		}
		return nil
	}
	f.startSynced()
	if all := f.shared(); all["fixed"].Refused == "" || all["allowed"].Refused == "" || all["broken"].Refused == "" {
		t.Fatalf("the bucket has %+v", all)
	}
	f.api.define(definition("fixed", 1, generation("g2")))
	f.api.define(definition("broken", 1))
	f.api.set(func() { f.api.script = nil })
	for _, name := range []string{"fixed", "allowed", "broken"} {
		eventually(t, name+" is used", func() bool { d := f.shared()[name]; return d.Refused == "" && d.Template != nil })
		f.publish(name, "r1", "")
		f.phase(name, "r1", job.Running)
	}
	f.api.define(unreadable("broken"))
	eventually(t, "it is refused again", func() bool { return isRefused(f.shared()["broken"], "it cannot be read") })
	f.api.undefine("broken")
	eventually(t, "it is gone", func() bool { _, there := f.shared()["broken"]; return !there })
}

// TestUnreadableCronJobTakesNothingAway from the configuration, whose job of the name is good.
func TestUnreadableCronJobTakesNothingAway(t *testing.T) {
	t.Parallel()
	f := newFixture(t, unreadable("fib"))
	f.config.JobsConfiguration = SlimFaasJobs{Definitions: []job.Definition{definition("fib", 7, func(d *job.Definition) { d.Source = job.SourceSlimFaas })}}
	f.startSynced()
	if d := f.shared()["fib"]; d.Refused != "" || d.Parallel != 7 {
		t.Errorf("it is %+v", d)
	}
}

// TestComplaints: people are told once for each generation and reason, by each leader, in words that say what holds.
func TestComplaints(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("bad", 1, image("refused/a")), definition("good", 1))
	said := func() (said []string) {
		f.api.set(func() { said = slices.Sorted(slices.Values(f.api.complaints)) })
		return said
	}
	checked := func(checks int) {
		before := f.api.count("check")
		eventually(t, "it is checked again", func() bool { return f.api.count("check") >= before+checks })
	}
	r := f.startSynced()
	f.api.define(definition("good", 1, generation("g2"), image("refused/b")))
	checked(6)
	want := []string{
		`bad g1: the definition is not used: spec.template.spec.containers[0].image: Invalid value: "refused/a"`,
		`good g2: the definition as it is now is not used, as it was before holds: spec.template.spec.containers[0].image: Invalid value: "refused/b"`,
	}
	if got := said(); !slices.Equal(got, want) {
		t.Errorf("people are told %q", got)
	}
	if lines := r.logs.with("the definition is refused", `"job":"bad"`, "refused/a"); len(lines) != 1 {
		t.Errorf("the log has %q", lines)
	}
	f.api.define(definition("bad", 1, generation("g2"), image("refused/a")))
	eventually(t, "the next generation is one to tell of", func() bool { return len(said()) == 3 })
	r.stop()
	f.startSynced()
	eventually(t, "the next leader tells of it as well", func() bool { return len(said()) == 5 })
	checked(6)
	if got := said(); len(got) != 5 {
		t.Errorf("people are told %q", got)
	}
}

// TestCheckOfDefinitionsWithoutAnImage: what a request must give is given, and what no request can have is not checked.
func TestCheckOfDefinitionsWithoutAnImage(t *testing.T) {
	t.Parallel()
	given, warnings, err := job.FromSlimFaas(`{"Configurations":{"ours":{"ImagesWhitelist":["example/x:*"]},"wrong":{"ImagesWhitelist":["refused/x:*"]}}}`)
	if err != nil || len(warnings) > 0 {
		t.Fatal(warnings, err)
	}
	f := newFixture(t)
	f.config.JobsConfiguration = SlimFaasJobs{Definitions: given}
	r := f.startSynced()
	all := f.shared()
	if all["ours"].Refused != "" || all["default"].Refused != "" || !isRefused(all["wrong"], "refused/x:x") {
		t.Errorf("the bucket has %+v", all)
	}
	if lines := r.logs.with("refused", `"job":"default"`); len(lines) > 0 {
		t.Errorf("the log has %q", lines)
	}
	f.publish("ours", "r1", `{"image":"example/x:1"}`)
	f.phase("ours", "r1", job.Running)
	never(t, 2*quick.recheck, "it is refused later", func() bool { return f.shared()["default"].Refused != "" })
}

func TestVerdict(t *testing.T) {
	t.Parallel()
	k := kind{name: "fib", cron: &job.Definition{Name: "fib", Generation: "g2"}, checked: "g2", verdict: "new", tried: &job.Definition{Name: "fib", Generation: "g1"}}
	good := job.Definition{Name: "fib", Generation: "g1", Problems: []string{"a", refusedChange + "old"}}
	k.good = &good
	if got := k.effective(); !slices.Equal(got.Problems, []string{"a", refusedChange + "new"}) || len(good.Problems) != 2 || got.Refused != "" {
		t.Errorf("it is %+v", got)
	}
	// A new version that was not checked yet is not used, and the one that holds, although it could not be checked, goes on.
	k = kind{name: "fib", cron: &job.Definition{Name: "fib", Generation: "g2"}, tried: &job.Definition{Name: "fib", Generation: "g1"}}
	if got := k.effective(); got == nil || got.Generation != "g1" {
		t.Errorf("it is %+v", got)
	}
	r := New(Config{}, Deps{Cluster: newAPIServer(t), Registry: prometheus.NewRegistry()})
	k = kind{name: "fib", cron: &job.Definition{Name: "fib", Refused: "it cannot be read"}}
	r.onChecked(&k, job.Definition{Name: "fib", Generation: "g1"}, ErrInvalid, time.Now())
	if k.checked != "" || k.verdict != "" {
		t.Errorf("the verdict about an earlier version counts: %+v", k)
	}
}
