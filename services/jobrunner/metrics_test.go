package jobrunner

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicefaas/sluice/pkg/job"
)

// values are all that a registry has, as name{labels}; of a histogram, how many were observed.
func values(t testing.TB, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			var labels []string
			for _, pair := range metric.GetLabel() {
				labels = append(labels, pair.GetName()+"="+pair.GetValue())
			}
			name := family.GetName() + "{" + strings.Join(labels, ",") + "}"
			all[name] = metric.GetGauge().GetValue() + metric.GetCounter().GetValue() + float64(metric.GetHistogram().GetSampleCount())
		}
	}
	return all
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 2), definition("gone", 1))
	r := f.startSynced()
	for _, id := range []string{"r1", "r2", "r3"} {
		f.publish("fib", id, "")
	}
	f.phase("fib", "r1", job.Running)
	f.phase("fib", "r2", job.Running)
	f.publish("fib", "bad", `{"image":"other"}`)
	f.publishRaw("nobody", "n1", "", "")
	f.await("fib", "r3", "recorded", func(r job.Run) bool { return r.Sequence != 0 })
	f.await("fib", "bad", "recorded", func(r job.Run) bool { return r.Phase == job.Rejected })
	expect := func(want map[string]float64) {
		t.Helper()
		var got map[string]float64
		deadline := time.Now().Add(long)
		for {
			got = values(t, r.registry)
			wrong := ""
			for name, value := range want {
				if got[name] != value {
					wrong += fmt.Sprintf("%s is %v, want %v\n", name, got[name], value)
				}
			}
			if wrong == "" {
				return
			}
			if time.Now().After(deadline) {
				t.Fatal(wrong)
			}
			<-time.After(10 * time.Millisecond)
		}
	}
	expect(map[string]float64{
		"sluice_job_runs{definition=fib,phase=Running}": 2, "sluice_job_runs{definition=fib,phase=Queued}": 1, "sluice_job_runs{definition=fib,phase=Rejected}": 1,
		"sluice_job_slots_used{definition=fib}": 2, "sluice_job_slots_max{definition=fib}": 2, "sluice_job_slots_used{definition=gone}": 0,
		"sluice_job_queue_depth{definition=fib}": 2, "sluice_job_creates_total{outcome=created}": 2, "sluice_job_dead_total{reason=unknown-job}": 1,
	})
	eventually(t, "it is told how old the oldest request is", func() bool {
		age := values(t, r.registry)["sluice_job_queue_oldest_seconds{definition=fib}"]
		return age > 0 && age < 1000
	})
	f.api.end("r1", job.Succeeded)
	f.api.end("r2", job.Failed)
	f.phase("fib", "r3", job.Running)
	f.api.undefine("gone")
	expect(map[string]float64{
		"sluice_job_runs{definition=fib,phase=Succeeded}": 1, "sluice_job_runs{definition=fib,phase=Failed}": 1, "sluice_job_runs{definition=fib,phase=Queued}": 0,
		"sluice_job_run_duration_seconds{definition=fib}": 2, "sluice_job_dead_total{reason=rejected}": 1, "sluice_job_queue_depth{definition=fib}": 0,
		"sluice_job_wait_seconds{gate=slot}": 1, "sluice_job_wait_seconds{gate=queue}": 3, "sluice_job_redelivered_total{}": 0,
	})
	eventually(t, "nothing is said of jobs that are not there", func() bool {
		for name := range values(t, r.registry) {
			if strings.Contains(name, "nobody") || strings.Contains(name, "=gone") {
				return false
			}
		}
		return true
	})
	r.stop()
	if left := values(t, r.registry); len(left) > 0 {
		t.Errorf("registered still: %v", left)
	}
	newMetrics(r.registry).unregister() // the next leader of the process
}

// TestWaits: a run's wait is shared out over what it waited for.
func TestWaits(t *testing.T) {
	t.Parallel()
	start := time.Unix(1e9, 0)
	run := job.Run{}
	for i, reason := range []string{job.ReasonAccepted, job.ReasonConcurrencyLimit, job.ReasonDependencyNotReady, job.ReasonDependencyNotFound, job.ReasonConcurrencyLimit} {
		run = run.Move(start.Add(time.Duration(i)*time.Second), job.Queued, reason, "")
	}
	got := waits(run, run.Move(start.Add(10*time.Second), job.Creating, job.ReasonCreating, ""))
	want := map[string]time.Duration{"queue": time.Second, "slot": 7 * time.Second, "dependency": 2 * time.Second}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("it waited %v, want %v", got, want)
	}
}

func TestLive(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.timing.stuck = 5 * time.Second
	r := f.start()
	if err := New(f.config, Deps{Registry: prometheus.NewRegistry()}).Live(t.Context()); err != nil {
		t.Errorf("one that does not run is said to be stuck: %v", err)
	}
	never(t, 500*time.Millisecond, "it is stuck", func() bool { return r.Live(t.Context()) != nil })
	release := make(chan struct{})
	go r.do(func(time.Time) { <-release })
	eventually(t, "it is said to be stuck", func() bool { return r.Live(t.Context()) != nil })
	close(release)
	eventually(t, "it is well again", func() bool { return r.Live(t.Context()) == nil })
}

// TestPhasesAreAllKept: a phase that the shelf does not know would be taken for another one.
func TestPhasesAreAllKept(t *testing.T) {
	t.Parallel()
	for _, phase := range []job.Phase{
		job.Queued, job.Waiting, job.Creating, job.Pending, job.Running, job.Succeeded, job.Failed, job.Cancelled, job.Rejected,
	} {
		if !slices.Contains(phases, phase) || phases[shelve(job.Run{Phase: phase}).phase] != phase || shelve(job.Run{Phase: phase}).over() != phase.Final() {
			t.Errorf("%s is not kept as it is", phase)
		}
	}
	if len(board{}.counts) != len(phases) {
		t.Errorf("%d phases are counted, there are %d", len(board{}.counts), len(phases))
	}
}
