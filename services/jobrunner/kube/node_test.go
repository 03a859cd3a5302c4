package kube

import (
	"os"
	"strings"
	"testing"

	"github.com/sluicefaas/sluice/pkg/kube/kubetest"
	"github.com/sluicefaas/sluice/services/jobrunner/jobrunnertest"
)

// On a real node, with pods that really run: `make e2e` names the cluster, and an image with the arguments with which it does what jobrunnertest.Program does.
func TestClusterConformsOnANode(t *testing.T) {
	access, image := os.Getenv("SLUICE_TEST_NODE_KUBECONFIG"), strings.Fields(os.Getenv("SLUICE_TEST_NODE_IMAGE"))
	if access == "" || len(image) == 0 {
		t.Skip("no cluster with a node is named by SLUICE_TEST_NODE_KUBECONFIG, and SLUICE_TEST_NODE_IMAGE: `make e2e` does so")
	}
	jobrunnertest.RunCluster(t, func(t *testing.T) jobrunnertest.Fixture {
		return newNamespaceOf(t, kubetest.At(access), image...).fixture()
	})
}
