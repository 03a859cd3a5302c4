// Package services_test starts the services as the processes that a cluster runs, and checks what only processes show:
// flags, signals, kills, and what they do together.
package services_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
	"github.com/sluicefaas/sluice/pkg/kube/kubetest"
)

// built is the folder of the binaries, made when the first test needs it.
var built = sync.OnceValues(build)

// plane is the Kubernetes control plane of these tests: the real one, without a node, whose part the tests play.
var plane kubetest.Plane

func TestMain(m *testing.M) {
	for variable, play := range map[string]func(text string) error{failingEnv: runFailing, natsEnv: runNATS} {
		if text := os.Getenv(variable); text != "" {
			playPart(play, text)
		}
	}
	code := plane.Main(m, bustest.Leaks()...)
	if folder := os.Getenv(folderEnv); folder != "" {
		_ = os.RemoveAll(folder)
	}
	os.Exit(code)
}

// playPart is a process of its own that a test has started from this binary. It ends with the test's process, however that does.
func playPart(play func(text string) error, text string) {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // nothing comes before the end
		os.Exit(1)
	}()
	fmt.Fprintln(os.Stderr, play(text))
	os.Exit(1)
}

// folderEnv tells TestMain which folder to remove.
const folderEnv = "SLUICE_TEST_BINARIES"

// build compiles the services, under the race detector if this test is.
func build() (folder string, err error) {
	if folder, err = os.MkdirTemp("", "sluice-services-"); err != nil {
		return "", err
	}
	if err := os.Setenv(folderEnv, folder); err != nil {
		return "", err
	}
	for _, name := range []string{"gateway", "dispatcher", "scaler", "jobrunner"} {
		args := []string{"build", "-o", filepath.Join(folder, "sluice-"+name)}
		if raceDetector {
			args = append(args, "-race")
		}
		text, err := exec.Command("go", append(args, "./"+name+"/cmd/"+name)...).CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("build %s: %w\n%s", name, err, text)
		}
	}
	return folder, nil
}

// binary is the path of a service's program.
func binary(t testing.TB, service string) string {
	t.Helper()
	folder, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(folder, "sluice-"+service)
}

// output runs the program until it ends, and returns its exit code and what it said.
func output(t testing.TB, service string, args ...string) (code int, text string) {
	t.Helper()
	program := binary(t, service)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	command := exec.CommandContext(ctx, program, args...)
	command.Env = cleanEnvironment()
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return command.ProcessState.ExitCode(), out.String()
}

// cleanEnvironment is that of this process without flags of ours and without what a pod has.
func cleanEnvironment() (kept []string) {
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "SLUICE_") && !strings.HasPrefix(variable, "KUBERNETES_") {
			kept = append(kept, variable)
		}
	}
	return append(kept, "GORACE=atexit_sleep_ms=0")
}
