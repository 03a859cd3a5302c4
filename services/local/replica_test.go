package local

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/services/scaler/scalertest"
)

func TestCrashedReplicaComesBackAfterBackoff(t *testing.T) {
	t.Parallel()
	run := runCluster(t, testFunction(t, "f", "serve"))
	before := run.one(t, "f")
	killed := time.Now()
	if err := syscall.Kill(ask(t, before).PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	gone := run.Wait(t, "f", patience, func(w function.Workload) bool { return len(w.ReadyEndpoints()) == 0 })
	if gone.Replicas != 1 || gone.Pods[0].Address != "" {
		t.Errorf("observed %+v", gone)
	}
	expectContains(t, run.problem(t, "f"), "of function f (functions.yaml:7) was ended by signal 9 (killed); it wrote no output")
	after := run.one(t, "f")
	if took := time.Since(killed); took < firstBackoff {
		t.Errorf("it came back after %s, before the back-off of %s", took, firstBackoff)
	}
	if after.Name != before.Name || after.Address == before.Address || after.Problem != "" {
		t.Errorf("it came back as %+v, before it was %+v", after, before)
	}
}

func TestBackoffOutlivesScalingToZero(t *testing.T) {
	t.Parallel()
	const life = 3 * time.Second // in which it is seen to be ready
	launched := time.Now()
	run := runCluster(t, testFunction(t, "f", "mortal", testDelay+"="+life.String()))
	run.one(t, "f")
	expectContains(t, run.problem(t, "f"), "exited with code 4")
	run.set(t, "f", 0)
	run.Wait(t, "f", patience, scalertest.Ready(0))
	run.set(t, "f", 1)
	run.one(t, "f")
	if took := time.Since(launched); took < life+firstBackoff {
		t.Errorf("it was started again after %s, before the back-off of %s after a life of %s", took, firstBackoff, life)
	}
}

func TestProblemHasTheLastLines(t *testing.T) {
	t.Parallel()
	problem := runCluster(t, testFunction(t, "f", "broken")).problem(t, "f")
	expectContains(t, problem, "exited with code 3; its last lines of output:\n", "\nline 29", "cannot open /etc/secret")
	if strings.Contains(problem, "line 9\n") || strings.Count(problem, "\n") != keptLines {
		t.Errorf("not the last %d lines:\n%s", keptLines, problem)
	}
}

func TestStartTimeoutIsToldAndTriedAgain(t *testing.T) {
	t.Parallel()
	workload := testFunction(t, "f", "deaf")
	run := runConfig(t, ClusterConfig{
		Workloads: []Workload{workload}, DataDir: t.TempDir(), StartTimeout: 5 * time.Second,
	})
	expectContains(t, run.problem(t, "f"), "runs and was not ready after 5s",
		"has to accept connections on 127.0.0.1 and the port in PORT", "waiting for the database")
	eventually(t, "a second process was started", func() bool {
		return strings.Count(run.logs.String(), `"message":"waiting for the database"`) >= 2
	})
}

func TestReadyReplicaIsNotTimedOut(t *testing.T) {
	t.Parallel()
	const timeout = 10 * time.Second
	run := runConfig(t, ClusterConfig{
		Workloads: []Workload{testFunction(t, "f", "serve")}, DataDir: t.TempDir(), StartTimeout: timeout,
	})
	pid := ask(t, run.one(t, "f")).PID
	eventually(t, "the start-up timeout has passed", func() bool {
		return time.Since(started(t, run)) > timeout+200*time.Millisecond
	})
	if !alive(pid) {
		t.Error("a ready process was ended at the start-up timeout")
	}
}

func started(t *testing.T, run running) time.Time {
	t.Helper()
	info, err := os.Stat(filepath.Join(run.dataDir, "processes"))
	if err != nil {
		t.Fatal(err)
	}
	return info.ModTime()
}

func TestUnreadyAndReadyAgain(t *testing.T) {
	t.Parallel()
	mark := filepath.Join(t.TempDir(), "unready")
	workload := testFunction(t, "f", "serve", testMark+"="+mark)
	workload.Probe = Probe{Path: "/healthz", Period: 20 * time.Millisecond, FailureThreshold: 2, Timeout: time.Second}
	run := runCluster(t, workload)
	before := run.one(t, "f")
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	unready := run.Wait(t, "f", patience, func(w function.Workload) bool { return len(w.ReadyEndpoints()) == 0 })
	expectContains(t, unready.Pods[0].Problem, "is ready no more: GET /healthz")
	if err := os.Remove(mark); err != nil {
		t.Fatal(err)
	}
	if after := run.one(t, "f"); after.Address != before.Address || after.Problem != "" {
		t.Errorf("it is ready again as %+v, before it was %+v", after, before)
	}
}

func TestCommandThatDoesNotExist(t *testing.T) {
	t.Parallel()
	workload := testFunction(t, "f", "serve")
	self := workload.Command[0]
	workload.Command = []string{"./bin/x"}
	run := runCluster(t, workload)
	want := "command ./bin/x of function f (functions.yaml:7) does not exist: build it or correct sluice/LocalCommand"
	if problem := run.problem(t, "f"); problem != want {
		t.Errorf("the problem is %q, want %q", problem, want)
	}
	if err := os.Mkdir(filepath.Join(workload.Dir, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(workload.Dir, "bin", "x")); err != nil {
		t.Fatal(err)
	}
	run.one(t, "f") // built in the meantime
}

func TestCommandsThatCannotStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("nonsense\n"), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cases := map[string]struct {
		workload Workload
		want     string
	}{
		"no-command":  {Workload{}, "has no command: set sluice/LocalCommand"},
		"no-folder":   {Workload{Command: []string{"true"}, Dir: dir + "/no"}, "has no folder to run in"},
		"not-in-path": {Workload{Command: []string{"no-such-program-anywhere"}}, "does not exist"},
		"no-mode":     {Workload{Command: []string{write("plain", 0o600)}}, "is not executable"},
		"no-program":  {Workload{Command: []string{write("garbage", 0o700)}}, "is not a program for this machine"},
	}
	var workloads []Workload
	for name, c := range cases {
		c.workload.Function.Name, c.workload.Replicas = name, 1
		workloads = append(workloads, c.workload)
	}
	run := runCluster(t, workloads...)
	for name, c := range cases {
		expectContains(t, run.problem(t, name), c.want, name)
	}
}

func TestOutputOfGrandchildDoesNotHoldUpARestart(t *testing.T) {
	t.Parallel()
	mark := filepath.Join(t.TempDir(), "grandchild")
	run := runCluster(t, testFunction(t, "f", "escaping", testMark+"="+mark))
	expectContains(t, run.problem(t, "f"), "exited with code 5")
	text, err := os.ReadFile(mark)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(string(text))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(pid, syscall.SIGKILL) }()
	if !alive(pid) {
		t.Fatal("the grandchild did not hold the output open")
	}
	run.stop()
}

func TestCrashEndsTheWholeGroup(t *testing.T) {
	t.Parallel()
	run := runCluster(t, testFunction(t, "f", "forking"))
	child := ask(t, run.one(t, "f"))
	if err := syscall.Kill(child.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	expectGone(t, child.Grandchild)
}
