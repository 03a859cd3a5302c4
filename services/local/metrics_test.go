package local

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

var update = flag.Bool("update", false, "write the golden files anew")

const metricsDoc = "../../docs/metrics.md"

const metricsIntro = `# Metrics

All metrics of Sluice, as ` + "`/metrics`" + ` on the ops port shows them, beside those of the Go runtime and the process. Times are in
seconds, the labels ` + "`function`" + ` and ` + "`definition`" + ` (of jobs) have only names that exist (calls and requests for others are counted as ` + "`unknown`" + `), and
every other label one of a few words. This file is held against the code by a test: names and labels do not change by accident.

| metric | labels | meaning |
|---|---|---|
`

// metricsOutro is about what only the services on Kubernetes register; pkg/kube has a test of it.
const metricsOutro = `
On Kubernetes also:

| metric | labels | meaning |
|---|---|---|
| ` + "`sluice_jobrunner_leader`" + ` |  | 1 on the jobrunner that leads, 0 on the others. |
| ` + "`sluice_scaler_leader`" + ` |  | 1 on the scaler that leads, 0 on the others. |
`

// The names and labels of all metrics stand in docs/metrics.md (row 24 of the bugs of others: an upgrade that renames metrics
// breaks dashboards).
func TestRow24MetricNamesAreGolden(t *testing.T) {
	l := runLocal(t, "127.0.0.1:9")
	rows := describeMetrics(l.registry)
	if len(rows) == 0 {
		t.Fatal("no metric is registered, or their descriptions are no longer understood")
	}
	got := metricsIntro + strings.Join(rows, "") + metricsOutro
	if *update {
		if err := os.WriteFile(metricsDoc, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(metricsDoc)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("docs/metrics.md is not what the services register; if the change is meant, say so in CHANGELOG.md and run this test with -update\n%s", got)
	}
}

var descPattern = regexp.MustCompile(`fqName: "([^"]*)", help: "([^"]*)", unit: "[^"]*", constLabels: \{([^}]*)\}, variableLabels: \{([^}]*)\}`)

// describeMetrics has a table row for each metric of ours.
func describeMetrics(registry *prometheus.Registry) (rows []string) {
	descs := make(chan *prometheus.Desc, 1024)
	registry.Describe(descs)
	close(descs)
	for desc := range descs {
		m := descPattern.FindStringSubmatch(desc.String())
		if m == nil || !strings.HasPrefix(m[1], "sluice_") {
			continue
		}
		labels := m[4]
		for constant := range strings.SplitSeq(m[3], ",") {
			if name, _, ok := strings.Cut(constant, "="); ok {
				labels = strings.Trim(labels+","+name, ",")
			}
		}
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %s |\n", m[1], strings.ReplaceAll(labels, ",", ", "), m[2]))
	}
	slices.Sort(rows)
	return rows
}

// The registry of a whole system has no metric twice and none without the prefix, but for Go's and the process's own.
func TestMetricsAreConventional(t *testing.T) {
	families, err := runLocal(t, "127.0.0.1:9").registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	prefixes := []string{"sluice_", "go_", "process_", "promhttp_"}
	for _, family := range families {
		if !slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(family.GetName(), prefix) }) {
			t.Errorf("%s has none of the prefixes %v", family.GetName(), prefixes)
		}
	}
}
