// Package chart tests charts/sluice without a node: what Helm renders, what the schema refuses, which rules every pod obeys, and, on a
// real control plane, what the API server accepts, what each service account may do, and that uninstall leaves nothing.
package chart

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// update writes the golden renders anew: go test ./chart -run Golden -update.
var update = flag.Bool("update", false, "write the golden renders anew")

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	stopPlane()
	removePrograms()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
