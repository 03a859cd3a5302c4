package local

import (
	"fmt"
	"os"
	"slices"
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

// groupLives says whether a process of the group runs; one that only waits to be reaped does not.
func groupLives(group int) bool {
	const zombie = 5 // SZOMB of sys/proc.h
	if !groupExists(group) {
		return false
	}
	members, err := unix.SysctlKinfoProcSlice("kern.proc.pgrp", group)
	if err != nil {
		return true
	}
	return slices.ContainsFunc(members, func(p unix.KinfoProc) bool { return p.Proc.P_stat != zombie })
}

// environments tells the arguments and the environment of each process that may be read, as they were when its program began.
func environments(each func(pid int, environment []byte)) {
	mine, err := unix.SysctlKinfoProcSlice("kern.proc.uid", os.Getuid())
	if err != nil {
		return
	}
	for _, p := range mine {
		pid := int(p.Proc.P_pid)
		if environment, err := unix.SysctlRaw("kern.procargs2", pid); err == nil && len(environment) <= maxEnvironment {
			each(pid, environment)
		}
	}
}
