package kube

import (
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluicefaas/sluice/pkg/kube/kubetest"
	"github.com/sluicefaas/sluice/services/scaler/scalertest"
)

// On a real node, with pods that really run: `make e2e` names the cluster, and an image with the arguments with which it serves on
// port 8080.
func TestClusterConformsOnANode(t *testing.T) {
	access, image := os.Getenv("SLUICE_TEST_NODE_KUBECONFIG"), strings.Fields(os.Getenv("SLUICE_TEST_NODE_IMAGE"))
	if access == "" || len(image) == 0 {
		t.Skip("no cluster with a node is named by SLUICE_TEST_NODE_KUBECONFIG, and SLUICE_TEST_NODE_IMAGE: `make e2e` does so")
	}
	serves := func(pods *corev1.PodTemplateSpec) {
		c := &pods.Spec.Containers[0]
		c.Image, c.Args, c.ImagePullPolicy = image[0], image[1:], corev1.PullIfNotPresent
		c.ReadinessProbe = &corev1.Probe{
			ProbeHandler:  corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(8080)}},
			PeriodSeconds: 1,
		}
	}
	scalertest.RunCluster(t, func(t *testing.T) scalertest.Fixture {
		n := newNamespaceOf(t, kubetest.At(access))
		n.deploy("first", 1, serves)
		n.deploySet("second", 1, serves)
		return scalertest.Fixture{Cluster: n.cluster(), Names: []string{"first", "second"}, Timeout: patience}
	})
}
