package kube

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain ends the control plane, which the first test that needs it has started, and then looks for goroutines that are left.
// Tests wait most of the time, so more of them run side by side than there are processors.
func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "6") // a flag of the command line wins, since it is parsed later
	code := m.Run()
	if err := stopPlane(); err != nil {
		fmt.Fprintln(os.Stderr, "end the control plane:", err)
		code = 1
	}
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
