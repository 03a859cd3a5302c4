// Package local runs the real program `sluice local` for tests: built from this repository, on ports of its own, ended with the test.
package local

import (
	"bytes"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/e2e/tour"
)

// Root is the repository, seen from a package of e2e.
const Root = "../.."

// Build builds a program of the repository.
func Build(t *testing.T, to, program string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", "build", "-o", to, program) //nolint:gosec // a test names it
	command.Dir, command.Env = Root, append(os.Environ(), "GOWORK=off")
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", program, err, output)
	}
}

// System is the program while it runs. It is a tour.Gateway.
type System struct {
	tour.HTTPGateway
	address string
}

// output is what the program prints, told when the test has failed.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

const maxOutput = 256 << 10

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.text.Len() < maxOutput {
		o.text.Write(p)
	}
	return len(p), nil
}

// Start builds the program, runs it with the manifests and returns when it is ready.
func Start(t *testing.T, manifests ...string) *System {
	t.Helper()
	folder := t.TempDir()
	program := filepath.Join(folder, "sluice")
	Build(t, program, "./services/local/cmd/sluice")
	address := freeAddress(t)
	s := &System{tour.HTTPGateway{URL: "http://" + address, Client: http.DefaultClient}, address}
	flags := []string{"local", "--data=" + filepath.Join(folder, "data"), "--listen=" + s.address, "--nats-listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0"}
	command := exec.Command(program, append(flags, manifests...)...) //nolint:gosec,noctx // what was just built; it is ended below, with a signal first
	said := &output{}
	command.Stdout, command.Stderr = said, said
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGTERM) // it may have ended
		timer := time.AfterFunc(time.Minute, func() { _ = command.Process.Kill() })
		defer timer.Stop()
		if err := command.Wait(); err != nil {
			t.Errorf("the end of sluice local: %v", err)
		}
		if t.Failed() {
			t.Logf("sluice local said:\n%s", said.text.String())
		}
	})
	s.awaitReady(t)
	return s
}

// freeAddress finds one whose port no system gives to a connection by itself, and that no process of a function gets: those have ports from 20000 on.
func freeAddress(t *testing.T) string {
	t.Helper()
	const first, last, tries = 11_000, 19_999, 100
	for range tries {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(first+rand.IntN(last-first+1))) //nolint:gosec // no secret
		listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
		if err != nil {
			continue // taken
		}
		_ = listener.Close()
		return address
	}
	t.Fatalf("no port of %d to %d is free after %d tries", first, last, tries)
	return ""
}

// Address is host:port of the API.
func (s *System) Address() string { return s.address }

func (s *System) awaitReady(t *testing.T) {
	t.Helper()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.After(time.Minute); ; {
		if answer, err := s.Send(t.Context(), tour.Call{Method: http.MethodGet, Path: "/ready"}); err == nil && answer.Status == http.StatusOK {
			return
		}
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatal("sluice local is not ready within a minute")
		}
	}
}
