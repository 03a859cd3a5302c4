// Command images builds the container images without Docker: it compiles each binary as its Dockerfile does and writes
// a docker-archive tar, which `docker load`, `ctr images import` and `kind load image-archive` take. The same commit and
// the same Go give the same bytes.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// settings are the flags.
type settings struct {
	tag  string
	out  string
	arch string
	demo bool
	nats bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, readFlags()); err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

func readFlags() settings {
	var s settings
	flag.StringVar(&s.tag, "tag", "dev", "tag of the images, and the version that the binaries tell")
	flag.StringVar(&s.out, "out", "bin/images", "folder for the tars")
	flag.StringVar(&s.arch, "arch", runtime.GOARCH, "processor that the images are for, as Go names it")
	flag.BoolVar(&s.demo, "demo", false, "build the images of the demo functions too")
	flag.BoolVar(&s.nats, "nats", false, "build an image of the NATS server in the version of go.mod too, laid out as the official one")
	flag.Parse()
	return s
}

// run builds the chosen images of the module in the current folder.
func run(ctx context.Context, s settings) error {
	if !validTag(s.tag) {
		return fmt.Errorf("-tag %q: a tag has up to 128 letters, digits, _, . and -, and begins with neither . nor -", s.tag)
	}
	source, err := readSource(ctx)
	if err != nil {
		return err
	}
	images, err := chosen(ctx, s)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.out, 0o755); err != nil {
		return fmt.Errorf("make the folder of -out: %w", err)
	}
	b := builder{source: source, version: s.tag, arch: s.arch}
	for _, i := range images {
		path := filepath.Join(s.out, i.Name+".tar")
		digest, err := b.write(ctx, i, path)
		if err != nil {
			return fmt.Errorf("image %s: %w", i.Name, err)
		}
		fmt.Printf("%s\t%s\tsha256:%s\n", path, strings.Join(i.References, " "), digest)
	}
	return nil
}

// chosen are the images that the flags ask for.
func chosen(ctx context.Context, s settings) ([]image, error) {
	images := services(s.tag)
	if s.demo {
		images = append(images, demos()...)
	}
	if s.nats {
		version, err := moduleVersion(ctx, natsModule)
		if err != nil {
			return nil, err
		}
		images = append(images, natsServer(version))
	}
	return images, nil
}
