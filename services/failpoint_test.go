package services_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/ptr"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/job"
	sharedkube "github.com/sluicefaas/sluice/pkg/kube"
	"github.com/sluicefaas/sluice/services/jobrunner"
	"github.com/sluicefaas/sluice/services/jobrunner/kube"
)

// failPoint is where a jobrunner ends itself with SIGKILL: right after a step, of a run in that phase if one is named.
type failPoint struct {
	Step   job.Step
	Phase  job.Phase
	Closed bool
}

func (f failPoint) reached(step job.Step, run job.Run) bool {
	return step == f.Step && (f.Phase == "" || run.Phase == f.Phase) && run.Closed == f.Closed
}

// failing is a jobrunner in a process of its own: this test's binary.
type failing struct {
	NATS, Kubeconfig, Namespace string
	// Identity is its name in the Lease.
	Identity string
	// Alone lets it lead for good, whatever the others do: its Lease is its own.
	Alone bool
	// Point is where it ends; nil for never.
	Point *failPoint
	// Late is the request before which it is paused; Rest for none.
	Late job.Step
}

// failingEnv has a failing as JSON for TestMain.
const failingEnv = "SLUICE_TEST_JOBRUNNER"

// runFailing is that process.
func runFailing(text string) error {
	var f failing
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		return err
	}
	logger := zerolog.New(os.Stderr).Level(zerolog.InfoLevel)
	lease := sharedkube.Config{
		Kubeconfig: f.Kubeconfig, Namespace: f.Namespace, LeaseName: "sluice-jobrunner", Identity: f.Identity,
		LeaseDuration: 6 * time.Second, RenewDeadline: 4 * time.Second, RetryPeriod: 200 * time.Millisecond,
	}
	if f.Alone {
		lease.LeaseName, lease.LeaseDuration, lease.RenewDeadline = "alone", time.Hour, 50*time.Minute
	}
	client, err := kube.Connect(kube.Config{Config: lease}, logger)
	if err != nil {
		return err
	}
	nats, err := bus.Connect(bus.Config{URL: f.NATS, Replicas: 1, Settings: bus.Settings{Prefix: "sluice", QueueLimit: 1000, AckWait: 2 * time.Second}})
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	cluster := &lateCluster{Cluster: client.NewCluster(registry), before: f.Late}
	deps := jobrunner.Deps{Bus: nats, Cluster: cluster, Logger: logger, Registry: registry, Name: f.Identity, Passed: f.passed}
	config := jobrunner.Config{MaxRunning: 1000, CreateRate: 100, History: time.Hour, HistoryLimit: 1000}
	return client.Lead(context.Background(), func(ctx context.Context) error { return jobrunner.New(config, deps).Run(ctx) })
}

func (f failing) passed(step job.Step, run job.Run) {
	if f.Point != nil && f.Point.reached(step, run) {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL) // the last thing that this process does
		select {}
	}
}

// startFailing starts a jobrunner that ends at the point, nil for never. The next one takes its Lease over at once, as its process would when it is started again.
func (c *jobCluster) startFailing(point *failPoint) *process {
	c.t.Helper()
	return c.startAs(failing{Identity: "failing", Point: point})
}

// startAs starts a jobrunner that is told everything but where it works.
func (c *jobCluster) startAs(f failing) *process {
	c.t.Helper()
	f.NATS, f.Kubeconfig, f.Namespace = c.natsURL, plane.Kubeconfig(), c.namespace
	text, err := json.Marshal(f)
	if err != nil {
		c.t.Fatal(err)
	}
	return startPart(c.t, fmt.Sprintf("the jobrunner %s (ends at %+v)", f.Identity, f.Point), failingEnv, string(text))
}

// A jobrunner that is killed right after any of its steps leaves what the next one needs: the run has one Job, whose pods run once, one end, and
// nothing is left over. (jobs.md: H1 and H2 are among the points.)
func TestH1KilledAfterEachStep(t *testing.T) {
	t.Parallel()
	for name, point := range map[string]failPoint{
		"the record is made":          {Step: job.Store, Phase: job.Queued},
		"the record says creating":    {Step: job.Store, Phase: job.Creating},
		"the Job is made":             {Step: job.Create},
		"the record has the UID":      {Step: job.Store, Phase: job.Pending},
		"the Job is resumed":          {Step: job.Resume},
		"the message is acknowledged": {Step: job.Ack},
		"the record says running":     {Step: job.Store, Phase: job.Running},
		"the end is captured":         {Step: job.Capture},
		"the record is final":         {Step: job.Store, Phase: job.Succeeded},
		"the Job has its TTL":         {Step: job.Arm, Phase: job.Succeeded},
		"the end is announced":        {Step: job.Announce, Phase: job.Succeeded},
		"nothing is left to be done":  {Step: job.Store, Phase: job.Succeeded, Closed: true},
	} {
		t.Run(name, func(t *testing.T) {
			c := newJobCluster(t, 300*time.Millisecond)
			c.define("d", 1, ptr.To[int32](2))
			killed := c.startFailing(&point)
			c.ask("d", "run-1")
			killed.exited()
			c.startFailing(nil)
			run := c.closed("d", "run-1")
			if run.Phase != job.Succeeded {
				t.Errorf("the run has ended as %s %s %s", run.Phase, run.Reason, run.Message)
			}
			eventually(t, "the queue is empty", func() bool { return c.queued() == 0 })
			c.audit.once("run-1")
			if wrong := c.left(); len(wrong) > 0 {
				t.Errorf("left are %v", wrong)
			}
		})
	}
}

// The same for a run that somebody cancels.
func TestH4KilledWhileCancelling(t *testing.T) {
	t.Parallel()
	c := newJobCluster(t, time.Hour)
	c.define("d", 1, nil)
	killed := c.startFailing(&failPoint{Step: job.Delete, Phase: job.Running})
	c.ask("d", "run-1")
	c.cancel("d", "run-1", job.Running)
	killed.exited()
	c.startFailing(nil)
	if run := c.closed("d", "run-1"); run.Phase != job.Cancelled {
		t.Errorf("the run has ended as %s %s", run.Phase, run.Reason)
	}
	c.audit.once("run-1")
	eventually(t, "the Job is gone", func() bool { return len(c.left()) == 0 })
}

// cancel cancels a run when it is in the phase.
func (c *jobCluster) cancel(definition, id string, phase job.Phase) {
	c.t.Helper()
	runs := c.runs()
	eventually(c.t, fmt.Sprintf("%s is %s, and is cancelled", id, phase), func() bool {
		run, revision, err := runs.Get(c.t.Context(), definition, id)
		if err != nil || run.Phase != phase {
			return false
		}
		_, err = runs.Put(c.t.Context(), run.Cancel(time.Now(), "a test"), revision)
		return err == nil
	})
}

func isGone(err error) bool { return apierrors.IsNotFound(err) }
