// Command kube is a Kubernetes cluster for tests in one binary: the control plane alone, which needs no root, or with a
// real node. It starts the components as children of itself and ends them all when it is told to, when its standard
// input is closed, or when it dies.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/sluicefaas/sluice/e2e/kube/component"
	"github.com/sluicefaas/sluice/e2e/kube/control"
	"github.com/sluicefaas/sluice/e2e/kube/machine"
	"github.com/sluicefaas/sluice/e2e/kube/node"
)

const usage = `Usage: kube COMMAND --dir DIR

  control-plane  run etcd, the API server, the controllers and the scheduler; no root needed
  node           the same and a real node (root; Debian's containerd, runc, containernetworking-plugins, iptables)
  stop-api       stop the API server of a running cluster; all else goes on
  kill-api       the same with SIGKILL
  start-api      start it again, and the controllers and the scheduler with it
  load FILE...   give a node's containerd images from archives in the format of docker save
  clean          remove what a killed node has left (a new node does that too)

DIR keeps the cluster's state; DIR/admin.kubeconfig is for clients, DIR/logs has the components' logs.
A cluster prints "ready" when it works. It ends on SIGTERM, or when its standard input is closed, unless
that is a terminal or /dev/null.
`

// errUsage asks for the usage text.
var errUsage = errors.New("no such command")

func main() {
	if code, is := component.Run(); is {
		os.Exit(code)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	err := run(ctx, os.Args[1:])
	cancel()
	if errors.Is(err, errUsage) {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "kube:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	if args[0] == machine.JanitorCommand {
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
		return machine.Janitor(context.WithoutCancel(ctx))
	}
	commands := map[string]func(ctx context.Context, dir string, files []string) error{
		"control-plane": func(ctx context.Context, dir string, _ []string) error { return runCluster(ctx, dir, startPlane) },
		"node":          func(ctx context.Context, dir string, _ []string) error { return runNode(ctx, dir) },
		"stop-api":      func(ctx context.Context, dir string, _ []string) error { return send(ctx, "stop-api", dir) },
		"kill-api":      func(ctx context.Context, dir string, _ []string) error { return send(ctx, "kill-api", dir) },
		"start-api":     func(ctx context.Context, dir string, _ []string) error { return send(ctx, "start-api", dir) },
		"load":          load,
		"clean":         func(ctx context.Context, dir string, _ []string) error { return machine.Clean(ctx, dir) },
	}
	command, known := commands[args[0]]
	if !known {
		return errUsage
	}
	dir, files, err := parse(args)
	if err != nil {
		return err
	}
	return command(ctx, dir, files)
}

// load gives images to the node of the cluster in the folder.
func load(ctx context.Context, dir string, files []string) error {
	if len(files) == 0 {
		return errors.New("load: no files: name archives in the format of docker save")
	}
	if err := machine.CheckOwner(dir); err != nil {
		return err
	}
	return node.Load(ctx, files)
}

// parse returns the absolute path of the cluster's folder and the arguments that follow the flags.
func parse(args []string) (dir string, rest []string, err error) {
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&dir, "dir", "", "folder of the cluster")
	if err := flags.Parse(args[1:]); err != nil {
		return "", nil, fmt.Errorf("%s: %w", args[0], err)
	}
	if dir == "" {
		return "", nil, fmt.Errorf("%s: --dir is missing: it names the folder of the cluster", args[0])
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", nil, fmt.Errorf("find the cluster's folder: %w", err)
	}
	return dir, flags.Args(), nil
}

// send gives a command to the supervisor of the cluster in the folder.
func send(ctx context.Context, command, dir string) error {
	if err := os.Chdir(dir); err != nil {
		return fmt.Errorf("enter the cluster's folder: %w", err)
	}
	return control.Send(ctx, command)
}
