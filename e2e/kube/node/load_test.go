package node

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestTheNamesOfImagesInAnArchive(t *testing.T) {
	for name, test := range map[string]struct {
		manifest string // none if empty
		want     []string
		problem  string
	}{
		"two images":  {`[{"RepoTags":["a:1","b:2"]},{"RepoTags":["c:3"]}]`, []string{"a:1", "b:2", "c:3"}, ""},
		"no name":     {`[{"RepoTags":null}]`, nil, "names no image"},
		"no JSON":     {`[`, nil, "parse manifest.json"},
		"no manifest": {"", nil, "has no manifest.json"},
	} {
		t.Run(name, func(t *testing.T) {
			entries := []entry{{"config.json", 0o644, []byte("{}")}}
			if test.manifest != "" {
				entries = append(entries, entry{"manifest.json", 0o644, []byte(test.manifest)})
			}
			tags, err := tagsOf(write(t, entries...))
			if !slices.Equal(tags, test.want) {
				t.Errorf("names %v, want %v", tags, test.want)
			}
			if test.problem == "" && err != nil || test.problem != "" && (err == nil || !strings.Contains(err.Error(), test.problem)) {
				t.Errorf("error %v, want %q", err, test.problem)
			}
		})
	}
	if _, err := tagsOf(filepath.Join(t.TempDir(), "none.tar")); err == nil {
		t.Error("a file that is not there: no error")
	}
}

func write(t *testing.T, entries ...entry) string {
	t.Helper()
	archive, err := tarOf(entries...)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(path, archive, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestThePauseImageHasItsName(t *testing.T) {
	program := filepath.Join(t.TempDir(), "pause")
	if err := os.WriteFile(program, []byte("ELF"), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "pause.tar")
	if err := writePauseImage(path, program); err != nil {
		t.Fatal(err)
	}
	if tags, err := tagsOf(path); err != nil || !slices.Equal(tags, []string{pauseImage}) {
		t.Errorf("names %v, error %v", tags, err)
	}
}
