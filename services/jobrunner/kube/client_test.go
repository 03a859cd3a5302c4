package kube

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

func TestDefaults(t *testing.T) {
	var config Config
	parser, err := kong.New(&config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(nil); err != nil {
		t.Fatal(err)
	}
	if config.LeaseName != "sluice-jobrunner" || config.LeaseDuration != 6*time.Second || config.Namespace != "" {
		t.Errorf("the defaults are %+v", config)
	}
	if _, err := Connect(Config{}, zerolog.Nop()); err == nil || !strings.Contains(err.Error(), "--kubeconfig") {
		t.Errorf("without an access: %v", err)
	}
}

// What the Client exports stands in docs/metrics.md (row 24 of the bugs of others).
func TestRow24LeaderMetricIsInTheDocs(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	client, err := Connect(n.config(), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	if cluster := client.NewCluster(registry); cluster.Namespace() != n.Name {
		t.Errorf("the namespace is %s", cluster.Namespace())
	}
	families, err := registry.Gather()
	if err != nil || len(families) != 1 {
		t.Fatalf("the registry has %v, %v", families, err)
	}
	doc, err := os.ReadFile("../../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	if row := "| `" + families[0].GetName() + "` |  | " + families[0].GetHelp() + " |"; !strings.Contains(string(doc), row) {
		t.Errorf("docs/metrics.md lacks %s", row)
	}
}
