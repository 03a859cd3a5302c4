package services_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// plane is the Kubernetes control plane of these tests: the real one, without a node, whose part the tests play.
type plane struct {
	binary, dir string
	process     *exec.Cmd
	stdin       io.Closer // its end ends the process
	err         error
}

var (
	controlPlane plane
	planeOnce    sync.Once
)

// startedPlane starts the control plane with the first test that needs it; TestMain ends it.
func startedPlane(t *testing.T) *plane {
	t.Helper()
	program := os.Getenv("SLUICE_TEST_KUBE")
	if program == "" {
		program = filepath.Join("..", "bin", "kube")
	}
	if _, err := os.Stat(program); err != nil {
		t.Skipf("the control plane for tests is not there (%v): build it with make bin/kube", err)
	}
	planeOnce.Do(func() { controlPlane.err = controlPlane.start(program) })
	if controlPlane.err != nil {
		t.Fatalf("start the control plane: %v", controlPlane.err)
	}
	return &controlPlane
}

func (p *plane) start(program string) (err error) {
	if p.binary, err = filepath.Abs(program); err != nil {
		return err
	}
	if p.dir, err = os.MkdirTemp("", "sluice-plane-"); err != nil {
		return err
	}
	p.process = exec.Command(p.binary, "control-plane", "--dir", p.dir)
	p.process.Stderr = os.Stderr
	stdin, err := p.process.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := p.process.StdoutPipe()
	if err != nil {
		return err
	}
	p.stdin = stdin
	if err := p.process.Start(); err != nil {
		return err
	}
	said := make(chan string, 1)
	go func() { line, _ := bufio.NewReader(stdout).ReadString('\n'); said <- line }()
	select {
	case line := <-said:
		if line != "ready\n" {
			return fmt.Errorf("it said %q", line)
		}
		return nil
	case <-time.After(3 * time.Minute):
		return errors.New("it was not ready within 3 minutes")
	}
}

// end ends the control plane, if there is one.
func (p *plane) end() error {
	if p.process == nil {
		return nil
	}
	_ = p.stdin.Close()
	return errors.Join(p.process.Wait(), os.RemoveAll(p.dir))
}

// command gives an order to the running control plane.
func (p *plane) command(t *testing.T, name string) {
	t.Helper()
	if text, err := exec.Command(p.binary, name, "--dir", p.dir).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, text)
	}
}

func (p *plane) kubeconfig() string { return filepath.Join(p.dir, "admin.kubeconfig") }

// admin is a client that may do everything.
func (p *plane) admin(t *testing.T) *kubernetes.Clientset {
	t.Helper()
	access, err := clientcmd.BuildConfigFromFlags("", p.kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	access.QPS = -1
	connections, err := rest.HTTPClientFor(access)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { utilnet.CloseIdleConnectionsFor(connections.Transport) })
	admin, err := kubernetes.NewForConfigAndClient(access, connections)
	if err != nil {
		t.Fatal(err)
	}
	return admin
}
