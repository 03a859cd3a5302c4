package scaler

import (
	"flag"
	"testing"

	"go.uber.org/goleak"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
)

// TestMain lets more tests run side by side than there are processors: they wait most of the time.
func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "8") // a flag of the command line wins, since it is parsed later
	goleak.VerifyTestMain(m, bustest.Leaks()...)
}
