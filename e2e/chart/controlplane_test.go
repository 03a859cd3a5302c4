package chart

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Limits of waiting, on a machine that does other things too.
const (
	planeStart = 2 * time.Minute
	planeStop  = time.Minute
	patience   = time.Minute
	pollPause  = 50 * time.Millisecond
)

// controlPlane is a real API server with its controllers, and no node: pods are made and never run.
type controlPlane struct {
	kubernetes.Interface
	dynamic    dynamic.Interface
	metadata   metadata.Interface
	config     *rest.Config
	kubeconfig string
	warnings   *warnings
	stop       func()
}

// warnings are those that the API server has given.
type warnings struct {
	mu    sync.Mutex // guards texts
	texts []string
}

// HandleWarningHeader implements rest.WarningHandler.
func (w *warnings) HandleWarningHeader(_ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.texts = append(w.texts, text)
}

func (w *warnings) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	texts := w.texts
	w.texts = nil
	return texts
}

// shared is the one control plane of this package's tests, which each use namespaces of their own. It is started by the first that needs
// it. started guards the rest.
var shared struct {
	started sync.Mutex
	plane   *controlPlane
}

// plane returns the control plane.
func plane(t *testing.T) *controlPlane {
	t.Helper()
	program := kubePath(t)
	shared.started.Lock()
	defer shared.started.Unlock()
	if shared.plane == nil {
		started, err := startPlane(program)
		if err != nil {
			t.Fatal(err)
		}
		shared.plane = started
	}
	return shared.plane
}

func stopPlane() {
	shared.started.Lock()
	defer shared.started.Unlock()
	if shared.plane != nil {
		shared.plane.stop()
	}
}

func kubePath(t *testing.T) string {
	t.Helper()
	path := os.Getenv("SLUICE_TEST_KUBE")
	if path == "" {
		path = filepath.Join(root, "bin", "kube")
	}
	if _, err := os.Stat(path); err != nil {
		t.Skip("there is no bin/kube: build it with `make bin/kube`")
	}
	return path
}

// startPlane starts the program and waits until it is ready. It ends when its standard input does, so also when the test is killed.
func startPlane(program string) (*controlPlane, error) {
	dir, err := os.MkdirTemp("", "sluice-chart-")
	if err != nil {
		return nil, err
	}
	command := exec.Command(program, "control-plane", "--dir", dir)
	var complaints bytes.Buffer
	command.Stderr = &complaints
	input, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	output, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start the control plane: %w", err)
	}
	stop := func() {
		_ = input.Close()
		killer := time.AfterFunc(planeStop, func() { _ = command.Process.Kill() })
		_, _ = io.Copy(io.Discard, output)
		_ = command.Wait()
		killer.Stop()
		_ = os.RemoveAll(dir)
	}
	if err := awaitReady(output, command.Process); err != nil {
		stop()
		return nil, fmt.Errorf("start the control plane: %w: %s", err, complaints.String())
	}
	return connect(filepath.Join(dir, "admin.kubeconfig"), stop)
}

// awaitReady reads until the line ready.
func awaitReady(output io.Reader, process *os.Process) error {
	killer := time.AfterFunc(planeStart, func() { _ = process.Kill() })
	defer killer.Stop()
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		if lines.Text() == "ready" {
			return nil
		}
	}
	return errors.New("it has ended without being ready")
}

func connect(kubeconfig string, stop func()) (*controlPlane, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	config.QPS = -1 // tens of thousands of questions
	p := &controlPlane{config: config, kubeconfig: kubeconfig, warnings: &warnings{}}
	config.WarningHandler = p.warnings
	if p.Interface, err = kubernetes.NewForConfig(config); err != nil {
		return nil, err
	}
	if p.dynamic, err = dynamic.NewForConfig(config); err != nil {
		return nil, err
	}
	if p.metadata, err = metadata.NewForConfig(config); err != nil {
		return nil, err
	}
	p.stop = func() {
		if client, err := rest.HTTPClientFor(config); err == nil { // the one that the typed clients share
			client.CloseIdleConnections()
		}
		stop()
	}
	return p, nil
}

// namespace makes one, in which only restricted pods are admitted (Kubernetes' Pod Security Standards), and waits until it has what each
// namespace has.
func (p *controlPlane) namespace(t *testing.T, name string) string {
	t.Helper()
	made, err := p.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: name + "-", Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := p.CoreV1().Namespaces().Delete(ctx, made.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	until(t, "the namespace has its default account", func(ctx context.Context) (bool, string) {
		_, err := p.CoreV1().ServiceAccounts(made.Name).Get(ctx, "default", metav1.GetOptions{})
		if err == nil {
			_, err = p.CoreV1().ConfigMaps(made.Name).Get(ctx, "kube-root-ca.crt", metav1.GetOptions{})
		}
		return err == nil, fmt.Sprint(err)
	})
	return made.Name
}

// helm runs it against the control plane.
func (p *controlPlane) helm(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return helm(t, append(args, "--kubeconfig", p.kubeconfig)...)
}

// until asks check again and again; what it says last stands in the failure.
func until(t *testing.T, what string, check func(ctx context.Context) (done bool, state string)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ticker := time.NewTicker(pollPause)
	defer ticker.Stop()
	state := ""
	for {
		done, now := check(ctx)
		if done {
			return
		}
		if now != "" && ctx.Err() == nil {
			state = now
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("%s: not within %v: %s", what, patience, strings.TrimSpace(state))
		}
	}
}
