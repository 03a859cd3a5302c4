package local

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/rs/zerolog"
)

// leftoverGrace is how long a process that an earlier run left has to end.
const leftoverGrace = 2 * time.Second

// leftovers is the file that lists the children which live, for the run after a crash: "boot <id>", then a line
// of "<pid> <start time>" for each.
type leftovers struct {
	path   string
	logger zerolog.Logger
}

// end ends the processes that the file lists and that are still the same: the same id and the same start time.
func (l leftovers) end() {
	var left []int
	for pid, start := range l.read() {
		if now, err := startTime(pid); err == nil && now == start {
			l.logger.Info().Int("pid", pid).Msg("Ending a process that an earlier run left")
			left = append(left, pid)
		}
	}
	endGroups(left, leftoverGrace)
}

// read returns what the file lists, and nothing when it is of another boot of the machine.
func (l leftovers) read() map[int]string {
	file, err := os.Open(l.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		l.logger.Warn().Err(err).Msg("Processes that an earlier run left cannot be found")
		return nil
	}
	defer func() { _ = file.Close() }()
	lines := bufio.NewScanner(file)
	if !lines.Scan() || lines.Text() != "boot "+bootID() {
		return nil
	}
	left := map[int]string{}
	for lines.Scan() {
		var pid int
		var start string
		if n, _ := fmt.Sscanf(lines.Text(), "%d %s", &pid, &start); n == 2 {
			left[pid] = start
		}
	}
	return left
}

// write replaces the file as a whole. It is not synced to disk, because no process outlives the machine.
func (l leftovers) write(groups map[int]string) error {
	var text strings.Builder
	text.WriteString("boot " + bootID() + "\n")
	for pid, start := range groups {
		fmt.Fprintf(&text, "%d %s\n", pid, start)
	}
	next := l.path + ".next"
	if err := os.WriteFile(next, []byte(text.String()), 0o600); err != nil {
		return fmt.Errorf("write the list of child processes: %w", err)
	}
	if err := os.Rename(next, l.path); err != nil {
		return fmt.Errorf("replace the list of child processes: %w", err)
	}
	return nil
}
