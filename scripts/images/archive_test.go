package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// unpack returns the files of a tar, in order, after a look at what must be the same in all of them.
func unpack(t *testing.T, content []byte, when time.Time) (names []string, files map[string][]byte) {
	t.Helper()
	files = map[string][]byte{}
	for reader := tar.NewReader(bytes.NewReader(content)); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return names, files
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Uid != 0 || header.Gid != 0 || header.Uname != "" || !header.ModTime.Equal(when) {
			t.Errorf("%s: owner %d:%d %q, time %s", header.Name, header.Uid, header.Gid, header.Uname, header.ModTime)
		}
		text, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, header.Name)
		files[header.Name] = text
	}
}

// The archive is what container runtimes read: each digest names what it says.
func TestArchive(t *testing.T) {
	when := time.Unix(1_700_000_000, 0).UTC()
	b := builder{source: source{revision: "abc", created: when}, version: "1.2.3", arch: "arm64"}
	i := natsServer("2.3.4")
	archive, digest, err := pack(i, []byte("binary"), b)
	if err != nil {
		t.Fatal(err)
	}
	names, files := unpack(t, archive, when)
	var manifests []manifest
	if err := json.Unmarshal(files["manifest.json"], &manifests); err != nil || len(manifests) != 1 {
		t.Fatalf("manifest %s: %v", files["manifest.json"], err)
	}
	m := manifests[0]
	if !slices.IsSorted(names) || len(names) != 3 || !slices.Equal(m.RepoTags, []string{"docker.io/library/nats:2.3.4", "docker.io/library/nats:2.3.4-scratch"}) {
		t.Errorf("names %q, tags %q", names, m.RepoTags)
	}
	config, layer := files[m.Config], files[m.Layers[0]]
	if sum(config) != digest || m.Config != digest+".json" || m.Layers[0] != sum(layer)+".tar" {
		t.Errorf("the digests do not fit: %+v", m)
	}
	var c imageConfig
	if err := json.Unmarshal(config, &c); err != nil {
		t.Fatal(err)
	}
	if c.RootFS.DiffIDs[0] != "sha256:"+sum(layer) || c.OS != "linux" || c.Architecture != "arm64" || !c.Created.Equal(when) {
		t.Errorf("configuration %s", config)
	}
	if c.Config.Entrypoint[0] != "/nats-server" || len(c.Config.ExposedPorts) != 3 || c.Config.User != "" {
		t.Errorf("configuration %s", config)
	}
	if names, files := unpack(t, layer, when); !slices.Equal(names, []string{"nats-server", "nats-server.conf"}) || string(files["nats-server"]) != "binary" {
		t.Errorf("layer with %q", names)
	}
}

func TestTagsAreChecked(t *testing.T) {
	for tag, want := range map[string]bool{"dev": true, "1.2.3": true, "v1_0-rc.1": true, "": false, "a/b": false, "a:b": false, "-x": false, strings.Repeat("x", 129): false} {
		if validTag(tag) != want {
			t.Errorf("tag %q is valid: %t", tag, !want)
		}
	}
	if err := run(t.Context(), settings{tag: "a b"}); err == nil || !strings.Contains(err.Error(), `-tag "a b"`) {
		t.Errorf("error %v", err)
	}
}

func TestTheTimeIsThatOfTheSource(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	s, err := readSource(t.Context())
	if err != nil || s.created.Unix() != 1_700_000_000 || s.created.Location() != time.UTC {
		t.Errorf("%+v %v", s, err)
	}
	t.Setenv("SOURCE_DATE_EPOCH", "now")
	if _, err := readSource(t.Context()); err == nil || !strings.Contains(err.Error(), `SOURCE_DATE_EPOCH "now"`) {
		t.Errorf("error %v", err)
	}
}

// Two folders, two build caches: the same bytes.
func TestBuildsAreReproducible(t *testing.T) {
	var archives [2][]byte
	for n := range archives {
		b := builder{source: source{created: time.Unix(1_700_000_000, 0)}, version: "1", arch: "amd64", dir: writeModule(t)}
		if n > 0 {
			b.env = []string{"GOCACHE=" + t.TempDir()}
		}
		path := filepath.Join(t.TempDir(), "hello.tar")
		if _, err := b.write(t.Context(), image{Name: "hello", Package: ".", Binary: "hello"}, path); err != nil {
			t.Fatal(err)
		}
		var err error
		if archives[n], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Errorf("the archives differ: %s and %s", sum(archives[0]), sum(archives[1]))
	}
}

// writeModule makes a folder with a program that knows where it was compiled.
func writeModule(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":  "module example.org/hello\n\ngo 1.26\n",
		"main.go": "package main\n\nimport \"runtime\"\n\nfunc main() {\n\t_, file, _, _ := runtime.Caller(0)\n\tprintln(file)\n}\n",
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}
