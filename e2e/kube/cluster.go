package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/sluicefaas/sluice/e2e/kube/control"
	"github.com/sluicefaas/sluice/e2e/kube/machine"
	"github.com/sluicefaas/sluice/e2e/kube/node"
	"github.com/sluicefaas/sluice/e2e/kube/plane"
	"github.com/sluicefaas/sluice/e2e/kube/process"
)

// starter starts a cluster's programs in the group and returns when the cluster works.
type starter func(ctx context.Context, group *process.Group, dir string) (*plane.Plane, error)

// runCluster is the supervisor: it runs the cluster in the folder until ctx ends or a component does.
func runCluster(ctx context.Context, dir string, start starter) error {
	if err := os.MkdirAll(filepath.Join(dir, "logs"), 0o700); err != nil {
		return fmt.Errorf("make the cluster's folder: %w", err)
	}
	if err := os.Chdir(dir); err != nil {
		return fmt.Errorf("enter the cluster's folder: %w", err)
	}
	unlock, err := lock("lock")
	if err != nil {
		return err
	}
	defer unlock()

	wanted, cancel := context.WithCancel(ctx)
	defer cancel()
	watchInput(os.Stdin, cancel)
	group, running := process.NewGroup(wanted, filepath.Join(dir, "logs"))
	defer group.StopAll()
	err = superviseCluster(running, group, dir, start)
	if wanted.Err() != nil {
		return nil // somebody asked for the end; what it interrupted is no failure
	}
	return err
}

// superviseCluster starts the cluster and waits for its end.
func superviseCluster(ctx context.Context, group *process.Group, dir string, start starter) error {
	started, err := start(ctx, group, dir)
	if err != nil {
		return err
	}
	if err := control.Serve(ctx, started, func() { fmt.Println("ready") }); err != nil {
		return err
	}
	return context.Cause(ctx)
}

func startPlane(ctx context.Context, group *process.Group, dir string) (*plane.Plane, error) {
	executable, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	return plane.Start(ctx, group, plane.Config{Dir: dir, Executable: executable, Host: "127.0.0.1"})
}

// runNode is runCluster on a machine that is claimed before and cleaned up afterwards.
func runNode(ctx context.Context, dir string) error {
	executable, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "logs"), 0o700); err != nil {
		return fmt.Errorf("make the cluster's folder: %w", err)
	}
	claim, err := machine.Take(ctx, dir, executable)
	if err != nil {
		return err
	}
	err = runCluster(ctx, dir, func(ctx context.Context, group *process.Group, dir string) (*plane.Plane, error) {
		return node.Start(ctx, group, node.Config{Dir: dir, Executable: executable, Programs: filepath.Dir(executable)})
	})
	return errors.Join(err, claim.Release())
}

// lock takes the file for this process alone. A killed process holds no lock.
func lock(path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock: %w", err)
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = errors.New("another cluster runs with it; end that one first")
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("take the lock %s: %w", path, err)
	}
	return func() { file.Close() }, nil
}

// watchInput calls end when the file is at its end. A terminal is not watched, because it signals; /dev/null is not,
// because a shell gives it to what runs in the background. The goroutine lives as long as the process: a read of
// standard input cannot be interrupted.
func watchInput(file *os.File, end func()) {
	info, err := file.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice != 0 {
		return
	}
	go func() {
		ignored := make([]byte, 512)
		for {
			if _, err := file.Read(ignored); err != nil {
				end()
				return
			}
		}
	}()
}
