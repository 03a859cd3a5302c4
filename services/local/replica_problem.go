package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// who names the command for a person: which one, of which function, and where it is written.
func (w Workload) who() string {
	return fmt.Sprintf("command %s of function %s (%s)", w.Command[0], w.Function.Name, w.Source)
}

// startProblem says why a process could not be started and what to do.
func (w Workload) startProblem(err error) string {
	if errors.Is(err, errNoCommand) {
		return fmt.Sprintf("function %s (%s) has no command: set sluice/LocalCommand", w.Function.Name, w.Source)
	}
	if info, statErr := os.Stat(w.Dir); w.Dir != "" && (statErr != nil || !info.IsDir()) {
		return fmt.Sprintf("%s has no folder to run in: %s is not a folder", w.who(), w.Dir)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, exec.ErrNotFound):
		return w.who() + " does not exist: build it or correct sluice/LocalCommand"
	case errors.Is(err, fs.ErrPermission):
		return w.who() + " is not executable: make it so (chmod +x) or correct sluice/LocalCommand"
	case errors.Is(err, syscall.ENOEXEC):
		return w.who() + " is not a program for this machine, or a script without its #! line: build it anew or correct sluice/LocalCommand"
	}
	return fmt.Sprintf("%s cannot be started: %v", w.who(), err)
}

// exitProblem says how a process ended that was not asked to.
func (w Workload) exitProblem(child *process, log *output) string {
	return fmt.Sprintf("%s %s; %s", w.who(), child.exit(), log.lastLines())
}

func (w Workload) timeoutProblem(timeout time.Duration, log *output) string {
	return fmt.Sprintf("%s runs and was not ready after %s: %s; %s", w.who(), timeout, w.expectation(), log.lastLines())
}

func (w Workload) unreadyProblem() string {
	return fmt.Sprintf("%s is ready no more: %s", w.who(), w.expectation())
}

// expectation says what readiness asks of the process.
func (w Workload) expectation() string {
	if w.Probe.Path == "" {
		return "it has to accept connections on 127.0.0.1 and the port in PORT"
	}
	return fmt.Sprintf("GET %s on 127.0.0.1 and the port in PORT has to answer with a status from 200 to 399", w.Probe.Path)
}
