package chart

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each example renders what its golden file says. A change of the chart shows in them, for review.
func TestGoldenRenders(t *testing.T) {
	for name, file := range examples(t) {
		t.Run(name, func(t *testing.T) {
			got, err := template(t, "--values", file)
			if err != nil {
				t.Fatal(err)
			}
			compareGolden(t, filepath.Join("testdata", name+".yaml"), withoutComments(got))
		})
	}
}

func compareGolden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v: write it with `go test ./chart -run Golden -update`", err)
	}
	gotLines, wantLines := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range max(len(gotLines), len(wantLines)) {
		if at(gotLines, i) != at(wantLines, i) {
			t.Fatalf("%s:%d: rendered\n\t%s\ngolden\n\t%s\nif that is right, run `go test ./chart -run Golden -update`", file, i+1, at(gotLines, i), at(wantLines, i))
		}
	}
}

// at is the line, or a word for its absence.
func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "(the end)"
}

// withoutComments leaves the names of the templates.
func withoutComments(text string) string {
	var kept strings.Builder
	for line := range strings.Lines(text) {
		bare := strings.TrimSpace(line)
		if !strings.HasPrefix(bare, "#") || strings.HasPrefix(bare, "# Source:") {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

// Every example goes through helm lint without a warning.
func TestLint(t *testing.T) {
	for name, file := range examples(t) {
		t.Run(name, func(t *testing.T) {
			out, err := helm(t, "lint", "--strict", "--with-subcharts", chartFolder(), "--values", file)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(out, "[WARNING]") || strings.Contains(out, "[ERROR]") {
				t.Error(out)
			}
		})
	}
}
