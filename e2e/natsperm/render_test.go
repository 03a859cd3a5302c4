package natsperm

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

const (
	// root is the repository's, from this package's folder, in which go test runs.
	root = "../.."
	// kubeVersion is the one that is rendered for: a helm built with `go install` takes 1.20 for its default.
	kubeVersion = "1.34.0"
)

// document is what matters here of what the chart renders.
type document struct {
	Kind string            `json:"kind"`
	Data map[string]string `json:"data"`
	Spec struct {
		Template struct {
			Spec struct {
				Containers []struct {
					Name string     `json:"name"`
					Env  []variable `json:"env"`
				} `json:"containers"`
			} `json:"spec"`
		} `json:"template"`
	} `json:"spec"`
}

// variable is one of a container's environment.
type variable struct {
	Name      string          `json:"name"`
	Value     string          `json:"value"`
	ValueFrom json.RawMessage `json:"valueFrom"`
}

// render returns what the chart renders with the values.
func render(t *testing.T, values ...string) (documents []document) {
	t.Helper()
	helm, err := filepath.Abs(filepath.Join(root, "bin", "helm"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(helm); err != nil {
		t.Skip("there is no bin/helm: build it with `make bin/helm`")
	}
	args := []string{"template", "sluice", filepath.Join(root, "charts", "sluice"), "--namespace", "functions", "--kube-version", kubeVersion}
	for _, value := range values {
		args = append(args, "--set", value)
	}
	command := exec.CommandContext(t.Context(), helm, args...)
	scratch := t.TempDir()
	command.Env = append(os.Environ(), "HELM_CACHE_HOME="+scratch, "HELM_CONFIG_HOME="+scratch, "HELM_DATA_HOME="+scratch)
	var complaints strings.Builder
	command.Stderr = &complaints
	out, err := command.Output()
	if err != nil {
		t.Fatalf("helm template: %v\n%s", err, &complaints)
	}
	for text := range strings.SplitSeq(string(out), "\n---\n") {
		var d document
		if err := yaml.Unmarshal([]byte(text), &d); err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		documents = append(documents, d)
	}
	return documents
}

// renderConfig returns nats.conf as the chart renders it with the values.
func renderConfig(t *testing.T, values ...string) string {
	t.Helper()
	for _, d := range render(t, values...) {
		if config := d.Data["nats.conf"]; d.Kind == "ConfigMap" && config != "" {
			return config
		}
	}
	t.Fatal("the chart renders no ConfigMap with nats.conf")
	return ""
}

// renderEnvironment returns that of the server's container.
func renderEnvironment(t *testing.T, values ...string) []variable {
	t.Helper()
	for _, d := range render(t, values...) {
		for _, container := range d.Spec.Template.Spec.Containers {
			if d.Kind == "StatefulSet" && container.Name == "nats" {
				return container.Env
			}
		}
	}
	t.Fatal("the chart renders no StatefulSet with a container nats")
	return nil
}

// accountsOf is the part of nats.conf that says who may do what.
func accountsOf(t *testing.T, config string) string {
	t.Helper()
	_, accounts, found := strings.Cut(config, "\naccounts: {\n")
	if !found {
		t.Fatalf("there are no accounts in\n%s", config)
	}
	return "accounts: {\n" + strings.TrimRight(accounts, "\n ") + "\n"
}

// The product's own test, which may know nothing of the chart, runs the services with exactly these users.
func TestGoldenIsWhatTheChartRenders(t *testing.T) {
	accounts := accountsOf(t, renderConfig(t))
	file := filepath.Join(root, "services", "local", "testdata", "nats-accounts.conf")
	if *update {
		if err := os.WriteFile(file, []byte(accounts), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(golden) != accounts {
		t.Errorf("the chart renders other accounts than %s has; if that is right, run `go test ./natsperm -run Golden -update`", file)
	}
}
