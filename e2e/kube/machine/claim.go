package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/sluicefaas/sluice/e2e/kube/await"
)

const (
	// claimLimit is how long a new node waits for the end of another one, say of the package that is tested before.
	claimLimit = 2 * time.Minute

	// releaseLimit is how long the cleaning up may take.
	releaseLimit = time.Minute
)

// JanitorCommand is the first argument of the process that cleans up; its program then calls Janitor.
const JanitorCommand = "janitor"

// Claim is the right to run a node on this machine.
type Claim struct {
	janitor *exec.Cmd
	alive   *os.File // closed to set the janitor to work; the kernel closes it as well when this process is killed
}

// Take claims the machine for the cluster in the folder. It cleans up first what a killed node has left, and starts the
// janitor, a process of its own session that cleans up once this one has ended in whatever way.
func Take(ctx context.Context, dir, executable string) (*Claim, error) {
	if err := checkHost(dir); err != nil {
		return nil, err
	}
	lock, err := takeLock(ctx)
	if err != nil {
		return nil, err
	}
	defer lock.Close() // the janitor has it too, and the lock is held until both have closed it
	if err := cleanRecorded(ctx); err != nil {
		return nil, fmt.Errorf("clean up after a killed node: %w", err)
	}
	if err := checkAlone(ctx); err != nil {
		return nil, err
	}
	if err := takeRecord(dir).write(); err != nil {
		return nil, err
	}
	return startJanitor(lock, dir, executable)
}

// Release cleans the machine up and returns when that is done. The programs of the node have ended.
func (c *Claim) Release() error {
	c.alive.Close()
	timer := time.AfterFunc(releaseLimit, func() { _ = c.janitor.Process.Kill() })
	defer timer.Stop()
	if err := c.janitor.Wait(); err != nil {
		return fmt.Errorf("clean up (see logs/janitor.log): %w", err)
	}
	return nil
}

func startJanitor(lock *os.File, dir, executable string) (*Claim, error) {
	log, err := os.OpenFile(filepath.Join(dir, "logs", "janitor.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the janitor's log: %w", err)
	}
	defer log.Close()
	input, alive, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	defer input.Close()
	janitor := exec.Command(executable, JanitorCommand) //nolint:noctx // it outlives any context
	janitor.Stdin, janitor.Stdout, janitor.Stderr = input, log, log
	janitor.ExtraFiles = []*os.File{lock}
	janitor.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := janitor.Start(); err != nil {
		alive.Close()
		return nil, fmt.Errorf("start the janitor: %w", err)
	}
	return &Claim{janitor: janitor, alive: alive}, nil
}

// Janitor waits for the end of its standard input and cleans up. Signals that mean the supervisor leave it at work.
func Janitor(ctx context.Context) error {
	buffer := make([]byte, 1)
	for {
		if _, err := os.Stdin.Read(buffer); err != nil {
			return cleanRecorded(ctx)
		}
	}
}

// Clean removes what a killed node of the cluster in the folder has left. It does nothing if there is nothing.
func Clean(ctx context.Context, dir string) error {
	lock, err := takeLock(ctx)
	if err != nil {
		return err
	}
	defer lock.Close()
	r, found, err := readRecord()
	if err != nil || !found {
		return err
	}
	if r.Dir != dir {
		return fmt.Errorf("the node that was killed on this machine belongs to %s, not to %s: clean that folder", r.Dir, dir)
	}
	return clean(ctx, r)
}

// CheckOwner returns an error unless the machine's node belongs to the cluster in the folder.
func CheckOwner(dir string) error {
	r, found, err := readRecord()
	if err != nil {
		return err
	}
	if !found || r.Dir != dir {
		return fmt.Errorf("no node runs for the cluster in %s", dir)
	}
	return nil
}

func cleanRecorded(ctx context.Context) error {
	r, found, err := readRecord()
	if err != nil || !found {
		return err
	}
	return clean(ctx, r)
}

// takeLock waits for the lock for a while: the janitor of a killed node may be at work.
func takeLock(ctx context.Context) (*os.File, error) {
	file, err := os.OpenFile(lockFile, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the machine's lock: %w", err)
	}
	err = await.Until(ctx, "the end of another node on this machine", claimLimit, func(context.Context) error {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return errors.New("one machine runs one node, because a second kubelet ends the pods of the first")
		}
		return err
	})
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}
