package local

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/pkg/job"
)

// FuzzManifest gives any file to the loader: it never panics, it tells of everything that it refuses, and what it
// accepts can be run.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte(on + "spec:\n  replicas: x\n"))
	f.Add([]byte("a: &a [*a]\n---\n- x\n---\n%YAML 1.2\n---\n? [a]\n: b\n<<: 1\n"))
	f.Add([]byte(wholeJob))
	f.Add([]byte(head + "  annotations: {sluice/Function: \"true\", sluice/LocalCommand: 'a \"b' }\n"))
	folder := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(folder, "m.yaml")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		contents, notices, err := LoadManifests([]string{path})
		if err != nil {
			t.Fatal(err)
		}
		lines := len(content) + 1 // YAML ends a line at more characters than \n.
		for _, n := range notices {
			if n.Text == "" || n.Level == "" || n.File != path || n.Line < 0 || n.Line > lines {
				t.Errorf("notice without a place or text: %+v in %d lines", n, lines)
			}
		}
		for _, w := range contents.Workloads {
			if function.ValidName(w.Function.Name) != nil || w.Replicas < 0 || w.GracePeriod < 0 || (w.URL == "") == (len(w.Command) == 0) {
				t.Errorf("cannot be run: %+v", w)
			}
		}
		for _, j := range contents.Jobs {
			if job.ValidName(j.Definition.Name) != nil || !json.Valid(j.Definition.Template) {
				t.Errorf("cannot be run: %+v", j)
			}
		}
	})
}
