package local

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// watchdogPatience bounds how long a write to the watchdog and its end may take.
const watchdogPatience = 2 * time.Second

// watchdog is the parent's side of the watchdog process.
type watchdog struct {
	cmd   *exec.Cmd
	pipe  *os.File
	ended chan struct{}
}

// startWatchdog runs argv with a pipe as its standard input. The other end of that pipe lives in this process alone
// and closes with it.
func startWatchdog(argv []string) (*watchdog, error) {
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe for the watchdog: %w", err)
	}
	cmd := exec.Command(argv[0], argv[1:]...) //nolint:gosec,noctx // our own binary; it ends when its pipe does
	cmd.Stdin = reader
	// A session of its own, so that ctrl-C on the terminal and the closing of the terminal do not end it early.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	_ = reader.Close()
	if err != nil {
		_ = writer.Close()
		return nil, fmt.Errorf("start the watchdog %s: %w", argv[0], err)
	}
	w := &watchdog{cmd: cmd, pipe: writer, ended: make(chan struct{})}
	go func() { // ends with the watchdog, for which close waits
		defer close(w.ended)
		_ = cmd.Wait()
	}()
	return w, nil
}

func (w *watchdog) started(group int, start string) error {
	return w.write(fmt.Sprintf("start %d %s\n", group, start))
}

func (w *watchdog) removed(group int) error {
	return w.write(fmt.Sprintf("end %d\n", group))
}

func (w *watchdog) write(line string) error {
	_ = w.pipe.SetWriteDeadline(time.Now().Add(watchdogPatience))
	if _, err := io.WriteString(w.pipe, line); err != nil {
		return fmt.Errorf("tell the watchdog of a process: %w", err)
	}
	return nil
}

// close ends the watchdog by ending its input.
func (w *watchdog) close() {
	_ = w.pipe.Close()
	select {
	case <-w.ended:
	case <-time.After(watchdogPatience):
		_ = w.cmd.Process.Kill()
		<-w.ended
	}
}
