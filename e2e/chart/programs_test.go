package chart

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// built are the programs that have been made, in a folder that TestMain removes. mu guards the rest.
var built struct {
	mu     sync.Mutex
	folder string
	byName map[string]string
}

// build makes the program of a service, as its image has it, and returns its path.
func build(t *testing.T, service string) string {
	t.Helper()
	built.mu.Lock()
	defer built.mu.Unlock()
	if program, done := built.byName[service]; done {
		return program
	}
	if built.folder == "" {
		folder, err := os.MkdirTemp("", "sluice-chart-programs-")
		if err != nil {
			t.Fatal(err)
		}
		built.folder, built.byName = folder, map[string]string{}
	}
	program := filepath.Join(built.folder, service)
	command := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./services/"+service+"/cmd/"+service)
	command.Dir = root
	command.Env = append(os.Environ(), "GOWORK=off")
	if said, err := command.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v: %s", service, err, said)
	}
	built.byName[service] = program
	return program
}

func removePrograms() {
	built.mu.Lock()
	defer built.mu.Unlock()
	if built.folder != "" {
		_ = os.RemoveAll(built.folder) // a folder for temporary files
	}
}

// Every flag that the chart gives to a program is one of the program's, with a value that it takes. --help ends it after it has read them.
func TestProgramsTakeTheirFlags(t *testing.T) {
	programs := map[string]string{}
	for _, service := range services {
		programs[service] = build(t, service)
	}
	programs["credentials"] = programs["scaler"]
	forEachExample(t, func(t *testing.T, _ string, objects []object) {
		for _, w := range workloads(t, objects) {
			program, ours := programs[w.component()]
			if !ours {
				continue
			}
			container := w.template.Spec.Containers[0]
			if len(container.Command) > 0 {
				t.Errorf("%s: the command is the image's, not %v", w, container.Command)
			}
			requireTaken(t, program, container.Args, container.Env)
		}
	})
}

func requireTaken(t *testing.T, program string, args []string, env []corev1.EnvVar) {
	t.Helper()
	command := exec.CommandContext(t.Context(), program, append(args, "--help")...)
	for _, variable := range env {
		command.Env = append(command.Env, variable.Name+"="+variable.Value)
	}
	said, err := command.CombinedOutput()
	if err != nil || !strings.Contains(string(said), "Usage:") {
		t.Errorf("%s: %v: %s", strings.Join(append(command.Env, command.Args...), " "), err, said)
	}
}
