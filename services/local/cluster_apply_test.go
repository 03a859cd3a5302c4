package local

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/services/scaler/scalertest"
)

// applying is a running cluster whose workloads can be changed.
type applying struct {
	running
	apply func(...Workload)
}

func runApplying(t *testing.T, config ClusterConfig) applying {
	t.Helper()
	applies := make(chan func([]Workload), 1)
	config.DataDir = t.TempDir()
	config.Follow = func(ctx context.Context, apply func([]Workload)) {
		applies <- apply
		<-ctx.Done()
	}
	run := runConfig(t, config)
	apply := <-applies
	return applying{running: run, apply: func(workloads ...Workload) { apply(workloads) }}
}

func TestAddedAndRemovedWorkloads(t *testing.T) {
	t.Parallel()
	first, second := testFunction(t, "first", "serve"), testFunction(t, "second", "stubborn")
	run := runApplying(t, ClusterConfig{Workloads: []Workload{first}})
	pod := run.one(t, "first")
	run.apply(first, second)
	pid := ask(t, run.one(t, "second")).PID
	if after := run.one(t, "first"); after != pod {
		t.Errorf("first was %+v and is %+v: it was touched", pod, after)
	}
	run.apply(first)
	eventually(t, "the observer was told that second is gone", func() bool {
		run.cluster.mu.Lock()
		defer run.cluster.mu.Unlock()
		return run.cluster.sets["second"].forgotten
	})
	if !alive(pid) {
		t.Error("the process was ended before its grace period was over")
	}
	expectGone(t, pid)
	if err := run.cluster.SetReplicas(t.Context(), "second", 1, nil); err == nil {
		t.Error("a function that is gone was scaled")
	}
	second.Replicas = 0
	run.apply(first, second)
	run.Wait(t, "second", patience, scalertest.Ready(0))
}

// A workload that comes back while its processes end is observed again, and nothing else.
func TestWorkloadComesBack(t *testing.T) {
	t.Parallel()
	f := testFunction(t, "f", "stubborn")
	f.GracePeriod = time.Second
	run := runApplying(t, ClusterConfig{Workloads: []Workload{f}})
	old := run.one(t, "f")
	run.apply()
	run.apply(f)
	run.Wait(t, "f", patience, func(w function.Workload) bool { return len(w.ReadyEndpoints(old.Name)) == 1 })
}

func TestChangedSpecificationTouchesNoProcess(t *testing.T) {
	t.Parallel()
	f := testFunction(t, "f", "serve")
	run := runApplying(t, ClusterConfig{Workloads: []Workload{f}})
	before := run.one(t, "f")
	f.Function.NumberParallelRequest, f.Problems, f.Replicas = 7, []string{"something"}, 3
	run.apply(f)
	after := run.Wait(t, "f", patience, func(w function.Workload) bool {
		return w.Function.NumberParallelRequest == 7 && len(w.Problems) == 1
	})
	if after.Replicas != 1 || len(after.Pods) != 1 || after.Pods[0] != before {
		t.Errorf("it was %+v and is %+v", before, after)
	}
}

func TestDeploymentIsReplacedWithoutAGap(t *testing.T) {
	t.Parallel()
	f := testFunction(t, "f", "serve", "VERSION=1")
	f.Replicas = 2
	run := runApplying(t, ClusterConfig{Workloads: []Workload{f}})
	old := run.Wait(t, "f", patience, scalertest.Ready(2))
	f.Env = append(slices.Clone(f.Env), "VERSION=2", testDelay+"=100ms")
	f.Env[0] = testMode + "=slow"
	run.apply(f)
	before := len(run.History("f"))
	run.Wait(t, "f", patience, func(w function.Workload) bool {
		return len(w.Pods) == 2 && len(w.ReadyEndpoints(old.Pods[0].Name, old.Pods[1].Name)) == 2
	})
	for _, w := range run.History("f")[before:] {
		if ready := len(w.ReadyEndpoints()); ready < 2 || ready > 3 {
			t.Errorf("%d replicas are ready", ready)
		}
		if w.Replicas != 2 {
			t.Errorf("the count is %d: somebody seems to have set it", w.Replicas)
		}
	}
	for _, pod := range run.Wait(t, "f", patience, scalertest.Ready(2)).Pods {
		if !slices.Contains(ask(t, pod).Env, "VERSION=2") {
			t.Errorf("%s is not of the new version", pod.Name)
		}
	}
}

func TestStatefulSetIsReplacedInOrder(t *testing.T) {
	t.Parallel()
	f := testFunction(t, "db", "serve", "VERSION=1")
	f.Function.Kind, f.Replicas = function.KindStatefulSet, 3
	run := runApplying(t, ClusterConfig{Workloads: []Workload{f}})
	old := run.Wait(t, "db", patience, scalertest.Ready(3))
	f.Env = append(slices.Clone(f.Env), "VERSION=2")
	run.apply(f)
	before := len(run.History("db"))
	run.Wait(t, "db", patience, func(w function.Workload) bool {
		return scalertest.Ready(3)(w) && w.Pods[0].Address != old.Pods[0].Address
	})
	order := []int{2, 1, 0}
	for _, w := range run.History("db")[before:] {
		if len(w.ReadyEndpoints()) < 2 {
			t.Errorf("more than one is replaced at a time: %+v", w.Pods)
		}
		if next := order[0]; w.Pods[next].Ready && w.Pods[next].Address != old.Pods[next].Address && len(order) > 1 {
			order = order[1:]
		}
		for _, later := range order[1:] {
			if !w.Pods[later].Ready {
				t.Errorf("db-%d was replaced before db-%d was ready", later, order[0])
			}
		}
	}
	if len(order) != 1 {
		t.Errorf("the order was not seen: %v are left", order)
	}
}

