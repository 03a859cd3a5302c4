// Command pack builds e2e/function and writes its image as a docker-archive tar, which `ctr images import`, `docker load` and
// `kind load image-archive` take. It is run in the folder e2e.
package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
)

func main() {
	out := flag.String("out", "../bin/images/e2e-function.tar", "the tar")
	reference := flag.String("reference", "docker.io/library/sluice-e2e-function:dev", "registry, repository and tag of the image")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *out, *reference); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out, reference string) error {
	binary, err := compile(ctx)
	if err != nil {
		return err
	}
	layer, err := writeTar(file{"function", binary})
	if err != nil {
		return err
	}
	image, err := json.Marshal(configuration(sum(layer)))
	if err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	manifest, err := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": []string{reference}, "Layers": []string{"layer.tar"}}})
	if err != nil {
		return fmt.Errorf("write the manifest: %w", err)
	}
	archive, err := writeTar(file{"manifest.json", manifest}, file{"config.json", image}, file{"layer.tar", layer})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return fmt.Errorf("make the folder of the image: %w", err)
	}
	return os.WriteFile(out, archive, 0o600)
}

// compile returns the static binary.
func compile(ctx context.Context) ([]byte, error) {
	folder, err := os.MkdirTemp("", "sluice-e2e-")
	if err != nil {
		return nil, fmt.Errorf("make a temporary folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(folder) }()
	path := filepath.Join(folder, "function")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", path, "./function") //nolint:gosec // the path is ours
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOWORK=off")
	if text, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the function: %w\n%s", err, text)
	}
	return os.ReadFile(path)
}

// configuration is that of an image with one layer (OCI image specification, config.md).
func configuration(layer string) map[string]any {
	return map[string]any{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": map[string]any{"Entrypoint": []string{"/function"}, "User": "65532:65532"},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + layer}},
	}
}

type file struct {
	name    string
	content []byte
}

func writeTar(files ...file) ([]byte, error) {
	var text bytes.Buffer
	writer := tar.NewWriter(&text)
	for _, f := range files {
		header := tar.Header{Name: f.name, Mode: 0o755, Size: int64(len(f.content)), Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
		if err := writer.WriteHeader(&header); err != nil {
			return nil, fmt.Errorf("write %s into the archive: %w", f.name, err)
		}
		if _, err := writer.Write(f.content); err != nil {
			return nil, fmt.Errorf("write %s into the archive: %w", f.name, err)
		}
	}
	if err := writer.Close(); err != nil {
		return nil, fmt.Errorf("end the archive: %w", err)
	}
	return text.Bytes(), nil
}

func sum(content []byte) string {
	digest := sha256.Sum256(content)
	return hex.EncodeToString(digest[:])
}
