package kube

import (
	"context"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/services/scaler/scalertest"
)

// apiOutage stops the API server of all tests, so that a test which uses it does not run beside others.
type apiOutage struct {
	n       *namespace
	stopped time.Time
	start   func()
}

func (n *namespace) stopAPI() *apiOutage {
	n.T.Helper()
	n.Plane.Command(n.T, "stop-api")
	o := &apiOutage{n: n, stopped: time.Now()}
	running := false
	o.start = func() {
		if !running {
			running = true
			n.Plane.Command(n.T, "start-api")
		}
	}
	n.T.Cleanup(o.start)
	return o
}

// end starts it again, and returns when it serves.
func (o *apiOutage) end() (served time.Time) {
	o.n.T.Helper()
	o.start()
	o.n.Eventually("the API server answers", func() bool {
		_, err := o.n.Admin.CoreV1().Namespaces().Get(o.n.T.Context(), o.n.Name, metav1.GetOptions{})
		return err == nil
	})
	return time.Now()
}

// leadAndWatch runs a leader whose term is a Watch; terms tells when one begins, and that it ends.
func (n *namespace) leadAndWatch(identity string, w *witness) (terms <-chan bool) {
	client := n.connect(n.config(identity))
	cluster := newCluster(client)
	ctx, cancel := context.WithCancel(context.Background())
	changes, done := make(chan bool, 9), make(chan error, 1)
	go func() {
		done <- client.Lead(ctx, func(ctx context.Context) error {
			changes <- true
			defer func() { changes <- false }()
			return cluster.Watch(ctx, w)
		})
	}()
	n.T.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			n.T.Errorf("Lead returned %v", err)
		}
	})
	return changes
}

func asksFor(count int) func(function.Workload) bool {
	return func(w function.Workload) bool { return w.Replicas == count }
}

// While the API server is away nothing is reported, least of all as gone, nothing is set, and nobody ends. When it is back, what
// has changed is seen within seconds. Four stand by: who watches, who leads, who begins to watch meanwhile, and who begins and ends.
func TestAPIServerOutage(t *testing.T) {
	n := newNamespace(t)
	n.deploy("f", 2, nil)
	n.deploySet("s", 1, nil)
	w, cluster := newWitness(), n.cluster()
	watchWith(t, cluster, w)
	w.Wait(t, "f", patience, scalertest.Ready(2))
	w.Wait(t, "s", patience, scalertest.Ready(1))
	n.settled("f")
	led := newWitness()
	terms := n.leadAndWatch("leader", led)
	<-terms
	led.Wait(t, "f", patience, scalertest.Ready(2))
	before := len(w.all())

	outage := n.stopAPI()
	if err := cluster.SetReplicas(t.Context(), "f", 0, nil); err == nil {
		t.Error("a count was set without an API server")
	}
	if leads := <-terms; leads {
		t.Fatal("it began to lead without an API server")
	}
	t.Logf("the leader stops %v after the API server has", time.Since(outage.stopped))
	late, lateStop := scalertest.Watch(t, n.cluster())
	watchBriefly(n)
	<-time.After(2 * time.Second)
	if heard := w.all()[before:]; len(heard) != 0 {
		t.Errorf("while the API server was away, the observer heard %v", heard)
	}

	served := outage.end()
	n.somebodySets("f", 3)
	w.Wait(t, "f", patience, asksFor(3))
	t.Logf("who watched sees a change %v after the API server serves again", time.Since(served))
	late.Wait(t, "f", patience, asksFor(3))
	late.WaitSynced(t, patience)
	t.Logf("who began to watch meanwhile, after %v", time.Since(served))
	if leads := <-terms; !leads {
		t.Fatal("it stopped to lead twice")
	}
	t.Logf("the leader leads again after %v", time.Since(served))
	led.Wait(t, "f", patience, asksFor(3))
	took := time.Since(served)
	t.Logf("and has seen everything after %v", took)
	if took > 25*time.Second { // client-go by itself may wait for 30 s before it looks again
		t.Error("that is too late")
	}
	lateStop()

	n.Eventually("the end of the outage is told", func() bool { return len(n.Logs.With(`"client":"test"`, `"level":"info"`, "serves us again")) > 0 })
	if heard := w.all()[before:]; slices.Contains(heard, "forget f") || slices.Contains(heard, "forget s") || slices.Contains(heard, "synced") {
		t.Errorf("the observer heard %v", heard)
	}
	if err := cluster.SetReplicas(t.Context(), "s", 2, nil); err != nil {
		t.Error(err)
	}
	// The controllers of Kubernetes come back much later than we do; other tests need them.
	w.Wait(t, "s", patience, scalertest.Ready(2))
	w.Wait(t, "f", patience, scalertest.Ready(3))
	n.settled("f")
}

// watchBriefly begins to watch and ends, without an API server.
func watchBriefly(n *namespace) {
	n.T.Helper()
	logs := n.Logs.With("does not serve us")
	_, stop := scalertest.Watch(n.T, n.cluster())
	n.Eventually("it has tried", func() bool { return len(n.Logs.With("does not serve us")) > len(logs) })
	ending := time.Now()
	stop()
	took := time.Since(ending)
	n.T.Logf("without an API server, Watch returns %v after its context has ended", took)
	if took > 20*time.Second {
		n.T.Error("that is too late")
	}
}
