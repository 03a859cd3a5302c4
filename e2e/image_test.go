package e2e

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// loaded are the images that the scenarios need, by the names of their tars.
var loaded = []string{"gateway", "dispatcher", "scaler", "jobrunner", "nats", "e2e-function", "demo-slimfaas", "demo-database", "demo-batch"}

// imageFiles are the tars of the images; make builds them.
func (s settings) imageFiles() ([]string, error) {
	var files []string
	for _, name := range loaded {
		path := filepath.Join(s.bin("images"), name+".tar")
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("the image %s is not built: `make e2e` builds it: %w", name, err)
		}
		files = append(files, path)
	}
	return files, nil
}

// reference is the first name of the image in a docker-archive tar.
func reference(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }()
	archive := tar.NewReader(file)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return "", fmt.Errorf("%s has no manifest.json", path)
		}
		if err != nil {
			return "", fmt.Errorf("read %s: %w", path, err)
		}
		if header.Name == "manifest.json" {
			return referenceIn(archive)
		}
	}
}

func referenceIn(manifest io.Reader) (string, error) {
	var images []struct{ RepoTags []string }
	if err := json.NewDecoder(manifest).Decode(&images); err != nil {
		return "", fmt.Errorf("read the image's manifest: %w", err)
	}
	if len(images) != 1 || len(images[0].RepoTags) == 0 {
		return "", fmt.Errorf("the image's manifest has %+v: want one image with a name", images)
	}
	return images[0].RepoTags[0], nil
}

// tag is what stands behind the last colon of a reference.
func tag(reference string) string { return reference[strings.LastIndex(reference, ":")+1:] }
