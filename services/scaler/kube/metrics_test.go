package kube

import (
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// What the Client exports stands in docs/metrics.md (row 24 of the bugs of others).
func TestRow24LeaderMetricIsInTheDocs(t *testing.T) {
	config := defaults(t)
	config.Kubeconfig = kubeconfigOf(t, "mine")
	client, err := Connect(config, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	client.NewCluster(registry)
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
