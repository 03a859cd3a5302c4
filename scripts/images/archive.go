package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// entry is one file of a tar.
type entry struct {
	name    string
	mode    int64
	content []byte
}

// manifest is one image of a docker-archive's manifest.json (github.com/moby/docker-image-spec, combined image JSON and
// file system changeset).
type manifest struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// imageConfig is the OCI image configuration (github.com/opencontainers/image-spec, config.md), as far as it is used.
type imageConfig struct {
	Created      time.Time `json:"created"`
	Architecture string    `json:"architecture"`
	OS           string    `json:"os"`
	Config       runConfig `json:"config"`
	RootFS       rootFS    `json:"rootfs"`
	History      []history `json:"history"`
}

type runConfig struct {
	User         string              `json:"User,omitempty"`
	ExposedPorts map[string]struct{} `json:"ExposedPorts,omitempty"`
	Env          []string            `json:"Env,omitempty"`
	Entrypoint   []string            `json:"Entrypoint"`
	Cmd          []string            `json:"Cmd,omitempty"`
	WorkingDir   string              `json:"WorkingDir"`
	Labels       map[string]string   `json:"Labels"`
}

type rootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

type history struct {
	Created   time.Time `json:"created"`
	CreatedBy string    `json:"created_by"`
}

// pack returns the docker-archive of the image with its binary, and the digest of its configuration, which is the image's id.
func pack(i image, binary []byte, b builder) (archive []byte, digest string, err error) {
	layer, err := writeTar(layerEntries(i, binary), b.source.created)
	if err != nil {
		return nil, "", err
	}
	layerDigest := sum(layer)
	config, err := json.Marshal(configOf(i, layerDigest, b))
	if err != nil {
		return nil, "", fmt.Errorf("write the configuration: %w", err)
	}
	digest = sum(config)
	files, err := json.Marshal([]manifest{{Config: digest + ".json", RepoTags: i.References, Layers: []string{layerDigest + ".tar"}}})
	if err != nil {
		return nil, "", fmt.Errorf("write the manifest: %w", err)
	}
	archive, err = writeTar([]entry{
		{"manifest.json", 0o644, files}, {digest + ".json", 0o644, config}, {layerDigest + ".tar", 0o644, layer},
	}, b.source.created)
	return archive, digest, err
}

// layerEntries are the files of the image.
func layerEntries(i image, binary []byte) []entry {
	entries := []entry{{i.Binary, 0o755, binary}}
	for name, text := range i.Files {
		entries = append(entries, entry{name, 0o644, []byte(text)})
	}
	return entries
}

func configOf(i image, layerDigest string, b builder) imageConfig {
	ports := map[string]struct{}{}
	for _, port := range i.Ports {
		ports[port] = struct{}{}
	}
	return imageConfig{
		Created: b.source.created, Architecture: b.arch, OS: "linux",
		Config: runConfig{
			User: i.User, ExposedPorts: ports, Env: i.Env, Entrypoint: []string{"/" + i.Binary}, Cmd: i.Cmd, WorkingDir: "/",
			Labels: labels(i, stamp{Version: b.version, Revision: b.source.revision}),
		},
		RootFS:  rootFS{Type: "layers", DiffIDs: []string{"sha256:" + layerDigest}},
		History: []history{{Created: b.source.created, CreatedBy: "scripts/images"}},
	}
}

// labels are those of the OCI annotations specification (github.com/opencontainers/image-spec, annotations.md).
func labels(i image, s stamp) map[string]string {
	const opencontainers = "org.opencontainers.image."
	all := map[string]string{
		opencontainers + "title":       i.Title,
		opencontainers + "description": i.Description,
		opencontainers + "source":      "https://github.com/sluicefaas/sluice",
	}
	if i.Stamped {
		all[opencontainers+"version"], all[opencontainers+"revision"] = s.Version, s.Revision
	}
	return all
}

// writeTar returns a tar of the files, sorted by name, owned by root and as old as when.
func writeTar(entries []entry, when time.Time) ([]byte, error) {
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	var text bytes.Buffer
	writer := tar.NewWriter(&text)
	for _, e := range entries {
		header := tar.Header{Name: e.name, Mode: e.mode, Size: int64(len(e.content)), ModTime: when, Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
		if err := writer.WriteHeader(&header); err != nil {
			return nil, fmt.Errorf("write %s into the archive: %w", e.name, err)
		}
		if _, err := writer.Write(e.content); err != nil {
			return nil, fmt.Errorf("write %s into the archive: %w", e.name, err)
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
