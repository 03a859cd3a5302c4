package kube

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// What the Client exports stands in docs/metrics.md (row 24 of the bugs of others).
func TestRow24LeaderMetricIsInTheDocs(t *testing.T) {
	m := regexp.MustCompile(`fqName: "([^"]*)", help: "([^"]*)"`).FindStringSubmatch(newLeaderGauge().Desc().String())
	if m == nil {
		t.Fatal("the metric's description is no longer understood")
	}
	doc, err := os.ReadFile("../../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	if row := "| `" + m[1] + "` |  | " + m[2] + " |"; !strings.Contains(string(doc), row) {
		t.Errorf("docs/metrics.md lacks %s", row)
	}
}
