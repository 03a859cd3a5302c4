package local

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"sync"

	"github.com/rs/zerolog"
)

var (
	errNoCommand = errors.New("there is no command")
	errStopped   = errors.New("sluice local ends")
)

// processes starts children and sees to it that none of them outlives this process.
type processes struct {
	registry *registry
	starts   chan func()
	stopped  chan struct{} // closed by close
	starter  sync.WaitGroup
	noDeath  bool // tests of the watchdog alone start children without a death signal
}

// openProcesses ends what an earlier run left and starts the watchdog.
func openProcesses(config ClusterConfig, logger zerolog.Logger) (*processes, error) {
	registry, err := openRegistry(config, logger)
	if err != nil {
		return nil, err
	}
	p := &processes{registry: registry, starts: make(chan func()), stopped: make(chan struct{}), noDeath: config.noDeathSignal}
	p.starter.Go(p.keepThread)
	return p, nil
}

// close is called when every child is gone, or nobody waits for it any more.
func (p *processes) close() {
	close(p.stopped)
	p.starter.Wait()
	p.registry.close()
}

// keepThread runs every start on one thread that lives until the last child is gone: the death signal of a child
// is sent when the thread that started it ends, not the process.
func (p *processes) keepThread() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for {
		select {
		case start := <-p.starts:
			start()
		case <-p.stopped:
			return
		}
	}
}

// start returns a running process. The error is that of the operating system, with a verb phrase around it.
func (p *processes) start(command processCommand) (*process, error) {
	if len(command.argv) == 0 {
		return nil, errNoCommand
	}
	cmd := exec.Command(command.argv[0], command.argv[1:]...) //nolint:gosec,noctx // the manifest's own command is what we are asked to run, without a shell; it is ended as a group
	cmd.Dir, cmd.Env, cmd.SysProcAttr = command.dir, command.env, groupLeader(!p.noDeath)
	child := &process{cmd: cmd, registry: p.registry, exited: make(chan struct{}), finished: make(chan struct{})}
	writers, err := child.connect(command.output)
	if err != nil {
		return nil, err
	}
	err = p.onThread(cmd.Start)
	closeAll(writers)
	if err != nil {
		child.disconnect()
		return nil, fmt.Errorf("start process: %w", err)
	}
	child.started = p.registry.add(child.pid())
	go child.reap() // ends with the process; finished says when
	return child, nil
}

func (p *processes) onThread(start func() error) error {
	result := make(chan error, 1)
	select {
	case p.starts <- func() { result <- start() }:
		return <-result
	case <-p.stopped:
		return errStopped
	}
}
