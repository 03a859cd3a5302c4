// Package process starts the programs of a cluster as children that never outlive the supervisor, keeps what they
// print in a log file, and says why one has ended.
package process

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Command is a program to run.
type Command struct {
	Name   string   // of the component; its log is LogDir/Name.log
	Path   string   // of the executable
	Args   []string // without the program's name
	LogDir string
	Grace  time.Duration // how long it may take to end before Stop kills it
}

// Process is a running program. It is killed by the kernel when the supervisor dies.
type Process struct {
	name   string
	log    string
	grace  time.Duration
	cmd    *exec.Cmd
	exited chan struct{} // closed when the program has ended; err may be read from then on
	err    error
}

// Start starts the program and returns at once.
func Start(command Command) (*Process, error) {
	log := filepath.Join(command.LogDir, command.Name+".log")
	output, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", command.Name, err)
	}
	defer output.Close()
	cmd := exec.Command(command.Path, command.Args...) //nolint:gosec,noctx // the cluster's own programs; Stop ends them
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{
		// The signal comes when the thread that started the child ends. Go ends a thread only if a goroutine that
		// is locked to it ends, and no goroutine here is.
		Pdeathsig: syscall.SIGKILL,
		// An interrupt typed in a terminal is for the supervisor alone, which ends the components in order.
		Setpgid: true,
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", command.Name, err)
	}
	p := &Process{name: command.Name, log: log, grace: command.Grace, cmd: cmd, exited: make(chan struct{})}
	go p.wait()
	return p, nil
}

func (p *Process) wait() {
	p.err = p.cmd.Wait()
	close(p.exited)
}

// Name is the component's name.
func (p *Process) Name() string { return p.name }

// Exited is closed when the program has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Err says how the program ended, with the end of its log. It is nil while the program runs.
func (p *Process) Err() error {
	select {
	case <-p.exited:
	default:
		return nil
	}
	how := "exit status 0"
	if p.err != nil {
		how = p.err.Error()
	}
	return fmt.Errorf("%s ended: %s; the end of its log %s:\n%s", p.name, how, p.log, tail(p.log))
}

// Stop asks the program to end, kills it after its grace time, and returns when it has ended.
func (p *Process) Stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.NewTimer(p.grace)
	defer timer.Stop()
	select {
	case <-p.exited:
		return
	case <-timer.C:
	}
	p.Kill()
}

// Kill ends the program with SIGKILL and returns when it has ended.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}
