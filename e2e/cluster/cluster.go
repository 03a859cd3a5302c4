// Package cluster gives tests a Kubernetes cluster: one that bin/kube starts and that ends with the test, or the one that
// KUBECONFIG names.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

var (
	// ErrUnavailable is why a cluster cannot be started here: a program or root is missing. A test skips.
	ErrUnavailable = errors.New("no test cluster here")

	// ErrNotOurs is what commands return that only a cluster started by bin/kube obeys.
	ErrNotOurs = errors.New("this cluster is the one that KUBECONFIG names, and not started by bin/kube")
)

// Limits of waiting, generous because a machine that tests does other things as well.
const (
	startLimit   = 5 * time.Minute
	commandLimit = 5 * time.Minute
)

// Options say which cluster is wanted.
type Options struct {
	Node bool   // a real node, which runs pods; it needs root. Otherwise the control plane alone
	Dir  string // keeps the cluster's state for another Start; empty for a folder that Close removes
}

// Cluster is a running cluster. Its methods may be called by several goroutines.
type Cluster struct {
	kubeconfig string
	config     *rest.Config
	client     *kubernetes.Clientset

	program    string // bin/kube; empty if the cluster is not ours
	dir        string
	temporary  bool // dir is removed at the end
	supervisor *supervisor
}

// New is Start for a test: it skips if no cluster can be started here, fails if it does not start, and closes it with the test.
func New(t testing.TB, options Options) *Cluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	c, err := Start(ctx, options)
	if errors.Is(err, ErrUnavailable) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// Start starts a cluster with bin/kube and returns when it works, at the latest when ctx ends. The error is ErrUnavailable
// if that is impossible on this machine. The cluster ends with Close, and also when this process does.
func Start(ctx context.Context, options Options) (*Cluster, error) {
	if err := Available(options); err != nil {
		return nil, err
	}
	program, err := findProgram()
	if err != nil {
		return nil, err
	}
	mode := "control-plane"
	if options.Node {
		mode = "node"
	}
	c := &Cluster{program: program, dir: options.Dir}
	if err := c.makeDir(); err != nil {
		return nil, err
	}
	if c.supervisor, err = startSupervisor(ctx, program, mode, c.dir); err == nil {
		err = c.connect(filepath.Join(c.dir, "admin.kubeconfig"))
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// FromEnv is the cluster that the environment variable KUBECONFIG names, and false if it names none.
func FromEnv() (*Cluster, bool, error) {
	path := os.Getenv("KUBECONFIG")
	if path == "" {
		return nil, false, nil
	}
	c := &Cluster{}
	if err := c.connect(path); err != nil {
		return nil, true, fmt.Errorf("use the cluster that KUBECONFIG names: %w", err)
	}
	return c, true, nil
}

// Kubeconfig is the path of the administrator's kubeconfig file.
func (c *Cluster) Kubeconfig() string { return c.kubeconfig }

// RESTConfig is a copy of what Client was made with: the administrator's rights, and no limit of the client's own.
func (c *Cluster) RESTConfig() *rest.Config { return rest.CopyConfig(c.config) }

// Client speaks to the API server as the administrator.
func (c *Cluster) Client() kubernetes.Interface { return c.client }

// StopAPI ends the API server and returns when it has ended. Everything else goes on.
func (c *Cluster) StopAPI(ctx context.Context) error { return c.command(ctx, "stop-api") }

// StartAPI starts the API server again and returns when it is ready. The controllers and the scheduler start anew with it.
func (c *Cluster) StartAPI(ctx context.Context) error { return c.command(ctx, "start-api") }

// Load gives the node images from archives in the format of `docker save`, and returns when pods can use them.
func (c *Cluster) Load(ctx context.Context, archives ...string) error {
	return c.command(ctx, "load", archives...)
}

// Close ends the cluster and everything that runs in it, and leaves the machine as it was. It does nothing to a cluster
// that is not ours.
func (c *Cluster) Close() error {
	var all []error
	if c.supervisor != nil {
		all = append(all, c.supervisor.close())
	}
	if c.temporary {
		all = append(all, os.RemoveAll(c.dir))
	}
	return errors.Join(all...)
}

func (c *Cluster) command(ctx context.Context, name string, args ...string) error {
	if c.program == "" {
		return fmt.Errorf("%s: %w", name, ErrNotOurs)
	}
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	command := exec.CommandContext(ctx, c.program, append([]string{name, "--dir", c.dir}, args...)...) //nolint:gosec // bin/kube
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("kube %s: %w: %s", name, err, output)
	}
	return nil
}

func (c *Cluster) makeDir() error {
	if c.dir != "" {
		return os.MkdirAll(c.dir, 0o750)
	}
	// Short, unlike a test's own folder: the kubelet has sockets below it, whose paths are limited.
	dir, err := os.MkdirTemp("", "sluice-kube-")
	if err != nil {
		return fmt.Errorf("make the cluster's folder: %w", err)
	}
	c.dir, c.temporary = dir, true
	return nil
}

func (c *Cluster) connect(kubeconfig string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return fmt.Errorf("read %s: %w", kubeconfig, err)
	}
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("make a client of the cluster: %w", err)
	}
	c.kubeconfig, c.config, c.client = kubeconfig, config, client
	return nil
}
