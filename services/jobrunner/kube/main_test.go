package kube

import (
	"flag"
	"os"
	"testing"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
	"github.com/sluicefaas/sluice/pkg/kube/kubetest"
)

// plane is the control plane of these tests.
var plane kubetest.Plane

// Tests wait most of the time, so more of them run side by side than there are processors.
func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "6") // a flag of the command line wins, since it is parsed later
	os.Exit(plane.Main(m, bustest.Leaks()...))
}
