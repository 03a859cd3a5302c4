package local

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
)

// TestMain lets this binary play the watchdog and the functions, which are processes of their own.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "watchdog" {
		if err := Watchdog(os.Stdin); err != nil {
			os.Exit(1)
		}
		return
	}
	if mode := os.Getenv(testMode); mode != "" {
		playFunction(mode)
		return
	}
	// A process that is built with the race detector stays for a second at its end unless it is told otherwise.
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0")
	goleak.VerifyTestMain(m, bustest.Leaks()...)
}