// A version that does not start takes nothing away, and the next one that does replaces both.
func TestBrokenVersionKeepsTheOldOne(t *testing.T) {
	t.Parallel()
	f := testFunction(t, "f", "serve")
	run := runApplying(t, ClusterConfig{Workloads: []Workload{f}})
	old := run.one(t, "f")
	broken := f
	broken.Command = []string{"./no-such-program"}
	run.apply(broken)
	run.Wait(t, "f", patience, func(w function.Workload) bool {
		return len(w.Pods) == 2 && len(w.ReadyEndpoints()) == 1 && strings.Contains(w.Pods[1].Problem, "no-such-program")
	})
	if ask(t, old).PID == 0 {
		t.Error("the old one does not serve")
	}
	fixed := testFunction(t, "f", "serve", "FIXED=1")
	run.apply(fixed)
	run.Wait(t, "f", patience, func(w function.Workload) bool { return len(w.Pods) == 1 && len(w.ReadyEndpoints(old.Name)) == 1 })
}

// What replaces waits for the calls in flight on what it replaces.
func TestReplacedReplicaIsReleasedFirst(t *testing.T) {
	t.Parallel()
	released := make(chan struct{})
	var mu sync.Mutex
	var asked []string
	f := testFunction(t, "f", "serve")
	run := runApplying(t, ClusterConfig{Workloads: []Workload{f}, Released: func(ctx context.Context, name, address string) {
		mu.Lock()
		asked = append(asked, name+" "+address)
		mu.Unlock()
		select {
		case <-released:
		case <-ctx.Done():
		}
	}})
	old := run.one(t, "f")
	pid := ask(t, old).PID
	f.Env = append(slices.Clone(f.Env), "VERSION=2")
	run.apply(f)
	run.Wait(t, "f", patience, func(w function.Workload) bool {
		return len(w.ReadyEndpoints(old.Name)) == 1 && len(w.ReadyEndpoints()) == 1
	})
	if !alive(pid) {
		t.Error("it was ended while calls were in flight")
	}
	close(released)
	expectGone(t, pid)
	mu.Lock()
	defer mu.Unlock()
	if len(asked) != 1 || asked[0] != "f "+old.Address {
		t.Errorf("asked for %q", asked)
	}
}

func TestKindAndAddressChange(t *testing.T) {
	t.Parallel()
	f := testFunction(t, "f", "serve")
	run := runApplying(t, ClusterConfig{Workloads: []Workload{f}})
	run.one(t, "f")
	f.Function.Kind = function.KindStatefulSet
	run.apply(f)
	run.Wait(t, "f", patience, func(w function.Workload) bool { return len(w.Pods) == 1 && w.Pods[0].Name == "f-0" && w.Pods[0].Ready })
	pid := ask(t, run.one(t, "f")).PID
	elsewhere := f
	elsewhere.URL = "127.0.0.1:1"
	run.apply(elsewhere)
	run.Wait(t, "f", patience, func(w function.Workload) bool { return w.Fixed && w.Pods[0].Address == "127.0.0.1:1" })
	expectGone(t, pid)
	run.apply(f)
	if pod := run.Wait(t, "f", patience, func(w function.Workload) bool { return !w.Fixed && scalertest.Ready(1)(w) }).Pods[0]; ask(t, pod).PID == pid {
		t.Error("it is the old process")
	}
}

func TestWatchedWorkloads(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	database, far, absent := testFunction(t, "database", "serve"), Workload{URL: address}, Workload{Replicas: 1, Problems: []string{"no command"}}
	far.Function.Name, absent.Function.Name = "far", "absent"
	database.Watched, far.Watched, absent.Watched = true, true, true
	run := runApplying(t, ClusterConfig{Workloads: []Workload{database, far, absent}})
	run.one(t, "database")
	run.one(t, "far")
	listener.Close()
	run.Wait(t, "far", patience, func(w function.Workload) bool { return w.Watched && len(w.ReadyEndpoints()) == 0 })
	if w := run.Wait(t, "absent", patience, func(function.Workload) bool { return true }); !w.Watched || len(w.Pods) != 0 || len(w.Problems) != 1 {
		t.Errorf("observed %+v", w)
	}
	if err := run.cluster.SetReplicas(t.Context(), "database", 0, nil); err == nil {
		t.Error("a dependency was scaled")
	}
	database.Replicas = 2
	run.apply(database, far, absent)
	run.Wait(t, "database", patience, scalertest.Ready(2))
	database.Watched = false // it has become a function
	run.apply(database, far, absent)
	run.Wait(t, "database", patience, func(w function.Workload) bool { return !w.Watched && scalertest.Ready(2)(w) })
}

func TestUntrustedFunctionsGetAnotherEnvironment(t *testing.T) {
	t.Parallel()
	f := testFunction(t, "f", "serve")
	run := runApplying(t, ClusterConfig{Workloads: []Workload{f}, Env: []string{"SLUICE_URL=inside"}, UntrustedEnv: []string{"SLUICE_URL=outside"}})
	if said := ask(t, run.one(t, "f")); !slices.Contains(said.Env, "SLUICE_URL=inside") {
		t.Error("a trusted function has not the inside address")
	}
	f.Function.DefaultTrust = function.Untrusted
	run.apply(f)
	run.Wait(t, "f", patience, func(w function.Workload) bool {
		return scalertest.Ready(1)(w) && slices.Contains(ask(t, w.Pods[0]).Env, "SLUICE_URL=outside")
	})
}
