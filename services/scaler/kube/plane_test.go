package kube

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// controlPlane is the one of this test binary: the real etcd, API server, controllers and scheduler, and one Node, which tests
// play themselves.
type controlPlane struct {
	binary, dir string
	process     *exec.Cmd
	stdin       io.Closer // its end ends the process
	err         error
	beats       sync.WaitGroup
	stop        context.CancelFunc
	// access is the kubeconfig of a cluster that this test binary has not started; empty for its own.
	access string
}

var (
	plane     controlPlane
	planeOnce sync.Once
)

const testNode = "node-1"

// startedPlane starts the control plane with the first test that needs it.
func startedPlane(t testing.TB) *controlPlane {
	t.Helper()
	binary := os.Getenv("SLUICE_TEST_KUBE")
	if binary == "" {
		binary, _ = filepath.Abs("../../../bin/kube")
	}
	if _, err := os.Stat(binary); err != nil {
		t.Skipf("the control plane for tests is not there (%v): build it with make bin/kube", err)
	}
	planeOnce.Do(func() { plane.err = plane.start(binary) })
	if plane.err != nil {
		t.Fatalf("start the control plane: %v", plane.err)
	}
	return &plane
}

func (p *controlPlane) start(binary string) (err error) {
	p.binary = binary
	if p.dir, err = os.MkdirTemp("", "sluice-kube-"); err != nil {
		return err
	}
	p.process = exec.Command(binary, "control-plane", "--dir", p.dir)
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

// stopPlane ends the control plane, if there is one.
func stopPlane() error {
	if plane.process == nil {
		return nil
	}
	if plane.stop != nil {
		plane.stop()
		plane.beats.Wait()
	}
	_ = plane.stdin.Close()
	return errors.Join(plane.process.Wait(), os.RemoveAll(plane.dir))
}

// command gives an order to the running control plane.
func (p *controlPlane) command(t testing.TB, name string) {
	t.Helper()
	if output, err := exec.Command(p.binary, name, "--dir", p.dir).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, output)
	}
}

func (p *controlPlane) kubeconfig() string {
	if p.access != "" {
		return p.access
	}
	return filepath.Join(p.dir, "admin.kubeconfig")
}

// admin is a client that may do everything; release closes its connections.
func (p *controlPlane) admin() (client *kubernetes.Clientset, release func(), err error) {
	access, err := clientcmd.BuildConfigFromFlags("", p.kubeconfig())
	if err != nil {
		return nil, nil, err
	}
	access.QPS = -1
	connections, err := rest.HTTPClientFor(access)
	if err != nil {
		return nil, nil, err
	}
	client, err = kubernetes.NewForConfigAndClient(access, connections)
	return client, droppedLater((&Client{http: connections}).dropConnections), err
}

// startNode registers the Node that pods are bound to, and lets it send signs of life.
func (p *controlPlane) startNode() error {
	admin, release, err := p.admin()
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: testNode, Labels: map[string]string{"test": "yes"}}}
	if _, err := admin.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	if err := beat(ctx, admin); err != nil {
		return err
	}
	p.beats.Go(func() {
		defer release()
		ticker := time.NewTicker(5 * time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				_ = beat(ctx, admin) // while the API server is away, the next one will do
			case <-ctx.Done():
				return
			}
		}
	})
	return nil
}

func beat(ctx context.Context, admin *kubernetes.Clientset) error {
	room := corev1.ResourceList{"cpu": resource.MustParse("1000"), "memory": resource.MustParse("1Ti"), "pods": resource.MustParse("10000")}
	status := corev1.NodeStatus{Capacity: room, Allocatable: room, Conditions: []corev1.NodeCondition{{
		Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: metav1.Now(), Reason: "Test", Message: "played by a test",
	}}}
	patch, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		return err
	}
	_, err = admin.CoreV1().Nodes().Patch(ctx, testNode, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}
