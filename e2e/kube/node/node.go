// Package node adds a real node to a control plane: Debian's containerd and runc, the kubelet, kube-proxy and a DNS
// server. Pods run as they do anywhere. The machine package prepares the machine and cleans it up.
package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/sluicefaas/sluice/e2e/kube/machine"
	"github.com/sluicefaas/sluice/e2e/kube/pki"
	"github.com/sluicefaas/sluice/e2e/kube/plane"
	"github.com/sluicefaas/sluice/e2e/kube/process"
)

const (
	// Name is the node's.
	Name = "sluice-node"

	clusterDomain = "cluster.local"

	startLimit = 2 * time.Minute // for each wait
	grace      = 3 * time.Second // for each program to end
)

// Config is what a node needs to know.
type Config struct {
	Dir        string // absolute: the cluster's folder
	Executable string // this binary, which holds the components
	Programs   string // folder of the programs coredns and pause
}

// node is a node that starts.
type node struct {
	config Config
	group  *process.Group
	plane  *plane.Plane
	begun  time.Time // heartbeats from before are another run's
}

// Start starts a control plane and its node in the group, on a machine that this process has claimed, and returns when
// the node is ready and names are resolved. ctx is the group's.
func Start(ctx context.Context, group *process.Group, config Config) (*plane.Plane, error) {
	n := &node{config: config, group: group, begun: time.Now()}
	if err := n.checkPrograms(); err != nil {
		return nil, err
	}
	if err := machine.SetUpNetwork(ctx, plane.ServiceRange); err != nil {
		return nil, err
	}
	if err := n.writeFiles(); err != nil {
		return nil, err
	}
	var err error
	n.plane, err = plane.Start(ctx, group, plane.Config{Dir: config.Dir, Executable: config.Executable, Host: machine.Address})
	if err != nil {
		return nil, err
	}
	for _, start := range []func(context.Context) error{n.startContainerd, n.startDNS, n.startProxy, n.startKubelet} {
		if err := start(ctx); err != nil {
			return nil, err
		}
	}
	// The kubelet is the youngest program, and so the first that is stopped: it would start again what else ends.
	if err := n.awaitReady(ctx); err != nil {
		return nil, err
	}
	return n.plane, nil
}

// program is the path of one that is built beside this binary.
func (n *node) program(name string) string { return filepath.Join(n.config.Programs, name) }

func (n *node) checkPrograms() error {
	for _, name := range []string{dnsProgram, pauseProgram} {
		if _, err := os.Stat(n.program(name)); err != nil {
			return fmt.Errorf("find the program %s, which a node needs (make bin/kube builds it): %w", name, err)
		}
	}
	return nil
}

// writeKubeconfig makes the kubeconfig file of a component of the node.
func (n *node) writeKubeconfig(component string, identity pki.Identity) (string, error) {
	return n.plane.Kubeconfig(component), n.plane.WriteKubeconfig(component, identity)
}

// component starts a component of this binary.
func (n *node) component(name string, args ...string) error {
	return n.start(name, n.config.Executable, append([]string{name}, args...)...)
}

func (n *node) start(name, path string, args ...string) error {
	return n.group.Start(process.Command{Name: name, Path: path, Args: args, Grace: grace})
}
