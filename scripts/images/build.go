package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// builder makes images of one source.
type builder struct {
	source  source
	version string
	arch    string
	// dir is the module's folder, empty for the current one.
	dir string
	// env is added to that of the compiler.
	env []string
}

// write builds the image into the file at path and returns the digest by which container runtimes know it.
func (b builder) write(ctx context.Context, i image, path string) (digest string, err error) {
	folder, err := os.MkdirTemp("", "sluice-images-")
	if err != nil {
		return "", fmt.Errorf("make a temporary folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(folder) }()
	binary := filepath.Join(folder, i.Binary)
	if err := b.compile(ctx, i, binary); err != nil {
		return "", err
	}
	content, err := os.ReadFile(binary)
	if err != nil {
		return "", fmt.Errorf("read the binary: %w", err)
	}
	archive, digest, err := pack(i, content, b)
	if err != nil {
		return "", err
	}
	return digest, replaceFile(path, archive)
}

// compile builds the static binary.
func (b builder) compile(ctx context.Context, i image, out string) error {
	args := buildArgs(i, stamp{Version: b.version, Revision: b.source.revision}, out)
	command := exec.CommandContext(ctx, "go", args...) //nolint:gosec // the arguments are ours
	command.Dir = b.dir
	command.Env = append(append(append(os.Environ(), buildEnv("linux", b.arch)...), neutralEnv...), b.env...)
	if text, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, text)
	}
	return nil
}

// buildEnv is the environment of the compiler, as in the Dockerfiles.
func buildEnv(system, arch string) []string {
	return []string{"CGO_ENABLED=0", "GOOS=" + system, "GOARCH=" + arch, "GOWORK=off"}
}

// neutralEnv undoes what a person may have set for all builds and what would change the binary.
var neutralEnv = []string{"GOFLAGS=-trimpath", "GOAMD64=v1", "GOARM64=v8.0", "GOEXPERIMENT=", "GODEBUG="}

// stamp is what a binary is told about its build.
type stamp struct{ Version, Revision string }

// buildArgs are the arguments of the go command, as in the Dockerfiles.
func buildArgs(i image, s stamp, out string) []string {
	flags := "-s -w"
	if i.Stamped {
		const ops = "github.com/sluicefaas/sluice/pkg/ops"
		flags += fmt.Sprintf(" -X %s.version=%s -X %s.revision=%s", ops, s.Version, ops, s.Revision)
	}
	return []string{"build", "-trimpath", "-buildvcs=false", "-ldflags=" + flags, "-o", out, i.Package}
}

// replaceFile writes the file at path, so that nobody finds half of it.
func replaceFile(path string, content []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write the image: %w", err)
	}
	defer func() { _ = os.Remove(file.Name()) }() // gone already if all went well
	_, err = file.Write(content)
	if closing := file.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return fmt.Errorf("write the image: %w", err)
	}
	if err := os.Chmod(file.Name(), 0o644); err != nil { //nolint:gosec // as any file that is built, for other users' tools to read
		return fmt.Errorf("write the image: %w", err)
	}
	return os.Rename(file.Name(), path)
}
