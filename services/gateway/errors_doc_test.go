package gateway

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// docs/errors.md has every kind of error, with its status and Retry-After, and none that does not exist.
func TestErrorsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(doc)) {
		if strings.HasPrefix(line, "| `") {
			rows++
		}
	}
	kinds := ProblemKinds()
	if rows != len(kinds) {
		t.Errorf("docs/errors.md has %d rows for %d kinds", rows, len(kinds))
	}
	for _, kind := range kinds {
		retry := "–"
		if kind.RetryAfter > 0 {
			retry = fmt.Sprint(kind.RetryAfter)
		}
		row := fmt.Sprintf("| `%s` | %d | %s |", kind.Name, kind.Status, retry)
		if !strings.Contains(string(doc), row) {
			t.Errorf("docs/errors.md lacks the row %q", row)
		}
	}
}
