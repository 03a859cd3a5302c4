package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// bench is one run: where it keeps its files, and what it has found.
type bench struct {
	settings settings
	dir      string // temporary, removed by close
	self     string // this binary, for the roles
	sluice   string // the product's binary
	results  []result
	folders  int
	skipped  []string
}

// product is what is measured.
const product = "github.com/sluicefaas/sluice/services/local/cmd/sluice"

func newBench(ctx context.Context, s settings) (*bench, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this binary: %w", err)
	}
	dir, err := os.MkdirTemp("", "sluice-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a temporary folder: %w", err)
	}
	b := &bench{settings: s, dir: dir, self: self, sluice: s.binary}
	if b.sluice != "" {
		return b, nil
	}
	if err := b.build(ctx); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

// build makes the product's binary from the source.
func (b *bench) build(ctx context.Context) error {
	b.sluice = filepath.Join(b.dir, "sluice")
	build := exec.CommandContext(ctx, "go", "build", "-o", b.sluice, product) // #nosec G204 -- constant but for our own folder
	build.Env = append(os.Environ(), "GOWORK=off")
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", product, err, output)
	}
	return nil
}

// close removes every file.
func (b *bench) close() error { return os.RemoveAll(b.dir) }

// folder makes a new one inside the temporary folder.
func (b *bench) folder(name string) (string, error) {
	b.folders++
	path := filepath.Join(b.dir, fmt.Sprintf("%s-%d", name, b.folders))
	return path, os.Mkdir(path, 0o700)
}

// skip notes a measurement that this machine cannot make.
func (b *bench) skip(why string) {
	b.skipped = append(b.skipped, why)
	fmt.Println("skipped:", why)
}
