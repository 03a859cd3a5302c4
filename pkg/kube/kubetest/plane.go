// Package kubetest gives tests a Kubernetes: the real control plane of bin/kube, which runs as a process beside the test (Plane), a namespace of it for each test
// (Namespace), pods that a test plays the node for (FollowPods), and a network that fails (Proxy).
package kubetest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Patience bounds each wait of a test: the machine may be busy, and the controllers of Kubernetes rest for up to a minute after the
// API server was away.
const Patience = 2 * time.Minute

// Plane is the control plane of a test binary: the real etcd, API server, controllers and scheduler, and one Node, which tests
// play themselves. The zero value is one that starts when a test needs it.
type Plane struct {
	once        sync.Once
	binary, dir string
	process     *exec.Cmd
	stdin       io.Closer // its end ends the process
	err         error
	beats       sync.WaitGroup
	stop        context.CancelFunc
	// access is the kubeconfig of a cluster that this test binary has not started; empty for its own.
	access string

	mu       sync.Mutex
	drops    []func()                // guarded by mu: they close connections that tests have made
	kubelets map[string]http.Handler // guarded by mu: by namespace
}

// At is a cluster that somebody else has started, with a kubeconfig that may do everything.
func At(kubeconfig string) *Plane { return &Plane{access: kubeconfig} }

// Main runs the tests of a package, ends the control plane if one of them has started it, and then looks for goroutines that are left, with the options given.
// It returns the exit code.
func (p *Plane) Main(m *testing.M, leaks ...goleak.Option) (code int) {
	code = m.Run()
	if err := p.end(); err != nil {
		fmt.Fprintln(os.Stderr, "end the control plane:", err)
		code = 1
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, drop := range p.drops {
		drop()
	}
	if err := goleak.Find(leaks...); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	return code
}

// Start returns when the control plane runs. The test is skipped if that is not built.
func (p *Plane) Start(t testing.TB) {
	t.Helper()
	if p.access != "" {
		return
	}
	binary, err := program()
	if err != nil {
		t.Skipf("the control plane for tests is not there (%v): build it with make bin/kube", err)
	}
	p.once.Do(func() { p.err = p.start(binary) })
	if p.err != nil {
		t.Fatalf("start the control plane: %v", p.err)
	}
}

// program is the path of the control plane, which is in bin at the module's root.
func program() (string, error) {
	if named := os.Getenv("SLUICE_TEST_KUBE"); named != "" {
		_, err := os.Stat(named)
		return named, err
	}
	folder, err := os.Getwd()
	for err == nil {
		if _, missing := os.Stat(filepath.Join(folder, "go.mod")); missing == nil {
			break
		}
		if folder == filepath.Dir(folder) {
			return "", errors.New("there is no go.mod above the test")
		}
		folder = filepath.Dir(folder)
	}
	binary := filepath.Join(folder, "bin", "kube")
	_, err = os.Stat(binary)
	return binary, err
}

func (p *Plane) start(binary string) (err error) {
	if p.binary, err = filepath.Abs(binary); err != nil {
		return err
	}
	if p.dir, err = os.MkdirTemp("", "sluice-kube-"); err != nil {
		return err
	}
	p.process = exec.Command(p.binary, "control-plane", "--dir", p.dir) //nolint:gosec,noctx // our own program; the end of stdin ends it
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
	if err := awaitReady(stdout); err != nil {
		return err
	}
	return p.startNode()
}

func awaitReady(stdout io.Reader) error {
	said := make(chan error, 1)
	go func() {
		line, err := bufio.NewReader(stdout).ReadString('\n')
		if err == nil && line != "ready\n" {
			err = fmt.Errorf("it said %q", line)
		}
		said <- err
	}()
	select {
	case err := <-said:
		return err
	case <-time.After(3 * time.Minute):
		return errors.New("it was not ready within 3 minutes")
	}
}

// end ends the control plane, if there is one.
func (p *Plane) end() error {
	if p.process == nil {
		return nil
	}
	if p.stop != nil {
		p.stop()
		p.beats.Wait()
	}
	_ = p.stdin.Close()
	return errors.Join(p.process.Wait(), os.RemoveAll(p.dir))
}

// Command gives an order to the running control plane: stop-api, kill-api or start-api.
func (p *Plane) Command(t testing.TB, name string) {
	t.Helper()
	if output, err := exec.Command(p.binary, name, "--dir", p.dir).CombinedOutput(); err != nil { //nolint:gosec,noctx // our own program
		t.Fatalf("%s: %v\n%s", name, err, output)
	}
}

// Kubeconfig is a file with the access of who may do everything.
func (p *Plane) Kubeconfig() string {
	if p.access != "" {
		return p.access
	}
	return filepath.Join(p.dir, "admin.kubeconfig")
}

// Admin is a client that may do everything, until the test ends.
func (p *Plane) Admin(t testing.TB) *kubernetes.Clientset {
	t.Helper()
	admin, release, err := p.admin()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return admin
}

// admin is a client that may do everything; release closes its connections.
func (p *Plane) admin() (client *kubernetes.Clientset, release func(), err error) {
	access, err := clientcmd.BuildConfigFromFlags("", p.Kubeconfig())
	if err != nil {
		return nil, nil, err
	}
	access.QPS, access.WarningHandlerWithContext = -1, rest.NoWarnings{}
	connections, err := rest.HTTPClientFor(access)
	if err != nil {
		return nil, nil, err
	}
	client, err = kubernetes.NewForConfigAndClient(access, connections)
	return client, p.DropLater(func() { utilnet.CloseIdleConnectionsFor(connections.Transport) }), err
}

// DropLater lets Main call drop, which closes a client's connections, once more at the end: one on which a watch is just being ended is not idle when its test
// closes it, and an API server that goes on, as that of a node, keeps it.
func (p *Plane) DropLater(drop func()) func() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drops = append(p.drops, drop)
	return drop
}
