package function_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/sluicefaas/sluice/pkg/function"
)

// TestDocsHaveEveryAnnotation: the table of annotations has a row for each key that is read, and no other.
func TestDocsHaveEveryAnnotation(t *testing.T) {
	rows := documented(t)
	known := function.KeysInForce()
	for _, key := range known {
		if rows[key] == nil {
			t.Errorf("docs/functions.md has no row for %s", key)
		}
	}
	if len(rows) != len(known) {
		t.Errorf("docs/functions.md has %d annotations, the code %d", len(rows), len(known))
	}
}

// TestDocsHaveTheDefaultsAndRanges holds those that are one word or number.
func TestDocsHaveTheDefaultsAndRanges(t *testing.T) {
	rows := documented(t)
	f := function.Defaults("f", function.KindDeployment)
	for key, want := range map[string]string{
		"ReplicasMin": fmt.Sprint(f.ReplicasMin), "ReplicasAtStart": fmt.Sprint(f.ReplicasAtStart),
		"TimeoutSecondBeforeSetReplicasMin": fmt.Sprint(f.TimeoutSecondBeforeSetReplicasMin), "NumberParallelRequest": fmt.Sprint(f.NumberParallelRequest),
		"NumberParallelRequestPerPod": "none", "ReplicasStartAsSoonAsOneFunctionRetrieveARequest": fmt.Sprintf("`%v`", f.WakeWithAny),
		"DefaultVisibility": fmt.Sprintf("`%s`", f.DefaultVisibility), "DefaultTrust": fmt.Sprintf("`%s`", f.DefaultTrust), "Protocol": "`http`",
	} {
		if len(rows[key]) < 2 || rows[key][0] != want {
			t.Errorf("docs/functions.md: the default of %s is %q, in the code %q", key, rows[key], want)
			continue
		}
		if least, greatest, isRange := strings.Cut(rows[key][1], " to "); isRange {
			requireRange(t, key, least, greatest)
		}
	}
}

// requireRange reads the bounds that are documented, and one more.
func requireRange(t *testing.T, key, least, greatest string) {
	t.Helper()
	for _, value := range []string{least, greatest} {
		if _, problems := read(on("sluice/"+key, value)); len(problems) > 0 {
			t.Errorf("docs/functions.md: %v", problems)
		}
	}
	if _, problems := read(on("sluice/"+key, greatest+"0")); len(problems) != 1 || !strings.Contains(problems[0].Want, least+" to "+greatest) {
		t.Errorf("docs/functions.md: %s is from %s to %s, in the code %v", key, least, greatest, problems)
	}
}

// documented returns default, value and meaning of each row of the first table, by the keys in its first column.
func documented(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("../../docs/functions.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "|---|---|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	rows := map[string][]string{}
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		for key := range strings.SplitSeq(cells[0], ", also ") {
			rows[strings.Trim(key, "`")] = cells[1:]
		}
	}
	return rows
}

// TestDocsExamples: every annotation that is shown in YAML is valid.
func TestDocsExamples(t *testing.T) {
	text, err := os.ReadFile("../../docs/functions.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(text), "```yaml\nsluice/")[1:]
	if len(blocks) < 5 {
		t.Fatalf("only %d examples", len(blocks))
	}
	for _, block := range blocks {
		block, _, _ = strings.Cut(block, "```")
		key, value, _ := strings.Cut(block, ":")
		value = strings.Trim(strings.TrimPrefix(strings.TrimSpace(value), "|"), "\n\" ")
		if _, problems := read(on("sluice/"+key, value)); len(problems) > 0 {
			t.Errorf("%s: %v", key, problems)
		}
	}
}
