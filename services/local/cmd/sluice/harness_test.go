package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
)

// system is one sluice local with a manifest of its own, which can be killed and started again on the same data.
type system struct {
	t              *testing.T
	folder, ledger string
	api, nats, ops string // host:port
	flags, env     []string
	process        *exec.Cmd
	done           chan struct{} // closed when the process has ended
	err            error         // of the process; read after done
	out            *safeBuffer
	client         *http.Client
}

// newSystem writes the manifest of one function f whose annotations are given, and picks free ports.
func newSystem(t *testing.T, annotations map[string]string, flags ...string) *system {
	t.Helper()
	folder := t.TempDir()
	s := &system{t: t, folder: folder, ledger: filepath.Join(folder, "ledger"), flags: flags, out: &safeBuffer{}}
	s.api, s.nats, s.ops = freeAddress(t), freeAddress(t), freeAddress(t)
	s.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: time.Minute}
	s.writeManifest("f", annotations)
	t.Cleanup(func() {
		s.client.CloseIdleConnections()
		s.kill()
		if t.Failed() {
			t.Logf("output of sluice:\n%s", s.out)
		}
	})
	return s
}

func (s *system) writeManifest(name string, annotations map[string]string) {
	s.t.Helper()
	binary, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	var lines strings.Builder
	for key, value := range annotations {
		fmt.Fprintf(&lines, "    sluice/%s: %q\n", key, value)
	}
	manifest := fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata:
  name: %[1]s
  annotations:
    sluice/Function: "true"
    sluice/LocalCommand: %[2]q
%[3]sspec:
  replicas: 0
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
      - name: f
        image: f
        env:
        - {name: %[4]s, value: %[5]q}
        ports: [{containerPort: 5000}]
`, name, binary, lines.String(), asFunction, s.ledger)
	if err := os.WriteFile(filepath.Join(s.folder, name+".yaml"), []byte(manifest), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// start starts sluice local and waits until it is ready.
func (s *system) start() {
	s.t.Helper()
	s.launch()
	s.eventually(30*time.Second, "sluice is ready", func() bool {
		select {
		case <-s.done:
			s.t.Fatalf("sluice ended: %v\n%s", s.err, s.out)
		default:
		}
		status, _ := s.get("/ready")
		return status == http.StatusOK
	})
}

func (s *system) launch() {
	s.t.Helper()
	binary, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	args := append([]string{"local", "--nats-listen", s.nats, "--ops-listen", s.ops, "--data", filepath.Join(s.folder, "data")}, s.flags...)
	if s.api != "" {
		args = append(args, "--listen", s.api)
	}
	s.process = exec.Command(binary, append(args, s.folder)...)
	s.process.Env = append(append(os.Environ(), asSluice+"=1"), s.env...)
	s.process.Stdout, s.process.Stderr = s.out, s.out
	s.process.WaitDelay = 10 * time.Second
	if err := s.process.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.done = make(chan struct{})
	go func() { s.err = s.process.Wait(); close(s.done) }()
}

// kill ends sluice with SIGKILL, if it runs, and waits for its end.
func (s *system) kill() {
	if s.process != nil {
		_ = s.process.Process.Kill()
		<-s.done
	}
}

// terminate ends sluice with SIGTERM and returns its exit code.
func (s *system) terminate() int {
	s.t.Helper()
	if err := s.process.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	select {
	case <-s.done:
	case <-time.After(45 * time.Second):
		s.t.Fatal("sluice does not end on SIGTERM")
	}
	return s.process.ProcessState.ExitCode()
}

func (s *system) get(path string) (int, string) { return s.do(http.MethodGet, path, "") }

func (s *system) do(method, path, body string) (int, string) {
	status, _, text := s.send(method, path, body)
	return status, text
}

// send makes one request; status 0 means that there was no answer.
func (s *system) send(method, path, body string) (int, http.Header, string) {
	request, err := http.NewRequestWithContext(context.Background(), method, "http://"+s.api+path, strings.NewReader(body))
	if err != nil {
		s.t.Error(err)
		return 0, nil, ""
	}
	response, err := s.client.Do(request)
	if err != nil {
		return 0, nil, err.Error()
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return 0, nil, err.Error()
	}
	return response.StatusCode, response.Header, string(text)
}

// status is the function's as SlimFaas shows it.
func (s *system) status(name string) (ready, requested int) {
	var status struct{ NumberReady, NumberRequested int }
	_, body := s.get("/status-function/" + name)
	_ = json.Unmarshal([]byte(body), &status)
	return status.NumberReady, status.NumberRequested
}

func (s *system) eventually(within time.Duration, what string, condition func() bool) {
	s.t.Helper()
	deadline := time.Now().Add(within)
	for !condition() {
		if time.Now().After(deadline) {
			s.t.Fatalf("not within %s: %s\n%s", within, what, s.out)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// alive is false for a process that is gone and, where there is /proc, for one that only waits to be reaped.
func alive(pid int) bool {
	if stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat"); err == nil {
		_, after, _ := strings.Cut(string(stat), ") ")
		return !strings.HasPrefix(after, "Z")
	}
	return syscall.Kill(pid, 0) == nil
}

func freeAddress(t *testing.T) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(bustest.FreePort(t)))
}

// safeBuffer is a buffer that a process writes while the test reads.
type safeBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer // guarded by mu
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}
