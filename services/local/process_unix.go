//go:build unix

package local

import (
	"bytes"
	"os"
	"slices"
	"syscall"
	"time"
)

// signalGroup sends a signal to every process of a group. A group that is gone is no error.
func signalGroup(group int, signal syscall.Signal) {
	if group > 1 { // 0 and 1 would mean our own group and everybody
		_ = syscall.Kill(-group, signal)
	}
}

func groupExists(group int) bool {
	return group > 1 && syscall.Kill(-group, 0) == nil
}

// endGroups asks the groups to end and kills those that are still there after the grace period.
func endGroups(groups []int, grace time.Duration) {
	groups = slices.Clone(groups)
	for _, group := range groups {
		signalGroup(group, syscall.SIGTERM)
	}
	for deadline := time.Now().Add(grace); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		groups = slices.DeleteFunc(groups, func(group int) bool { return !groupExists(group) })
		if len(groups) == 0 {
			return
		}
	}
	for _, group := range groups {
		signalGroup(group, syscall.SIGKILL)
	}
}

// maxEnvironment bounds what is read of a process's environment, in bytes: the most that Linux starts a program with.
const maxEnvironment = 6 << 20

// holders finds the processes that have one of the values for a variable in their environment, which their own children inherit.
func holders(variable string, values map[string]bool) map[string][]int {
	found := map[string][]int{}
	environments(func(pid int, environment []byte) {
		if pid == os.Getpid() {
			return
		}
		for entry := range bytes.SplitSeq(environment, []byte{0}) {
			value, is := bytes.CutPrefix(entry, []byte(variable+"="))
			if is && values[string(value)] {
				found[string(value)] = append(found[string(value)], pid)
			}
		}
	})
	return found
}
