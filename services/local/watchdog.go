package local

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// watchdogGrace is how long groups have to end after their parent is gone. It is short: nobody waits for their work.
const watchdogGrace = 200 * time.Millisecond

// Watchdog is the whole life of the watchdog process, a second process of the same binary. It reads lines of
// "start <group> <start time>" and "end <group>" until the pipe ends, which it does however its parent ended,
// by kill -9 too; then it ends every group that is still listed and returns. Signals do not end it early.
func Watchdog(in io.Reader) error {
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	groups, err := readGroups(in)
	endGroups(ours(groups), watchdogGrace)
	return err
}

// readGroups follows the lines to the end and returns the groups that were started and have not ended.
func readGroups(in io.Reader) (map[int]string, error) {
	groups := map[int]string{}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var group int
		var start string
		if n, _ := fmt.Sscanf(lines.Text(), "start %d %s", &group, &start); n == 2 {
			groups[group] = start
		} else if n, _ := fmt.Sscanf(lines.Text(), "end %d", &group); n == 1 {
			delete(groups, group)
		}
	}
	if err := lines.Err(); err != nil {
		return groups, fmt.Errorf("read the list of process groups: %w", err)
	}
	return groups, nil
}

// ours leaves out groups whose id belongs to another process by now. A leader that is gone is no such sign: the
// kernel keeps a group's id for as long as the group has members, and members may have outlived their leader.
func ours(groups map[int]string) []int {
	var ids []int
	for group, start := range groups {
		now, err := startTime(group)
		if errors.Is(err, os.ErrNotExist) || (err == nil && now == start) {
			ids = append(ids, group)
		}
	}
	return ids
}
