package cluster

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"time"
)

const (
	// closeLimit is how long a cluster may take to end and to clean up.
	closeLimit = 2 * time.Minute

	complaintBytes = 64 << 10
)

// supervisor is a running bin/kube. It ends when its standard input is closed, so also when this process dies.
type supervisor struct {
	cmd        *exec.Cmd
	input      io.Closer
	complaints complaints
	exited     chan struct{} // closed when the program has ended; err and complaints may be read from then on
	err        error
}

// startSupervisor returns when the cluster is ready. If it does not get ready, the supervisor that it returns with the error, or nil,
// is to be closed.
func startSupervisor(ctx context.Context, program, mode, dir string) (*supervisor, error) {
	s := &supervisor{
		cmd:    exec.Command(program, mode, "--dir", dir), //nolint:gosec,noctx // bin/kube; close ends it
		exited: make(chan struct{}),
	}
	s.cmd.Stderr = &s.complaints
	input, err := s.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe to kube: %w", err)
	}
	s.input = input
	output, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe from kube: %w", err)
	}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start kube: %w", err)
	}
	ready := make(chan struct{})
	go s.wait(output, ready)
	select {
	case <-ready:
		return s, nil
	case <-s.exited:
		return s, fmt.Errorf("kube %s ended before it was ready", mode)
	case <-ctx.Done():
		return s, fmt.Errorf("wait for kube %s to be ready: %w", mode, context.Cause(ctx))
	}
}

// wait closes ready after the line "ready", reads on, and closes exited in the end.
func (s *supervisor) wait(output io.Reader, ready chan<- struct{}) {
	lines := bufio.NewScanner(output)
	for told := false; lines.Scan(); {
		if !told && lines.Text() == "ready" {
			told = true
			close(ready)
		}
	}
	s.err = s.cmd.Wait()
	close(s.exited)
}

// close ends the cluster. The error holds what the program has complained about.
func (s *supervisor) close() error {
	_ = s.input.Close() // it may have ended by itself
	timer := time.NewTimer(closeLimit)
	defer timer.Stop()
	select {
	case <-s.exited:
	case <-timer.C:
		_ = s.cmd.Process.Kill()
		<-s.exited
	}
	if s.err != nil {
		return fmt.Errorf("kube: %w: %s", s.err, s.complaints.text)
	}
	return nil
}

// complaints is the beginning of what a program prints.
type complaints struct{ text []byte }

// Write never fails: what is too much is dropped.
func (c *complaints) Write(p []byte) (int, error) {
	room := complaintBytes - len(c.text)
	c.text = append(c.text, p[:min(room, len(p))]...)
	return len(p), nil
}
