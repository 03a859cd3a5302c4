package control_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/sluicefaas/sluice/e2e/kube/control"
)

// plane notes what it is told.
type plane struct {
	told  chan string
	start error
}

func (p *plane) StopAPI() { p.told <- "stop" }

func (p *plane) KillAPI() { p.told <- "kill" }

func (p *plane) StartAPI(context.Context) error {
	p.told <- "start"
	return p.start
}

func serve(t *testing.T, p *plane) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- control.Serve(ctx, p, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestCommands(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := control.Send(t.Context(), "stop-api"); err == nil || !strings.Contains(err.Error(), "does a cluster run in this folder?") {
		t.Errorf("nobody serves: error %v", err)
	}
	// What a killed supervisor leaves is no obstacle.
	if err := os.WriteFile("control.sock", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p := &plane{told: make(chan string, 1)}
	serve(t, p)
	for command, want := range map[string]string{"stop-api": "stop", "kill-api": "kill", "start-api": "start"} {
		if err := control.Send(t.Context(), command); err != nil {
			t.Errorf("%s: %v", command, err)
		}
		if told := <-p.told; told != want {
			t.Errorf("%s came as %s", command, told)
		}
	}
	p.start = errors.New("kube-apiserver ended")
	if err := control.Send(t.Context(), "start-api"); err == nil || err.Error() != "start-api: kube-apiserver ended" {
		t.Errorf("error %v, want the supervisor's", err)
	}
}
