package kube

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/bus/bustest"
	"github.com/sluicefaas/sluice/pkg/job"
	"github.com/sluicefaas/sluice/services/jobrunner"
)

// lead lets a jobrunner of the namespace lead until stop is called.
func (n *namespace) lead(b *bus.Bus) (stop func()) {
	n.t.Helper()
	runner := jobrunner.New(jobrunner.Config{MaxRunning: 10, CreateRate: 100, History: time.Hour, HistoryLimit: 10}, jobrunner.Deps{
		Bus: b, Cluster: n.cluster(), Logger: zerolog.New(n.Logs), Registry: prometheus.NewRegistry(), Name: "jobrunner",
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- runner.Run(ctx) }()
	select {
	case <-runner.Synced():
	case <-time.After(timeout):
		n.t.Error("the definitions are not shared")
	}
	return func() {
		cancel()
		if err := <-done; err != nil {
			n.t.Error(err)
		}
	}
}

// told are the Warnings about CronJobs that no run is made of, or not as they are now.
func (n *namespace) told() (all []string) {
	n.t.Helper()
	list, err := n.Admin.CoreV1().Events(n.Name).List(n.t.Context(), metav1.ListOptions{FieldSelector: "reason=InvalidDefinition,type=Warning,involvedObject.kind=CronJob"})
	if err != nil {
		n.t.Fatal(err)
	}
	for _, e := range list.Items {
		all = append(all, e.InvolvedObject.Name+": "+e.Message)
	}
	slices.Sort(all)
	return all
}

// change edits a CronJob as a person does.
func (n *namespace) change(name string, edit func(*batchv1.CronJob)) {
	n.t.Helper()
	cronJobs := n.Admin.BatchV1().CronJobs(n.Name)
	c, err := cronJobs.Get(n.t.Context(), name, metav1.GetOptions{})
	if err == nil {
		edit(c)
		_, err = cronJobs.Update(n.t.Context(), c, metav1.UpdateOptions{})
	}
	if err != nil {
		n.t.Fatal(err)
	}
}

// claim gives a CronJob what the API server takes there and refuses in a Job: a label that is for its controller. With no value it is taken away.
func claim(owner string) func(*batchv1.CronJob) {
	return func(c *batchv1.CronJob) {
		labels := map[string]string{batchv1.ControllerUidLabel: owner}
		if owner == "" {
			labels = nil
		}
		c.Spec.JobTemplate.Spec.Template.Labels = labels
	}
}

// What the API server refuses says so in one Event of the CronJob for each generation, whoever leads; the last good one holds, and nothing is made of one that never was good.
func TestRefusedDefinitionsAreTold(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	server := bustest.Start(t)
	b, err := bus.Connect(bus.Config{URL: server.URL(), Replicas: 1, Name: "test", Settings: bus.Settings{Prefix: "sluice", QueueLimit: 100, PublishPatience: 5 * time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	n.define("bad", claim("a"))
	n.define("good", nil)
	n.define("runs", func(c *batchv1.CronJob) { c.Spec.Suspend = nil })
	stop := n.lead(b)
	bucket, err := b.OpenDefinitions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	shared := func() map[string]job.Definition {
		all, err := bucket.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	if all := shared(); !strings.Contains(all["bad"].Refused, `controller-uid":"a"`) || !strings.Contains(all["runs"].Refused, "is not suspended") || all["good"].Refused != "" {
		t.Errorf("shared are %+v", all)
	}
	want := []string{"bad: the definition is not used: ", `runs: annotation sluice/Job: "true" makes no job of a CronJob that is not suspended`}
	await := func(what string) {
		n.Eventually(what, func() bool {
			told := n.told()
			return slices.EqualFunc(told, want, strings.HasPrefix)
		})
	}
	await("what is refused is told")
	n.change("good", claim("b"))
	want = slices.Insert(want, 1, "good: the definition as it is now is not used, as it was before holds: ")
	await("what is refused of a change is told")
	if d := shared()["good"]; d.Refused != "" || len(d.Problems) != 1 || !strings.Contains(d.Problems[0], `controller-uid":"b"`) {
		t.Errorf("what holds is %+v", d)
	}
	first := shared()["bad"].Refused
	stop()
	// The next leader finds the same, in the same words, and tells it once more in its log alone.
	stop = n.lead(b)
	n.Eventually("it has checked all", func() bool {
		return len(n.Logs.With("the definition is refused", `"job":"bad"`)) == 2 && len(n.Logs.With("the definition is refused", `"job":"good"`)) == 2
	})
	n.change("bad", func(c *batchv1.CronJob) { c.Annotations["sluice/NumberParallelJob"] = "2" })
	want = slices.Insert(want, 1, want[0])
	await("each generation is told once")
	if d := shared()["bad"]; d.Refused != first || d.Template != nil {
		t.Errorf("refused because of %q, was %q", d.Refused, first)
	}
	n.change("bad", claim(""))
	n.Eventually("what is mended is used", func() bool { return shared()["bad"].Refused == "" })
	stop()
	if told := n.told(); len(told) != len(want) {
		t.Errorf("told is %q", told)
	}
}
