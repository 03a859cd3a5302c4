package local

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/services/scaler/scalertest"
)

func TestClusterConforms(t *testing.T) {
	t.Parallel()
	scalertest.RunCluster(t, func(t *testing.T) scalertest.Fixture {
		second := testFunction(t, "second", "serve")
		second.Function.Kind = function.KindStatefulSet
		database := testFunction(t, "database", "serve")
		database.Watched = true
		cluster, err := NewCluster(ClusterConfig{
			Workloads: []Workload{testFunction(t, "first", "serve"), second, database}, DataDir: t.TempDir(),
		})
		if err != nil {
			t.Fatal(err)
		}
		return scalertest.Fixture{Cluster: cluster, Names: []string{"first", "second"}, Watched: []string{"database"}, Timeout: patience}
	})
}

func TestChildGetsItsEnvironment(t *testing.T) {
	t.Setenv("FROM_PARENT", "yes")
	workload := testFunction(t, "env", "serve", "OWN=1", "PORT=1", "SLUICE_URL=wrong")
	workload.Command = append(workload.Command, "--port={port}", "x{replica}y", "$(touch hacked); `id`")
	run := runConfig(t, ClusterConfig{
		Workloads: []Workload{workload}, DataDir: t.TempDir(), Env: []string{"SLUICE_URL=http://127.0.0.1:5002"},
	})
	pod := run.one(t, "env")
	said := ask(t, pod)

	_, port, _ := strings.Cut(pod.Address, ":")
	for _, want := range []string{"FROM_PARENT=yes", "OWN=1", "PORT=" + port, "SLUICE_REPLICA=0", "SLUICE_URL=http://127.0.0.1:5002"} {
		if !slices.Contains(said.Env, want) {
			t.Errorf("the child has no %s", want)
		}
	}
	if want := []string{"--port=" + port, "x0y", "$(touch hacked); `id`"}; !slices.Equal(said.Args[1:], want) {
		t.Errorf("arguments are %q, want %q", said.Args[1:], want)
	}
	if dir, _ := filepath.EvalSymlinks(workload.Dir); said.Dir != dir {
		t.Errorf("the folder is %s, want %s", said.Dir, dir)
	}
	if said.Stdin != "" && said.Stdin != "/dev/null" {
		t.Errorf("stdin is %s, want /dev/null", said.Stdin)
	}
}

func TestStatefulSetHasStableNames(t *testing.T) {
	t.Parallel()
	workload := testFunction(t, "db", "serve")
	workload.Function.Kind, workload.Replicas = function.KindStatefulSet, 3
	run := runCluster(t, workload)
	before := run.Wait(t, "db", patience, scalertest.Ready(3))
	run.set(t, "db", 2, "db-1")
	run.set(t, "db", 3)
	after := run.Wait(t, "db", patience, func(w function.Workload) bool {
		return scalertest.Ready(3)(w) && w.Pods[1].Address != before.Pods[1].Address
	})
	for i, want := range []string{"db-0", "db-1", "db-2"} {
		if after.Pods[i].Name != want {
			t.Errorf("replica %d is %s, want %s", i, after.Pods[i].Name, want)
		}
	}
	if ask(t, after.Pods[1]).PID == 0 || after.Pods[0].Address != before.Pods[0].Address {
		t.Error("a replica that was no victim was replaced")
	}
}

func TestNewestEndsFirst(t *testing.T) {
	t.Parallel()
	run := runCluster(t, testFunction(t, "f", "serve"))
	first := run.one(t, "f")
	run.set(t, "f", 2)
	second := run.Wait(t, "f", patience, scalertest.Ready(2)).Pods[1]
	run.set(t, "f", 1, first.Name)
	if left := run.one(t, "f"); left.Name != second.Name {
		t.Errorf("%s is left, want %s", left.Name, second.Name)
	}
	run.set(t, "f", 3)
	run.Wait(t, "f", patience, scalertest.Ready(3))
	run.set(t, "f", 1)
	if left := run.one(t, "f"); left.Name != second.Name {
		t.Errorf("%s is left, want the oldest, %s", left.Name, second.Name)
	}
}

