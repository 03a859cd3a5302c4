package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// childArgument is the hidden first argument that makes this binary play a role.
const childArgument = "child"

// Bounds of a child's life.
const (
	childStart = 30 * time.Second
	childEnd   = 20 * time.Second
)

// runRole is the main function of a child.
func runRole(role string, args []string) error {
	roles := map[string]func([]string) error{
		roleEcho: runEcho, rolePull: runPull, roleBackend: runBackend, roleFunction: runFunction, roleSleeper: runSleeper,
	}
	play, ok := roles[role]
	if !ok {
		return fmt.Errorf("role %q is unknown", role)
	}
	return play(args)
}

// child is a process that was started here.
type child struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
	end    context.CancelFunc
}

// startChild starts a command whose standard error is ours. It is asked to end when ctx ends, and when stop is called.
func startChild(ctx context.Context, name string, args ...string) (*child, error) {
	ctx, end := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, name, args...) // #nosec G204 -- our own binaries, and nginx
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = childEnd
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		end()
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		end()
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	if err := cmd.Start(); err != nil {
		end()
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return &child{cmd: cmd, stdin: stdin, stdout: bufio.NewReader(stdout), end: end}, nil
}

// startRole starts this binary in a role and returns the words that it says when it serves.
func (b *bench) startRole(ctx context.Context, role string, args ...string) (*child, []string, error) {
	c, err := startChild(ctx, b.self, append([]string{childArgument, role}, args...)...)
	if err != nil {
		return nil, nil, err
	}
	line, err := c.line()
	if err != nil {
		c.stop()
		return nil, nil, fmt.Errorf("start the role %s: %w", role, err)
	}
	return c, strings.Fields(line), nil
}

// line reads one line of the child's standard output.
func (c *child) line() (string, error) {
	timeout := time.AfterFunc(childStart, c.end)
	defer timeout.Stop()
	line, err := c.stdout.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("read what the child says: %w", err)
	}
	return line, nil
}

// ask sends one line to a child and waits for its answer.
func (c *child) ask(line string) error {
	if _, err := io.WriteString(c.stdin, line+"\n"); err != nil {
		return fmt.Errorf("ask the child: %w", err)
	}
	answer, err := c.line()
	if err != nil {
		return err
	}
	if answer = strings.TrimSpace(answer); answer != "ok" {
		return errors.New(answer)
	}
	return nil
}

// stop ends the child and waits until it is gone.
func (c *child) stop() {
	_ = c.stdin.Close()
	c.end()
	_ = c.cmd.Wait() // how it ends does not matter
}

// serveUntilStdinEnds keeps a role alive as long as its parent is: the pipe closes with the parent, however that ends.
func serveUntilStdinEnds() { _, _ = io.Copy(io.Discard, os.Stdin) }
