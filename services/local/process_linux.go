package local

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// groupLeader makes the child lead a process group, which is what signals are sent to. With deathSignal the kernel
// kills it when the thread that started it ends.
func groupLeader(deathSignal bool) *syscall.SysProcAttr {
	attributes := &syscall.SysProcAttr{Setpgid: true}
	if deathSignal {
		attributes.Pdeathsig = syscall.SIGKILL
	}
	return attributes
}

// startTime tells two processes with the same id apart: field 22 of proc_pid_stat(5), in clock ticks since boot. The
// error is os.ErrNotExist when there is no such process.
func startTime(pid int) (string, error) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if errors.Is(err, syscall.ESRCH) { // it ended between the opening and the reading
		return "", os.ErrNotExist
	}
	if err != nil {
		return "", fmt.Errorf("read start time of process %d: %w", pid, err)
	}
	// The name in parentheses, field 2, may hold spaces and parentheses; field 3 comes after the last one.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return "", fmt.Errorf("read start time of process %d: unexpected /proc/%d/stat", pid, pid)
	}
	return string(fields[19]), nil
}

// bootID changes with each start of the machine, because startTime counts from there.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

// groupLives says whether a process of the group runs; one that only waits to be reaped does not.
func groupLives(group int) bool {
	if !groupExists(group) {
		return false
	}
	for _, pid := range everyPID() {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil {
			continue // it has ended
		}
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]) // from field 3 on: state, parent, group
		if len(fields) > 2 && string(fields[2]) == strconv.Itoa(group) && !bytes.ContainsAny(fields[0], "ZX") {
			return true
		}
	}
	return false
}

// environments tells the environment of each process that may be read, as it was when its program began.
func environments(each func(pid int, environment []byte)) {
	for _, pid := range everyPID() {
		file, err := os.Open("/proc/" + strconv.Itoa(pid) + "/environ")
		if err != nil {
			continue // it has ended, or is somebody else's
		}
		environment, err := io.ReadAll(io.LimitReader(file, maxEnvironment))
		_ = file.Close() // it was only read
		if err == nil {
			each(pid, environment)
		}
	}
}

func everyPID() (pids []int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
