package local

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// groupLeader makes the child lead a process group, which is what signals are sent to. macOS has no death signal:
// there the watchdog does all of it.
func groupLeader(bool) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

// startTime tells two processes with the same id apart: seconds and microseconds of the clock. The error is
// os.ErrNotExist when there is no such process.
func startTime(pid int) (string, error) {
	process, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil || int(process.Proc.P_pid) != pid {
		return "", fmt.Errorf("read start time of process %d: %w", pid, os.ErrNotExist)
	}
	started := process.Proc.P_starttime
	return fmt.Sprintf("%d.%06d", started.Sec, started.Usec), nil
}

// bootID is empty, because startTime is a time of the clock.
func bootID() string { return "" }
