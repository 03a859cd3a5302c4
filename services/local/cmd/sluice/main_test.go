package main

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
)

// The test binary is also the programs under test: sluice itself, a function that keeps a ledger, and the process of a job.
const (
	asSluice   = "SLUICE_TEST_AS_SLUICE"
	asFunction = "SLUICE_TEST_AS_FUNCTION" // its value is the ledger's path
)

func TestMain(m *testing.M) {
	if ledger := os.Getenv(asFunction); ledger != "" {
		serveFunction(ledger)
		return
	}
	if os.Getenv(asJob) != "" {
		runJob()
		return
	}
	if os.Getenv(asSluice) != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m, bustest.Leaks()...)
}
