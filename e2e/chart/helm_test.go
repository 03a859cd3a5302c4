package chart

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	// root is the repository's, from this package's folder, in which go test runs.
	root = "../.."
	// kubeVersion is the one that is rendered for: a helm built with `go install` takes 1.20 for its default.
	kubeVersion = "1.34.0"
	release     = "sluice"
	namespace   = "functions"
	// helmTimeout bounds one run of helm on a machine that does other things too.
	helmTimeout = 3 * time.Minute
)

// services are those of ours that the chart installs by default.
var services = []string{"gateway", "dispatcher", "scaler", "jobrunner"}

func chartFolder() string { return filepath.Join(root, "charts", "sluice") }

// helmPath is that of the helm that `make bin/helm` builds.
func helmPath(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(root, "bin", "helm"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Skip("there is no bin/helm: build it with `make bin/helm`")
	}
	return path
}

// helm runs it with folders of its own, and returns what it prints; the error has what it says.
func helm(t *testing.T, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), helmTimeout)
	defer cancel()
	command := exec.CommandContext(ctx, helmPath(t), args...)
	scratch := t.TempDir()
	command.Env = append(os.Environ(), "HELM_CACHE_HOME="+scratch, "HELM_CONFIG_HOME="+scratch, "HELM_DATA_HOME="+scratch)
	var out, complaints bytes.Buffer
	command.Stdout, command.Stderr = &out, &complaints
	if err := command.Run(); err != nil {
		return out.String(), fmt.Errorf("helm %s: %w: %s%s", strings.Join(args, " "), err, &complaints, &out)
	}
	return out.String(), nil
}

// template renders the chart.
func template(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return helm(t, append([]string{"template", release, chartFolder(), "--namespace", namespace, "--kube-version", kubeVersion}, args...)...)
}

// examples are the values files that the chart is tested with, by name.
func examples(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(chartFolder(), "ci", "*-values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]string{}
	for _, file := range files {
		named[strings.TrimSuffix(filepath.Base(file), "-values.yaml")] = file
	}
	if len(named) < 6 {
		t.Fatalf("only %d examples were found in charts/sluice/ci", len(named))
	}
	return named
}

// forEachExample runs check with what each example renders.
func forEachExample(t *testing.T, check func(t *testing.T, name string, objects []object)) {
	for name, file := range examples(t) {
		t.Run(name, func(t *testing.T) {
			check(t, name, render(t, "--values", file))
		})
	}
}
