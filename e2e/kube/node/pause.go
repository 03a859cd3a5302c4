package node

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
)

const (
	pauseProgram = "pause"
	pauseImage   = "localhost/sluice-pause:1"
)

// writePauseImage writes an image that has only the program, in the format of `docker save`
// (https://github.com/moby/docker-image-spec).
func writePauseImage(path, program string) error {
	executable, err := os.ReadFile(program)
	if err != nil {
		return fmt.Errorf("read the pause program: %w", err)
	}
	layer, err := tarOf(entry{pauseProgram, 0o755, executable})
	if err != nil {
		return err
	}
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config":       map[string]any{"Entrypoint": []string{"/" + pauseProgram}, "User": "65535:65535"},
		"rootfs":       map[string]any{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer))}},
	})
	if err != nil {
		return fmt.Errorf("encode the image's configuration: %w", err)
	}
	manifest, err := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": []string{pauseImage}, "Layers": []string{"layer.tar"}}})
	if err != nil {
		return fmt.Errorf("encode the image's manifest: %w", err)
	}
	archive, err := tarOf(entry{"config.json", 0o644, config}, entry{"layer.tar", 0o644, layer}, entry{"manifest.json", 0o644, manifest})
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, archive, 0o600); err != nil {
		return fmt.Errorf("write the pause image: %w", err)
	}
	return nil
}

// entry is a file of a tar archive.
type entry struct {
	name    string
	mode    int64
	content []byte
}

func tarOf(entries ...entry) ([]byte, error) {
	var archive bytes.Buffer
	writer := tar.NewWriter(&archive)
	for _, e := range entries {
		if err := writer.WriteHeader(&tar.Header{Name: e.name, Mode: e.mode, Size: int64(len(e.content))}); err != nil {
			return nil, fmt.Errorf("write an archive: %w", err)
		}
		if _, err := writer.Write(e.content); err != nil {
			return nil, fmt.Errorf("write an archive: %w", err)
		}
	}
	if err := writer.Close(); err != nil {
		return nil, fmt.Errorf("end an archive: %w", err)
	}
	return archive.Bytes(), nil
}
