package local

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/rs/zerolog"

	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/services/scaler/scalertest"
)

// A group of which nobody runs is gone, also while its leader waits to be reaped: where sluice is the first process of a container, orphans do for ever.
func TestZombiesAreGone(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(executable(t), "sleep=1h")
	cmd.Env = append(os.Environ(), testMode+"=job", podVariable+"=a-pod-of-this-test")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	defer func() { _ = cmd.Wait() }()
	if !groupLives(pid) {
		t.Error("the group is gone before its end")
	}
	eventually(t, "it is found by its environment", func() bool {
		found := holders(podVariable, map[string]bool{"a-pod-of-this-test": true, "another": true})
		return len(found) == 1 && slices.Equal(found["a-pod-of-this-test"], []int{pid})
	})
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the group is gone", func() bool { return !groupLives(pid) })
	if !groupExists(pid) {
		t.Error("it has been reaped: the test has shown nothing")
	}
	if found := holders(podVariable, map[string]bool{"a-pod-of-this-test": true}); len(found) > 0 {
		t.Errorf("it is still found: %v", found)
	}
	if groupLives(0) || groupLives(1) || groupLives(1<<30) {
		t.Error("a group lives that is none of ours")
	}
}

// A stage that was given up starts nothing, and does not panic, when everything is closed.
func TestNothingStartsAfterTheEnd(t *testing.T) {
	t.Parallel()
	p, err := openProcesses(ClusterConfig{DataDir: t.TempDir()}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	p.close()
	if _, err := p.start(processCommand{argv: []string{executable(t)}, output: newOutput(zerolog.Nop())}); !errors.Is(err, errStopped) {
		t.Errorf("started: %v", err)
	}
}

// Jobs learn how many replicas of a workload are ready.
func TestReadyReplicasAreTold(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	ready := map[string]int{}
	database := testFunction(t, "database", "serve")
	database.Watched = true
	run := runConfig(t, ClusterConfig{
		Workloads: []Workload{testFunction(t, "f", "serve"), database}, DataDir: t.TempDir(),
		Observed: func(workload function.Function, count int, there bool) {
			mu.Lock()
			defer mu.Unlock()
			if ready[workload.Name] = count; !there {
				ready[workload.Name] = -1
			}
		},
	})
	told := func(name string, want int) {
		t.Helper()
		eventually(t, name+" is told", func() bool { mu.Lock(); defer mu.Unlock(); return ready[name] == want })
	}
	told("database", 1)
	run.one(t, "f")
	told("f", 1)
	run.set(t, "f", 2)
	run.Wait(t, "f", patience, scalertest.Ready(2))
	told("f", 2)
	run.set(t, "f", 0)
	told("f", 0)
	run.cluster.apply([]Workload{{Function: function.Function{Name: "database", Kind: function.KindDeployment}, Watched: true}})
	told("f", -1)
	told("database", 0)
}
