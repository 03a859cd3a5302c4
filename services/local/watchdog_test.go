package local

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rs/zerolog"
)

// startDeaf starts a process that leads a group and lives until it is ended. It is reaped at once, as orphans are.
func startDeaf(t *testing.T) int {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), testMode+"=deaf")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	reaped := make(chan struct{})
	go func() { _ = cmd.Wait(); close(reaped) }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-reaped })
	return cmd.Process.Pid
}

func startOf(t *testing.T, pid int) string {
	t.Helper()
	start, err := startTime(pid)
	if err != nil {
		t.Fatal(err)
	}
	return start
}

func TestWatchdogEndsWhatIsListed(t *testing.T) {
	t.Parallel()
	listed, ended, recycled := startDeaf(t), startDeaf(t), startDeaf(t)
	var lines strings.Builder
	line := func(words ...string) { lines.WriteString(strings.Join(words, " ") + "\n") }
	line("start", strconv.Itoa(listed), startOf(t, listed))
	line("start", strconv.Itoa(ended), startOf(t, ended))
	line("start", strconv.Itoa(recycled), "1") // an unrelated process got the id
	line("nonsense")
	line("start", "0", "1")
	line("start", "-1", "1")
	line("end", strconv.Itoa(ended))

	groups, err := readGroups(strings.NewReader(lines.String()))
	if err != nil {
		t.Fatal(err)
	}
	endGroups(ours(groups), watchdogGrace)
	expectGone(t, listed)
	if !alive(ended) || !alive(recycled) {
		t.Error("a process was ended that was not listed any more or was not ours")
	}
}

func TestWatchdogIsReplaced(t *testing.T) {
	t.Parallel()
	run := runCluster(t, testFunction(t, "f", "serve"))
	run.one(t, "f")
	registry := run.cluster.tools.processes.registry
	first := registry.current()
	if err := first.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another watchdog runs", func() bool {
		next := registry.current()
		return next != nil && next != first
	})
	expectContains(t, run.logs.String(), "The watchdog ended before its time")
}

func TestWatchdogHasASessionOfItsOwn(t *testing.T) {
	t.Parallel()
	run := runCluster(t)
	run.WaitSynced(t, patience)
	dog := run.cluster.tools.processes.registry.current()
	if sid, err := sessionOf(dog.cmd.Process.Pid); err != nil || sid != dog.cmd.Process.Pid {
		t.Errorf("its session is %d, %v: ctrl-C on the terminal would reach it", sid, err)
	}
}

func TestWatchdogThatCannotStart(t *testing.T) {
	t.Parallel()
	cluster, err := NewCluster(ClusterConfig{DataDir: t.TempDir(), Watchdog: []string{"/no/such/program"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := cluster.Watch(t.Context(), announcer{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Watch returned %v", err)
	}
}

func TestLeftoversSpareARecycledPid(t *testing.T) {
	t.Parallel()
	ours, recycled := startDeaf(t), startDeaf(t)
	list := leftovers{path: t.TempDir() + "/processes", logger: zerolog.Nop()}
	if err := list.write(map[int]string{ours: startOf(t, ours), recycled: "1", 1 << 30: "1"}); err != nil {
		t.Fatal(err)
	}
	list.end()
	expectGone(t, ours)
	if !alive(recycled) {
		t.Error("an unrelated process with a recycled id was ended")
	}
}

func TestLeftoversOfAnotherBootOrBrokenAreNothing(t *testing.T) {
	t.Parallel()
	other := startDeaf(t)
	line := strconv.Itoa(other) + " " + startOf(t, other) + "\n"
	for _, text := range []string{"boot another\n" + line, "", line, "boot " + bootID() + "\nx y z\n\x00\n"} {
		list := leftovers{path: t.TempDir() + "/processes", logger: zerolog.Nop()}
		if err := os.WriteFile(list.path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		list.end()
	}
	if !alive(other) {
		t.Error("a process was ended that the file does not prove to be ours")
	}
}
