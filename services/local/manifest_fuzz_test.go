package local

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/pkg/job"
	"github.com/sluicefaas/sluice/services/jobrunner"
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

// FuzzJob gives any manifest to the cluster of jobs: it never panics, and what it accepts can be run and kept.
func FuzzJob(f *testing.F) {
	f.Add([]byte(`{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"j","annotations":{"sluice/LocalCommand":"a 'b' $(c)"}},"spec":{"completions":2,"template":{"spec":{"restartPolicy":"Never","containers":[{"command":["a"],"args":["$(JOB)"],"env":[{"name":"JOB","value":"$(JOB)"}]}]}}}}`))
	f.Add([]byte(`{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"j"},"spec":{"activeDeadlineSeconds":9223372036854775807,"template":{"spec":{"restartPolicy":"OnFailure","terminationGracePeriodSeconds":-1,"containers":[{}]}}}}`))
	f.Fuzz(func(t *testing.T, manifest []byte) {
		name, spec, err := readJob(manifest)
		if err != nil {
			if !errors.Is(err, jobrunner.ErrInvalid) {
				t.Errorf("the error is %v", err)
			}
			return
		}
		for _, word := range slices.Concat(spec.argv, spec.env) {
			if strings.ContainsRune(word, 0) {
				t.Errorf("%q cannot be given to a process", word)
			}
		}
		record := jobRecord{Name: name, UID: "u", Manifest: manifest, ResumedAt: epoch}
		if step := record.plan(epoch, spec.jobLimits); job.ValidName(name) != nil || spec.grace < 0 || spec.deadline < 0 || step.kind != startPod {
			t.Errorf("%s cannot be run: %+v, %+v", name, spec, step)
		}
		if text, err := json.Marshal(record); err != nil || json.Unmarshal(text, &record) != nil {
			t.Errorf("it cannot be kept: %v", err)
		}
	})
}
