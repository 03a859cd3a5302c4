package main

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mattn/go-shellwords"
)

// instruction is one of a Dockerfile, its arguments as written.
type instruction struct{ name, args string }

// readDockerfile returns the instructions of each stage.
func readDockerfile(t *testing.T, path string) (stages [][]instruction) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	joined := regexp.MustCompile(`\s*\\\n\s*`).ReplaceAllString(string(text), " ")
	for line := range strings.Lines(joined) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, args, _ := strings.Cut(line, " ")
		if name == "FROM" {
			stages = append(stages, nil)
		}
		stages[len(stages)-1] = append(stages[len(stages)-1], instruction{name, strings.TrimSpace(args)})
	}
	return stages
}

// the returns the arguments of the only instruction of that name that contains part.
func the(t *testing.T, stage []instruction, name, part string) string {
	t.Helper()
	var found []string
	for _, i := range stage {
		if i.name == name && strings.Contains(i.args, part) {
			found = append(found, i.args)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%s with %q: have %q, want one", name, part, found)
	}
	return found[0]
}

// all returns the arguments of every instruction of that name.
func all(stage []instruction, name string) (found []string) {
	for _, i := range stage {
		if i.name == name {
			found = append(found, i.args)
		}
	}
	return found
}

func words(t *testing.T, line string) []string {
	t.Helper()
	parser := shellwords.NewParser()
	parser.ParseEnv, parser.ParseBacktick = false, false
	parsed, err := parser.Parse(line)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// The Dockerfiles cannot be built where there is no Docker: what they say is held to what this program does.
func TestDockerfilesSayTheSame(t *testing.T) {
	for _, i := range append(services("tag"), local("tag")) {
		t.Run(i.Name, func(t *testing.T) {
			stages := readDockerfile(t, filepath.Join("..", "..", "Dockerfile."+i.Name))
			if len(stages) != 2 {
				t.Fatalf("%d stages, want a build and the image", len(stages))
			}
			checkBuildStage(t, i, stages[0])
			checkImageStage(t, i, stages[1])
		})
	}
}

func checkBuildStage(t *testing.T, i image, stage []instruction) {
	t.Helper()
	if from := the(t, stage, "FROM", ""); from != "--platform=$BUILDPLATFORM golang:"+goLine(t)+"-alpine AS build" {
		t.Errorf("FROM %s: want the compiler of go.mod", from)
	}
	line := words(t, the(t, stage, "RUN", "go build"))
	line = slices.DeleteFunc(line, func(word string) bool { return strings.HasPrefix(word, "--mount=type=cache,target=/") })
	want := append(buildEnv("$TARGETOS", "$TARGETARCH"), "go")
	want = append(want, buildArgs(i, stamp{Version: "$VERSION", Revision: "$REVISION"}, "/out/"+i.Binary)...)
	if !slices.Equal(line, want) {
		t.Errorf("build line\n%q, want\n%q", line, want)
	}
	the(t, stage, "ARG", "TARGETOS TARGETARCH VERSION=dev REVISION")
}

func checkImageStage(t *testing.T, i image, stage []instruction) {
	t.Helper()
	config := configOf(i, "", builder{source: source{revision: "$REVISION"}, version: "$VERSION"}).Config
	if from := the(t, stage, "FROM", ""); from != "scratch" {
		t.Errorf("FROM %s, want scratch", from)
	}
	copies := []string{"--from=build /out/" + i.Binary + " /" + i.Binary}
	if i.Name == "local" { // a volume of Docker's gets its owner from the folder in the image
		copies = append(copies, "--from=build --chown="+i.User+" /out/data /data")
	}
	if got := all(stage, "COPY"); !slices.Equal(got, copies) {
		t.Errorf("COPY %q, want %q", got, copies)
	}
	if got := all(stage, "ENV"); !slices.Equal(got, config.Env) {
		t.Errorf("ENV %q, want %q", got, config.Env)
	}
	var command []string
	for _, text := range all(stage, "CMD") {
		if err := json.Unmarshal([]byte(text), &command); err != nil {
			t.Errorf("CMD %s: %v", text, err)
		}
	}
	if !slices.Equal(command, config.Cmd) {
		t.Errorf("CMD %q, want %q", command, config.Cmd)
	}
	if got := the(t, stage, "USER", ""); got != config.User {
		t.Errorf("USER %s, want %s", got, config.User)
	}
	if got, want := strings.Fields(the(t, stage, "EXPOSE", "")), slices.Sorted(maps.Keys(config.ExposedPorts)); !slices.Equal(got, want) {
		t.Errorf("EXPOSE %s, want %s", got, want)
	}
	var entrypoint []string
	if err := json.Unmarshal([]byte(the(t, stage, "ENTRYPOINT", "")), &entrypoint); err != nil || !slices.Equal(entrypoint, config.Entrypoint) {
		t.Errorf("ENTRYPOINT %q (%v), want %q", entrypoint, err, config.Entrypoint)
	}
	labels := map[string]string{}
	for _, label := range words(t, the(t, stage, "LABEL", "")) {
		key, value, _ := strings.Cut(label, "=")
		labels[key] = value
	}
	if !maps.Equal(labels, config.Labels) {
		t.Errorf("LABEL %v, want %v", labels, config.Labels)
	}
	for _, i := range stage {
		if !slices.Contains([]string{"FROM", "ARG", "COPY", "ENV", "USER", "EXPOSE", "ENTRYPOINT", "CMD", "LABEL"}, i.name) {
			t.Errorf("%s %s is not in the image that this program builds", i.name, i.args)
		}
	}
}

// goLine is the line of Go releases that go.mod names: 1.26.
func goLine(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	match := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(text)
	if match == nil {
		t.Fatal("go.mod has no go line")
	}
	return string(match[1])
}

// The build stage sees what its COPY lines and .dockerignore leave: every package that a binary needs must be there.
func TestTheBuildStageHasEveryPackage(t *testing.T) {
	ignored, err := os.ReadFile(filepath.Join("..", "..", ".dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range append(services("tag"), local("tag")) {
		var copied []string
		for _, c := range readDockerfile(t, filepath.Join("..", "..", "Dockerfile."+i.Name))[0] {
			if c.name == "COPY" {
				sources := strings.Fields(c.args)
				copied = append(copied, sources[:len(sources)-1]...)
			}
		}
		for _, dependency := range dependencies(t, i) {
			folder, ours := strings.CutPrefix(dependency, "github.com/sluicefaas/sluice/")
			if top, _, _ := strings.Cut(folder, "/"); ours && !slices.Contains(copied, top) {
				t.Errorf("Dockerfile.%s copies %q and lacks %s", i.Name, copied, folder)
			}
		}
		for _, source := range copied {
			if !strings.Contains(string(ignored), "\n!"+source+"\n") {
				t.Errorf(".dockerignore leaves out %s, which Dockerfile.%s copies", source, i.Name)
			}
		}
	}
}

// dependencies are the packages that the image's binary is made of.
func dependencies(t *testing.T, i image) []string {
	t.Helper()
	t.Setenv("GOWORK", "off")
	text, err := output(t.Context(), "go", "list", "-C", filepath.Join("..", ".."), "-deps", i.Package)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(text)
}

// An empty file system has neither time zones nor certificates.
func TestBinariesBringTimeZonesAndCertificates(t *testing.T) {
	for _, i := range append(services("tag"), local("tag")) {
		all := dependencies(t, i)
		for _, want := range []string{"time/tzdata", "golang.org/x/crypto/x509roots/fallback"} {
			if !slices.Contains(all, want) {
				t.Errorf("%s does not import %s", i.Binary, want)
			}
		}
	}
}
