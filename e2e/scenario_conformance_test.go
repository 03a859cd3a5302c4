package e2e

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"testing"
)

// conformance runs the suite of the scaler's cluster interface here: the same that child processes and a bare API server pass.
// It is the product's own test, built by make.
func (s *system) conformance(ctx context.Context, t *testing.T) {
	s.runSuite(ctx, t, "kube-conformance.test", "serve")
}

// jobConformance is the same for the jobrunner's.
func (s *system) jobConformance(ctx context.Context, t *testing.T) {
	s.runSuite(ctx, t, "job-conformance.test", "batch")
}

// runSuite runs TestClusterConformsOnANode of a test binary on this cluster, with e2e/function in that mode.
func (s *system) runSuite(ctx context.Context, t *testing.T, binary, mode string) {
	t.Helper()
	program := s.settings.bin(binary)
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("the suite is not built: `make e2e` builds it: %v", err)
	}
	suite := exec.CommandContext(ctx, program, "-test.v", "-test.run", "^TestClusterConformsOnANode$")
	suite.Env = append(os.Environ(), "SLUICE_TEST_NODE_KUBECONFIG="+s.kubeconfig, "SLUICE_TEST_NODE_IMAGE="+s.settings.functionImage+" "+mode)
	output, err := suite.CombinedOutput()
	t.Logf("%s", output)
	if err != nil || !bytes.Contains(output, []byte("--- PASS: TestClusterConformsOnANode (")) {
		t.Errorf("the suite did not pass: %v", err)
	}
}
