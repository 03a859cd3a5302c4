package ops_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/sluicefaas/sluice/pkg/ops"
)

// childEnv makes this test binary the process that receives the signals. Its value is "finishes", "hangs" or
// "daemon".
const childEnv = "SLUICE_TEST_SIGNAL_CHILD"

// signalChild runs a lifecycle whose stage prints what it is told. The one that hangs waits to be interrupted.
func signalChild() int {
	take, work, release := ops.SignalContexts(context.Background())
	defer release()
	lifecycle := ops.Lifecycle{
		DrainTimeout: time.Hour,
		Logger:       zerolog.Nop(),
		Close:        func() { fmt.Println("closed") },
		Stages: []ops.Stage{{Name: "child", Run: func(take, work context.Context) error {
			fmt.Println("ready")
			<-take.Done()
			fmt.Println("take ended, work:", work.Err())
			if os.Getenv(childEnv) == "hangs" {
				<-work.Done()
				fmt.Println("work ended")
			}
			return nil
		}}},
	}
	if err := lifecycle.Run(take, work); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(context.Cause(take))
	return 0
}

// child is a process of signalChild whose lines are read one by one.
type child struct {
	t       *testing.T
	command *exec.Cmd
	lines   chan string
}

func startChild(t *testing.T, kind string) *child {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	command := exec.CommandContext(ctx, os.Args[0])
	command.Env = append(os.Environ(), childEnv+"="+kind, "GORACE=atexit_sleep_ms=0")
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{t: t, command: command, lines: make(chan string, 20)}
	go func() {
		defer close(c.lines)
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			c.lines <- scanner.Text()
		}
	}()
	return c
}

func (c *child) expect(lines ...string) {
	c.t.Helper()
	for _, want := range lines {
		if got := within(c.t, want, c.lines); got != want {
			c.t.Fatalf("got line %q, want %q", got, want)
		}
	}
}

func (c *child) signal(sig os.Signal) {
	c.t.Helper()
	if err := c.command.Process.Signal(sig); err != nil {
		c.t.Fatal(err)
	}
}

func TestFirstSignalDrainsAndExitsZero(t *testing.T) {
	c := startChild(t, "finishes")
	c.expect("ready")
	c.signal(syscall.SIGTERM)
	c.expect("take ended, work: <nil>", "closed", "received terminated")
	if err := c.command.Wait(); err != nil {
		t.Error(err)
	}
}

func TestSecondSignalInterrupts(t *testing.T) {
	c := startChild(t, "hangs")
	c.expect("ready")
	c.signal(syscall.SIGINT)
	c.signal(syscall.SIGTERM) // at once: the same, sent twice
	c.expect("take ended, work: <nil>")
	select {
	case line := <-c.lines:
		t.Errorf("a signal that was sent twice at once interrupts: %q", line)
	case <-time.After(time.Second):
	}
	c.signal(syscall.SIGTERM)
	c.expect("work ended", "closed", "received interrupt")
	if err := c.command.Wait(); err != nil {
		t.Error(err)
	}
}

func TestSignalContextsEndWithTheirParentAndRelease(t *testing.T) {
	parent, cancel := context.WithCancel(context.Background())
	take, work, release := ops.SignalContexts(parent)
	if take.Err() != nil || work.Err() != nil {
		t.Fatal("ended at the start")
	}
	cancel()
	within(t, "take", take.Done())
	release()

	take, work, release = ops.SignalContexts(context.Background())
	release()
	if !errors.Is(take.Err(), context.Canceled) || !errors.Is(work.Err(), context.Canceled) {
		t.Error("release left a context open")
	}
}
