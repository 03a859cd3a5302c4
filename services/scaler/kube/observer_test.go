package kube

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/pkg/kube"
	"github.com/sluicefaas/sluice/services/scaler/scalertest"
)

// witness is an observer that keeps the order of what it is told, and can be held.
type witness struct {
	*scalertest.Recorder
	mu     sync.Mutex
	heard  []string      // guarded by mu
	during chan struct{} // guarded by mu: Observe of the function hold returns when it is closed
	hold   string        // guarded by mu
	held   chan struct{} // guarded by mu: closed when Observe is held
}

func newWitness() *witness { return &witness{Recorder: scalertest.NewRecorder()} }

func (w *witness) note(what string) (during chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.heard = append(w.heard, what)
	if what == "observe "+w.hold && w.during != nil {
		close(w.held)
		w.hold, during = "", w.during
	}
	return during
}

func (w *witness) Observe(workload function.Workload) {
	if during := w.note("observe " + workload.Function.Name); during != nil {
		<-during
	}
	w.Recorder.Observe(workload)
}

func (w *witness) Forget(name string) {
	w.note("forget " + name)
	w.Recorder.Forget(name)
}

func (w *witness) Inside(inside map[netip.Addr]function.Insider) {
	w.note("inside")
	w.Recorder.Inside(inside)
}

func (w *witness) Synced() {
	w.note("synced")
	w.Recorder.Synced()
}

// holdAt lets the next Observe of the function wait until release is called; held is closed when it does.
func (w *witness) holdAt(name string) (held <-chan struct{}, release func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hold, w.during, w.held = name, make(chan struct{}), make(chan struct{})
	during := w.during
	return w.held, sync.OnceFunc(func() { close(during) })
}

// waitHeard waits until it has heard something a number of times.
func (w *witness) waitHeard(t *testing.T, what string, times int) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; <-time.After(time.Millisecond) {
		count := 0
		for _, heard := range w.all() {
			if heard == what {
				count++
			}
		}
		if count >= times {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("it has heard %v", w.all())
		}
	}
}

func (w *witness) all() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.heard)
}

// watchWith runs a Watch with the observer until the test ends.
func watchWith(t testing.TB, cluster *Cluster, w *witness) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- cluster.Watch(ctx, w) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// reporting runs a reporter without an API server: the test writes the view.
func reporting(t *testing.T) (viewed, *witness) {
	t.Helper()
	v, w, _ := reportingOn(t)
	return v, w
}

// reportingOn is reporting, with the cluster that is reported.
func reportingOn(t *testing.T) (viewed, *witness, *Cluster) {
	t.Helper()
	v, w := newViewed(), newWitness()
	c := newCluster(&Client{Client: &kube.Client{}, logger: zerolog.Nop()})
	c.open()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		newReporter(c, v.view, w).run(ctx)
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	return v, w, c
}

var allKinds = []int{ofDeployments, ofStatefulSets, ofReplicaSets, ofPods, ofServices}

func (v viewed) list(kinds ...int) {
	for _, kind := range kinds {
		v.mu.Lock()
		v.isListed(kind)
		v.mu.Unlock()
	}
}

func TestNothingIsReportedBeforeAllIsListed(t *testing.T) {
	t.Parallel()
	v, w := reporting(t)
	v.put(deployment("f", "d-1", 1, isFunction()), statefulSet("s", "s-1", 1, isFunction()))
	v.list(ofDeployments, ofReplicaSets, ofPods, ofServices)
	if <-time.After(100 * time.Millisecond); len(w.all()) != 0 {
		t.Fatalf("it has heard %v", w.all())
	}
	v.list(ofStatefulSets)
	if known := w.WaitSynced(t, patience); known != 2 || !slices.Equal(w.all(), []string{"inside", "observe f", "observe s", "synced"}) {
		t.Errorf("it has heard %v", w.all())
	}
}

func TestBurstIsOneObservation(t *testing.T) {
	t.Parallel()
	v, w := reporting(t)
	v.put(deployment("f", "d-1", 3, isFunction()), deployment("g", "d-2", 3, isFunction()), replicaSet("f-1", "rs-1", "d-1"))
	v.list(allKinds...)
	w.WaitSynced(t, patience)
	held, release := w.holdAt("g")
	v.put(deployment("g", "d-2", 4, isFunction()))
	<-held
	for range 100 { // as they come in while the observer is busy
		for _, name := range []string{"f-1-a", "f-1-b", "f-1-c"} {
			p := onePod(name, "ReplicaSet", "rs-1", "10.0.0.1")
			v.put(notReady(p))
			v.put(onePod(name, "ReplicaSet", "rs-1", "10.0.0.1"))
		}
	}
	release()
	w.Wait(t, "f", patience, scalertest.Ready(3))
	if history := w.History("f"); len(history) != 2 {
		t.Errorf("600 events are %d observations", len(history)-1)
	}
	v.put(onePod("f-1-a", "ReplicaSet", "rs-1", "10.0.0.1")) // nothing that a function is concerned with
	v.put(deployment("g", "d-2", 5, isFunction()))
	w.Wait(t, "g", patience, func(w function.Workload) bool { return w.Replicas == 5 })
	if history := w.History("f"); len(history) != 2 {
		t.Error("what has not changed was observed again")
	}
}

// Another object of the same name is another function: what was known of the first one does not hold.
func TestReplacedWorkloadIsForgottenFirst(t *testing.T) {
	t.Parallel()
	v, w := reporting(t)
	v.put(deployment("f", "d-1", 1, isFunction()))
	v.list(allKinds...)
	w.WaitSynced(t, patience)
	v.mu.Lock() // both happen before the next look
	k := keeper{view: v.view, kind: ofDeployments}
	k.Drop("d-1")
	k.Put(deployment("f", "d-9", 2, isFunction()))
	v.mu.Unlock()
	w.Wait(t, "f", patience, func(w function.Workload) bool { return w.Replicas == 2 })
	if !slices.Equal(w.all(), []string{"inside", "observe f", "synced", "forget f", "observe f"}) {
		t.Errorf("it has heard %v", w.all())
	}
	v.drop(deployment("f", "d-9", 2, isFunction()))
	v.put(deployment("g", "d-2", 1, isFunction()))
	w.Wait(t, "g", patience, func(function.Workload) bool { return true })
	if heard := w.all(); !slices.Contains(heard[5:], "forget f") {
		t.Errorf("it has heard %v", heard)
	}
}

// A pod that never gets ready becomes a problem without any event.
func TestTimeAloneIsReported(t *testing.T) {
	t.Parallel()
	v, w := reporting(t)
	p := notReady(onePod("s-0", "StatefulSet", "s-1", "10.0.0.1"))
	p.Status.Conditions[1].LastTransitionTime.Time = time.Now().Add(10*time.Second - slowStart)
	v.put(statefulSet("s", "s-1", 1, isFunction()), p)
	v.list(allKinds...)
	w.Wait(t, "s", patience, func(w function.Workload) bool { return w.Pods[0].Problem == "" })
	w.Wait(t, "s", patience, func(w function.Workload) bool { return w.Pods[0].Problem == neverReady })
}
