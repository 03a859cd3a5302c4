package local

import (
	"bufio"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/sluicefaas/sluice/pkg/function"
)

// testWithout names what the parent does without, so that the other means are seen to suffice.
const testWithout = "SLUICE_TEST_WITHOUT"

// playParent is a process that runs a cluster with one function until it is killed.
func playParent() {
	self, _ := os.Executable()
	without := os.Getenv(testWithout)
	cluster, err := NewCluster(ClusterConfig{
		Workloads: []Workload{{
			Function: function.Function{Name: "f", Kind: function.KindDeployment}, Replicas: 1, Command: []string{self},
			Env: []string{testMode + "=forking"},
		}},
		DataDir:       os.Getenv(testDataDir),
		noDeathSignal: strings.Contains(without, "death signal"), noWatchdog: strings.Contains(without, "watchdog"),
	})
	if err == nil {
		err = cluster.Watch(context.Background(), announcer{})
	}
	fmt.Println("error", err)
}

// announcer prints the address of each replica that is ready.
type announcer struct{}

func (announcer) Observe(w function.Workload) {
	for _, endpoint := range w.ReadyEndpoints() {
		fmt.Println("ready", endpoint.Address)
	}
}
func (announcer) Forget(string)                          {}
func (announcer) Last(string) (function.Function, bool)  { return function.Function{}, false }
func (announcer) Synced()                                {}
func (announcer) Inside(map[netip.Addr]function.Insider) {}

// startParent returns the parent and what its function says.
func startParent(t *testing.T, dataDir, without string) (*exec.Cmd, facts) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), testMode+"=parent", testDataDir+"="+dataDir, testWithout+"="+without)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	address, ok := strings.CutPrefix(strings.TrimSpace(line), "ready ")
	if !ok {
		_ = cmd.Process.Kill()
		t.Fatalf("the parent said %q, %v", line, err)
	}
	return cmd, ask(t, function.Pod{Address: address})
}

func killParent(t *testing.T, parent *exec.Cmd) {
	t.Helper()
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
}

func TestKilledParentLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, without := range []string{"", "death signal"} {
		t.Run("without "+without, func(t *testing.T) {
			parent, child := startParent(t, t.TempDir(), without)
			killParent(t, parent)
			expectGone(t, child.PID, child.Grandchild)
		})
	}
}

func TestDeathSignalAloneEndsTheChild(t *testing.T) {
	t.Parallel()
	if !hasDeathSignal {
		t.Skip("this system has no death signal")
	}
	parent, child := startParent(t, t.TempDir(), "watchdog")
	defer func() { _ = syscall.Kill(child.Grandchild, syscall.SIGKILL) }()
	killParent(t, parent)
	expectGone(t, child.PID)
}

func TestNextRunEndsWhatIsLeft(t *testing.T) {
	t.Parallel()
	dataDir := t.TempDir()
	parent, child := startParent(t, dataDir, "watchdog and death signal")
	killParent(t, parent)
	if !alive(child.PID) {
		t.Fatal("nothing was left")
	}
	run := runConfig(t, ClusterConfig{DataDir: dataDir})
	run.WaitSynced(t, patience)
	expectGone(t, child.PID, child.Grandchild)
	expectContains(t, run.logs.String(), "Ending a process that an earlier run left")
}
