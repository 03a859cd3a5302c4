package local

import (
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// outputGrace is how long the output of a process that ended may stay open: a grandchild that left the process
// group can hold it for ever.
const outputGrace = 200 * time.Millisecond

// processCommand is what to start.
type processCommand struct {
	argv   []string
	dir    string
	env    []string // the whole environment
	output *output
}

// process is a child that leads a process group of its own. The group ends with it.
type process struct {
	cmd      *exec.Cmd
	registry *registry
	started  string         // its start time, empty if it could not be read
	readers  [2]*os.File    // of stdout and stderr
	copies   sync.WaitGroup // the goroutines that read them
	exited   chan struct{}  // closed at once when the process has ended
	finished chan struct{}  // closed when its output has been read as well
}

// pid is the id of the process and of its group.
func (p *process) pid() int { return p.cmd.Process.Pid }

// connect gives the command two pipes and reads them. It returns the ends that the child writes to. They are our
// own because exec's would hold back the news of the exit until nobody has them open.
func (p *process) connect(output *output) ([]*os.File, error) {
	var writers []*os.File
	for i, stream := range []string{stdout, stderr} {
		reader, writer, err := os.Pipe()
		if err != nil {
			closeAll(writers)
			p.disconnect()
			return nil, fmt.Errorf("make a pipe for %s: %w", stream, err)
		}
		p.readers[i] = reader
		writers = append(writers, writer)
		p.copies.Go(func() { output.copy(stream, reader) })
	}
	p.cmd.Stdout, p.cmd.Stderr = writers[0], writers[1]
	return writers, nil
}

// disconnect ends the reading of the output and waits until it has ended.
func (p *process) disconnect() {
	closeAll(p.readers[:])
	p.copies.Wait()
}

// reap waits for the end of the process, then ends what is left of its group.
func (p *process) reap() {
	defer close(p.finished)
	_ = p.cmd.Wait() // the exit is read from ProcessState
	signalGroup(p.pid(), syscall.SIGKILL)
	close(p.exited)
	p.registry.remove(p.pid())
	timer := time.AfterFunc(outputGrace, func() { closeAll(p.readers[:]) })
	p.copies.Wait()
	timer.Stop()
	p.disconnect()
}

// end asks the whole group to end, kills it after the grace period, or when now is closed, and returns when it is gone.
func (p *process) end(grace time.Duration, now <-chan struct{}) {
	timer := time.NewTimer(grace)
	defer timer.Stop()
	p.signal(syscall.SIGTERM)
	select {
	case <-p.finished:
		return
	case <-timer.C:
	case <-now:
	}
	p.signal(syscall.SIGKILL)
	<-p.finished
}

// signal reaches the whole group, unless the process has ended and its id may be somebody else's.
func (p *process) signal(signal syscall.Signal) {
	select {
	case <-p.exited:
	default:
		signalGroup(p.pid(), signal)
	}
}

// exit says in words how the process ended. It may be called once exited is closed.
func (p *process) exit() string {
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		return fmt.Sprintf("was ended by signal %d (%s)", int(status.Signal()), status.Signal())
	}
	return fmt.Sprintf("exited with code %d", p.cmd.ProcessState.ExitCode())
}

func closeAll(files []*os.File) {
	for _, file := range files {
		if file != nil {
			_ = file.Close() // a second close is no harm
		}
	}
}
