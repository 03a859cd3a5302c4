package e2e

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/e2e/cluster"
)

// Limits of waiting for the node.
const (
	nodeStart = 5 * time.Minute
	nodeOrder = 3 * time.Minute
)

// startNode builds a node, which ends with the test, and brings the images into it.
func (s *system) startNode(t *testing.T, images []string) {
	t.Helper()
	if s.settings.nodeDir != "" {
		s.useNode()
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), nodeStart)
	defer cancel()
	built, err := cluster.Start(ctx, cluster.Options{Node: true})
	if errors.Is(err, cluster.ErrUnavailable) {
		s.settings.cannot(t, err.Error()+" (KUBECONFIG can name a cluster to use instead)")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := built.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := built.Load(ctx, images...); err != nil {
		t.Fatal(err)
	}
	s.node, s.kubeconfig = built, built.Kubeconfig()
}

// runningNode is one of bin/kube that somebody has started, with the images in it.
type runningNode struct {
	program, dir string
}

// useNode takes the node that runs already.
func (s *system) useNode() {
	s.node = runningNode{program: variable("SLUICE_TEST_KUBE", s.settings.bin("kube")), dir: s.settings.nodeDir}
	s.kubeconfig = filepath.Join(s.settings.nodeDir, "admin.kubeconfig")
}

func (n runningNode) order(ctx context.Context, what string) error {
	ctx, cancel := context.WithTimeout(ctx, nodeOrder)
	defer cancel()
	text, err := exec.CommandContext(ctx, n.program, what, "--dir", n.dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", n.program, what, err, strings.TrimSpace(string(text)))
	}
	return nil
}

// StopAPI stops the API server and nothing else.
func (n runningNode) StopAPI(ctx context.Context) error { return n.order(ctx, "stop-api") }

// StartAPI starts it again.
func (n runningNode) StartAPI(ctx context.Context) error { return n.order(ctx, "start-api") }