func TestVictimIsUnreadyAtOnce(t *testing.T) {
	t.Parallel()
	workload := testFunction(t, "f", "stubborn")
	run := runCluster(t, workload)
	pid := ask(t, run.one(t, "f")).PID
	start := time.Now()
	run.set(t, "f", 0)
	run.Wait(t, "f", patience, func(w function.Workload) bool {
		return w.Replicas == 0 && len(w.Pods) == 1 && !w.Pods[0].Ready
	})
	if !alive(pid) {
		t.Error("the process was gone before its grace period had ended")
	}
	run.Wait(t, "f", patience, scalertest.Ready(0))
	if took := time.Since(start); took < workload.GracePeriod || alive(pid) {
		t.Errorf("the process was killed after %s, want %s", took, workload.GracePeriod)
	}
}

func TestDeploymentDoesNotWaitForATerminatingReplica(t *testing.T) {
	t.Parallel()
	workload := testFunction(t, "f", "stubborn")
	workload.GracePeriod = 20 * time.Second // in which the new replica starts
	run := runCluster(t, workload)
	old := run.one(t, "f")
	defer killReplica(t, old)()
	run.set(t, "f", 0)
	run.set(t, "f", 1)
	ready := run.Wait(t, "f", patience, func(w function.Workload) bool { return len(w.ReadyEndpoints(old.Name)) == 1 })
	if len(ready.Pods) != 2 || ready.Pods[0].Name != old.Name || ready.Pods[0].Ready {
		t.Fatalf("the new replica waited for the end of the old one: %+v", ready.Pods)
	}
	killReplica(t, ready.Pods[1])()
}

func TestFixedWorkloadIsNotScaled(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewServer(http.NotFoundHandler())
	defer elsewhere.Close()
	address := strings.TrimPrefix(elsewhere.URL, "http://")
	run := runCluster(t, Workload{Function: function.Function{Name: "far"}, URL: address})
	workload := run.Wait(t, "far", patience, scalertest.Ready(1))
	if !workload.Fixed || workload.Pods[0].Address != address {
		t.Errorf("observed %+v", workload)
	}
	if err := run.cluster.SetReplicas(t.Context(), "far", 0, nil); !errors.Is(err, ErrFixed) {
		t.Errorf("scaling returned %v", err)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	twice := testFunction(t, "f", "serve")
	if _, err := NewCluster(ClusterConfig{Workloads: []Workload{twice, twice}}); err == nil {
		t.Error("two workloads of one name were taken")
	}
	cluster, err := NewCluster(ClusterConfig{Workloads: []Workload{twice}, DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if err := cluster.SetReplicas(t.Context(), "f", 1, nil); !errors.Is(err, ErrNotRunning) {
		t.Errorf("before Watch: %v", err)
	}
	run := runCluster(t, twice)
	for _, count := range []int{-1, maxReplicas + 1} {
		if err := run.cluster.SetReplicas(t.Context(), "f", count, nil); err == nil {
			t.Errorf("%d replicas were taken", count)
		}
	}
}

func TestEndOfWatchLeavesNothing(t *testing.T) {
	t.Parallel()
	workload := testFunction(t, "f", "forking")
	stubborn := testFunction(t, "stubborn", "stubborn")
	stubborn.GracePeriod = 100 * time.Millisecond
	run := runCluster(t, workload, stubborn)
	child := ask(t, run.one(t, "f"))
	other := ask(t, run.one(t, "stubborn"))
	run.stop()
	for _, pid := range []int{child.PID, other.PID} {
		if alive(pid) {
			t.Errorf("process %d is alive after Watch has returned", pid)
		}
	}
	expectGone(t, child.Grandchild)
	if text, err := os.ReadFile(filepath.Join(run.dataDir, "processes")); err != nil || strings.Count(string(text), "\n") != 1 {
		t.Errorf("the list of processes is %q, %v", text, err)
	}
	if err := run.cluster.SetReplicas(t.Context(), "f", 1, nil); !errors.Is(err, ErrNotRunning) {
		t.Errorf("after Watch: %v", err)
	}
}
