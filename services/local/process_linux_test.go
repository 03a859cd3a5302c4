package local

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/sluicefaas/sluice/services/scaler/scalertest"
	"golang.org/x/sys/unix"
)

const hasDeathSignal = true

// sessionOf returns the session of a process.
func sessionOf(pid int) (int, error) { return unix.Getsid(pid) }

// The death signal comes when the thread that started a child ends, so children are not started on any thread.
func TestChildrenOutliveTheThreadOfTheCaller(t *testing.T) {
	t.Parallel()
	run := runCluster(t, testFunction(t, "f", "serve"))
	run.one(t, "f")
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked, so the thread ends with the goroutine
		done <- run.cluster.SetReplicas(t.Context(), "f", 2, nil)
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	pids := []int{}
	for _, pod := range run.Wait(t, "f", patience, scalertest.Ready(2)).Pods {
		pids = append(pids, ask(t, pod).PID)
	}
	for range 20 {
		go func() {
			runtime.LockOSThread()
			done <- nil
		}()
	}
	for range 20 {
		<-done
	}
	for _, pid := range pids {
		if !alive(pid) {
			t.Errorf("process %d ended with a thread", pid)
		}
	}
}

func TestStartTimeOfThisProcess(t *testing.T) {
	t.Parallel()
	start, err := startTime(os.Getpid())
	if err != nil || start == "" || start == "0" {
		t.Errorf("start time is %q, %v", start, err)
	}
}

func TestWatchdogDoesNotEndBySignals(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dog, err := startWatchdog([]string{self, "watchdog"})
	if err != nil {
		t.Fatal(err)
	}
	pid := dog.cmd.Process.Pid
	eventually(t, "the watchdog ignores SIGTERM", func() bool { return ignores(pid, syscall.SIGTERM) })
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		if !ignores(pid, signal) {
			t.Errorf("the watchdog ends by %s", signal)
		}
	}
	_ = syscall.Kill(pid, syscall.SIGTERM)
	listed := startDeaf(t)
	if err := dog.started(listed, startOf(t, listed)); err != nil {
		t.Fatal(err)
	}
	dog.close()
	expectGone(t, listed)
}

// ignores reads the mask of ignored signals, proc_pid_status(5).
func ignores(pid int, signal syscall.Signal) bool {
	status, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	_, after, _ := strings.Cut(string(status), "SigIgn:\t")
	mask, _ := strconv.ParseUint(strings.SplitN(after, "\n", 2)[0], 16, 64)
	return mask&(1<<(signal-1)) != 0
}
