package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// programVariable names another bin/kube.
const programVariable = "SLUICE_TEST_KUBE"

// Available returns an ErrUnavailable that says why Start cannot start such a cluster here, or nil.
func Available(options Options) error {
	program, err := findProgram()
	if err != nil || !options.Node {
		return err
	}
	return checkNode(filepath.Dir(program))
}

// findProgram is the path of bin/kube.
func findProgram() (string, error) {
	path := os.Getenv(programVariable)
	if path == "" {
		root, err := repositoryRoot()
		if err != nil {
			return "", err
		}
		path = filepath.Join(root, "bin", "kube")
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%w: there is no %s: build it with `make bin/kube`", ErrUnavailable, path)
	}
	return path, nil
}

// repositoryRoot is the nearest folder above the working directory that has a go.work.
func repositoryRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("%w: this is not run inside the repository: set %s to the path of bin/kube", ErrUnavailable, programVariable)
		}
		dir = parent
	}
}

// checkNode tells what a node would miss. bin is the folder of bin/kube, which looks closer.
func checkNode(bin string) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: a node needs root", ErrUnavailable)
	}
	for _, program := range []string{"coredns", "pause"} {
		if _, err := os.Stat(filepath.Join(bin, program)); err != nil {
			return fmt.Errorf("%w: there is no %s beside bin/kube: build it with `make bin/%s`", ErrUnavailable, program, program)
		}
	}
	for _, program := range []string{"containerd", "runc", "iptables", "/usr/lib/cni/bridge"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%w: a node needs %s: apt-get install containerd runc containernetworking-plugins iptables", ErrUnavailable, program)
		}
	}
	return nil
}
