package services_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"k8s.io/utils/ptr"

	"github.com/sluicefaas/sluice/pkg/job"
)

// Three hundred requests, two jobrunners, and kills of everything, at random: each run has one Job and one end, and nothing is left.
func TestJobsThroughChaos(t *testing.T) {
	const runs, disturbances = 300, 12
	c := newJobCluster(t, 50*time.Millisecond)
	c.define("chaos", 20, ptr.To[int32](5))
	var runners []*process
	for i := range 2 {
		runners = append(runners, start(t, "jobrunner", c.nats.URL(), "--kubeconfig="+plane.Kubeconfig(), "--namespace="+c.namespace, fmt.Sprintf("--lease-identity=runner-%d", i)))
	}
	for _, p := range runners {
		p.readiness(http.StatusOK)
	}
	var asking sync.WaitGroup
	asking.Go(func() {
		for i := range runs {
			if err := c.publish("chaos", fmt.Sprintf("run-%d", i)); err != nil {
				t.Error(err)
			}
			<-time.After(time.Duration(rand.IntN(200)) * time.Millisecond)
		}
	})
	counts := map[string]int{}
	for range disturbances {
		<-time.After(time.Duration(500+rand.IntN(2000)) * time.Millisecond)
		counts[c.disturb(runners)]++
	}
	asking.Wait()
	succeeded := 0
	for i := range runs {
		id := fmt.Sprintf("run-%d", i)
		if run := c.closed("chaos", id); run.Phase == job.Succeeded {
			succeeded++
		} else {
			t.Errorf("run %s has ended as %s %s %s", id, run.Phase, run.Reason, run.Message)
		}
	}
	eventually(t, "the queue is empty", func() bool { return c.queued() == 0 })
	total := c.checkOnce(runs)
	if wrong := c.left(); len(wrong) > 0 {
		t.Errorf("left are %v", wrong)
	}
	t.Logf("invariant: %d requests = %d runs succeeded = %d Jobs that ran = %d pods; queue empty; disturbed by %v", runs, succeeded, total.jobs, total.pods, counts)
}

type totals struct{ jobs, pods int }

// checkOnce checks each run. What was told of an end while NATS was away is told again, or was lost with it: the ends are not counted here.
func (c *jobCluster) checkOnce(runs int) (sum totals) {
	c.t.Helper()
	for i := range runs {
		id := fmt.Sprintf("run-%d", i)
		jobs, pods, ends := c.audit.count(id)
		if jobs != 1 || pods != 1 || ends > 1 {
			c.t.Errorf("run %s: %d Jobs ran, with %d pods, and %d different ends were told", id, jobs, pods, ends)
		}
		sum.jobs, sum.pods = sum.jobs+jobs, sum.pods+pods
	}
	return sum
}

// disturb kills something and lets it come back.
func (c *jobCluster) disturb(runners []*process) string {
	switch rand.IntN(4) {
	case 0:
		c.nats.Stop()
		<-time.After(time.Duration(rand.IntN(1500)) * time.Millisecond)
		c.nats.Start()
		return "restart of NATS"
	case 1:
		plane.Command(c.t, "stop-api")
		<-time.After(time.Duration(rand.IntN(1500)) * time.Millisecond)
		plane.Command(c.t, "start-api")
		return "restart of the API server"
	default:
		victim := runners[rand.IntN(len(runners))]
		victim.kill()
		<-time.After(time.Duration(rand.IntN(500)) * time.Millisecond)
		victim.launch()
		return "kill of a jobrunner"
	}
}
