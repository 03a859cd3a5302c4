package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// settings are what the environment says.
type settings struct {
	// root is the folder of the repository.
	root string
	// kubeconfig names an existing cluster (KUBECONFIG); empty means that the test builds a node.
	kubeconfig string
	// namespace is where Sluice is installed (SLUICE_E2E_NAMESPACE). It is made if it is not there.
	namespace string
	// functionImage is that of e2e/function (SLUICE_E2E_FUNCTION_IMAGE).
	functionImage string
	// values are further values of the chart as helm's --set has them (SLUICE_E2E_VALUES), such as the registry of the images.
	values string
	// apiDown is for how long the API server is stopped (SLUICE_E2E_API_DOWN).
	apiDown time.Duration
	// required makes a node that cannot be built a failure (SLUICE_E2E_REQUIRED).
	required bool
	// nodeDir is the folder of a node of bin/kube that runs already (SLUICE_E2E_NODE), so that nobody waits for one while he writes a scenario.
	nodeDir string
	// keep leaves everything installed at the end, and uses what is installed at the beginning (SLUICE_E2E_KEEP).
	keep bool
}

func readSettings() (settings, error) {
	root, err := filepath.Abs("..")
	if err != nil {
		return settings{}, err
	}
	apiDown, err := time.ParseDuration(variable("SLUICE_E2E_API_DOWN", "2m"))
	if err != nil {
		return settings{}, fmt.Errorf("SLUICE_E2E_API_DOWN: %w", err)
	}
	return settings{
		root:          root,
		kubeconfig:    os.Getenv("KUBECONFIG"),
		namespace:     variable("SLUICE_E2E_NAMESPACE", "sluice-e2e"),
		functionImage: variable("SLUICE_E2E_FUNCTION_IMAGE", "sluice-e2e-function:dev"),
		values:        os.Getenv("SLUICE_E2E_VALUES"),
		apiDown:       apiDown,
		required:      os.Getenv("SLUICE_E2E_REQUIRED") != "",
		nodeDir:       os.Getenv("SLUICE_E2E_NODE"),
		keep:          os.Getenv("SLUICE_E2E_KEEP") != "",
	}, nil
}

func variable(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

// bin is a program or file that `make e2e` has built before.
func (s settings) bin(name string) string { return filepath.Join(s.root, "bin", name) }

// cannot skips the test, or fails it where the scenarios must run.
func (s settings) cannot(t *testing.T, why string) {
	t.Helper()
	if s.required {
		t.Fatal(why)
	}
	t.Skip(why)
}
