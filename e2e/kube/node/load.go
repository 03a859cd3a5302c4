package node

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/sluicefaas/sluice/e2e/kube/await"
)

const (
	importLimit   = 5 * time.Minute  // for all archives together
	knownLimit    = 30 * time.Second // for one image, between its import and its first use
	manifestBytes = 4 << 20
)

// Load imports images into the running node's containerd from archives in the format of `docker save`, and returns when
// pods can use them.
func Load(ctx context.Context, archives []string) error {
	ctx, cancel := context.WithTimeout(ctx, importLimit)
	defer cancel()
	for _, archive := range archives {
		tags, err := tagsOf(archive)
		if err != nil {
			return fmt.Errorf("read the image %s: %w", archive, err)
		}
		command := exec.CommandContext(ctx, "ctr", "--address", socket, "--namespace", "k8s.io", "images", "import", archive) //nolint:gosec // no shell
		if output, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("import %s: %w: %s", archive, err, output)
		}
		if err := awaitImages(ctx, tags); err != nil {
			return err
		}
	}
	return nil
}

// awaitImages waits until the part of containerd that the kubelet asks has heard of the images: it listens for them, and
// a pod that comes earlier would have its image pulled.
func awaitImages(ctx context.Context, tags []string) error {
	connection, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return fmt.Errorf("connect to containerd: %w", err)
	}
	defer connection.Close()
	images := runtimeapi.NewImageServiceClient(connection)
	for _, tag := range tags {
		err := await.Until(ctx, "the image "+tag, knownLimit, func(ctx context.Context) error {
			status, err := images.ImageStatus(ctx, &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: tag}})
			if err != nil {
				return err
			}
			if status.GetImage() == nil {
				return errors.New("containerd does not know it yet")
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// tagsOf are the names that an archive gives to its images.
func tagsOf(archive string) ([]string, error) {
	file, err := os.Open(archive)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	for reader := tar.NewReader(file); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return nil, errors.New("it has no manifest.json: write it with `docker save` or in its format")
		}
		if err != nil {
			return nil, fmt.Errorf("read the tar archive: %w", err)
		}
		if header.Name == "manifest.json" {
			return tagsOfManifest(io.LimitReader(reader, manifestBytes))
		}
	}
}

func tagsOfManifest(reader io.Reader) ([]string, error) {
	var images []struct{ RepoTags []string }
	if err := json.NewDecoder(reader).Decode(&images); err != nil {
		return nil, fmt.Errorf("parse manifest.json: %w", err)
	}
	var tags []string
	for _, image := range images {
		tags = append(tags, image.RepoTags...)
	}
	if len(tags) == 0 {
		return nil, errors.New("its manifest.json names no image: give it a tag (RepoTags)")
	}
	return tags, nil
}
