package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// What the release is called, and by that its objects.
const (
	release        = "sluice"
	serviceGateway = "sluice-gateway"
	secretNATS     = "sluice-nats-users"
	natsURL        = "nats://sluice-nats:4222"
	opsPort        = 5001
	natsMonitor    = 8222
	helmPatience   = "4m"
	// startWait is how long a gateway holds a call to a function that does not become ready; the chart's default of two minutes would
	// only make the scenarios longer.
	startWait = 30 * time.Second
)

// gatewayURL is the API as a pod of another namespace would write it.
func (s *system) gatewayURL() string {
	return "http://" + serviceGateway + "." + s.kube.namespace + ".svc.cluster.local"
}

// values are those of the chart, beside its defaults.
func (s *system) values() map[string]any {
	return map[string]any{
		"image":   map[string]any{"tag": s.tags["gateway"]},
		"gateway": map[string]any{"startWait": startWait.String(), "exposeFunctions": true}, // the scenarios look from outside
		"nats": map[string]any{
			"replicas": 3, "persistence": map[string]any{"enabled": false}, "maxFileStore": "1Gi",
		},
	}
}

// install runs helm install and returns how long it took until all was ready.
func (s *system) install(ctx context.Context) (time.Duration, error) {
	text, err := yaml.Marshal(s.values())
	if err != nil {
		return 0, fmt.Errorf("write the chart's values: %w", err)
	}
	file := filepath.Join(s.scratch, "values.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return 0, fmt.Errorf("write the chart's values: %w", err)
	}
	args := []string{"install", release, filepath.Join(s.settings.root, "charts", "sluice"), "--create-namespace", "--values", file, "--wait", "--timeout", helmPatience}
	if s.settings.values != "" {
		args = append(args, "--set", s.settings.values)
	}
	start := time.Now()
	err = s.helm(ctx, args...)
	return time.Since(start), err
}

func (s *system) uninstall(ctx context.Context) error {
	return s.helm(ctx, "uninstall", release, "--wait", "--timeout", helmPatience)
}

// helm runs it on the namespace; the error has what it prints.
func (s *system) helm(ctx context.Context, args ...string) error {
	command := exec.CommandContext(ctx, s.settings.bin("helm"), append(args, "--namespace", s.kube.namespace, "--kubeconfig", s.kubeconfig)...)
	command.Env = append(os.Environ(), "HELM_CACHE_HOME="+s.scratch, "HELM_CONFIG_HOME="+s.scratch, "HELM_DATA_HOME="+s.scratch)
	text, err := command.CombinedOutput()
	if err != nil {
		return fmt.Errorf("helm %s: %w\n%s", strings.Join(args, " "), err, text)
	}
	return nil
}
