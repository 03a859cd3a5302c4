//go:build unix

package local

import (
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
