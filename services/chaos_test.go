package services_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/sluicefaas/sluice/pkg/job"
)

// Three hundred requests, two jobrunners, and everything is killed with SIGKILL while they come and run: each run has one Job and one end, and nothing is left.
func TestJobsThroughChaos(t *testing.T) {
	const requests, killsOfEach = 300, 3
	plane.Start(t)
	nats, url := startNATS(t)
	c := newJobClusterAt(t, url, 50*time.Millisecond)
	c.define("chaos", 20, ptr.To[int32](5))
	m := &mayhem{c: c, nats: nats, runners: map[string]*process{}}
	for _, name := range []string{"runner-0", "runner-1"} {
		m.runners[name] = start(t, "jobrunner", url, "--kubeconfig="+plane.Kubeconfig(), "--namespace="+c.namespace, "--lease-identity="+name)
	}
	for _, p := range m.runners {
		p.readiness(http.StatusOK)
	}
	kills := m.shuffled(killsOfEach)
	killed := map[string]int{}
	for n, kill := range kills {
		var asking sync.WaitGroup
		asking.Go(func() { c.askAll(n*requests/len(kills), (n+1)*requests/len(kills)) })
		pause(time.Second)
		kill.do()
		killed[kill.of]++
		asking.Wait()
	}
	succeeded := c.allSucceed(requests)
	eventually(t, "the queue is empty", func() bool { return c.queued() == 0 })
	total := c.checkOnce(requests)
	if wrong := c.left(); len(wrong) > 0 {
		t.Errorf("left are %v", wrong)
	}
	t.Logf("invariant: %d requests = %d runs succeeded = %d Jobs that ran = %d pods; queue empty; kills: %v", requests, succeeded, total.jobs, total.pods, killed)
}

// askAll publishes the requests of the numbers from first to before last, at an uneven pace.
func (c *jobCluster) askAll(first, last int) {
	for i := first; i < last; i++ {
		if err := c.publish("chaos", fmt.Sprintf("run-%d", i)); err != nil {
			c.t.Error(err)
		}
		pause(100 * time.Millisecond)
	}
}

// allSucceed waits for the end of each run, and counts those that are as they should be.
func (c *jobCluster) allSucceed(runs int) (succeeded int) {
	c.t.Helper()
	for i := range runs {
		id := fmt.Sprintf("run-%d", i)
		if run := c.closed("chaos", id); run.Phase == job.Succeeded {
			succeeded++
		} else {
			c.t.Errorf("run %s has ended as %s %s %s", id, run.Phase, run.Reason, run.Message)
		}
	}
	return succeeded
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

// mayhem kills what a jobCluster works with.
type mayhem struct {
	c       *jobCluster
	nats    *process
	runners map[string]*process // by their names in the Lease
}

// kill ends something with SIGKILL and lets it come back.
type kill struct {
	of string
	do func()
}

// shuffled are so many kills of each kind, in any order.
func (m *mayhem) shuffled(ofEach int) (kills []kill) {
	for range ofEach {
		kills = append(kills,
			kill{"NATS", func() { m.replace(m.nats) }},
			kill{"the API server", m.replaceAPI},
			kill{"the leading jobrunner", func() { m.replaceRunner(true) }},
			kill{"the other jobrunner", func() { m.replaceRunner(false) }},
		)
	}
	rand.Shuffle(len(kills), func(i, j int) { kills[i], kills[j] = kills[j], kills[i] })
	return kills
}

func (m *mayhem) replaceAPI() {
	plane.Command(m.c.t, "kill-api")
	pause(1500 * time.Millisecond)
	plane.Command(m.c.t, "start-api")
}

// replaceRunner kills the jobrunner that holds the Lease, or the one that does not.
func (m *mayhem) replaceRunner(leading bool) {
	m.c.t.Helper()
	var leader *process
	eventually(m.c.t, "a jobrunner leads", func() bool {
		lease, err := m.c.admin.CoordinationV1().Leases(m.c.namespace).Get(m.c.t.Context(), "sluice-jobrunner", metav1.GetOptions{})
		if err == nil {
			leader = m.runners[ptr.Deref(lease.Spec.HolderIdentity, "")]
		}
		return leader != nil
	})
	for _, p := range m.runners {
		if (p == leader) == leading {
			m.replace(p)
		}
	}
}

// replace kills a process that runs.
func (m *mayhem) replace(p *process) {
	m.c.t.Helper()
	select {
	case <-p.done:
		m.c.t.Errorf("%s has ended by itself: %v", p.service, p.err)
	default:
	}
	p.kill()
	pause(1500 * time.Millisecond)
	p.launch()
}

// pause is any time up to most.
func pause(most time.Duration) { <-time.After(rand.N(most)) }
