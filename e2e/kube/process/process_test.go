package process_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/e2e/kube/process"
)

// shell is a program of the group that runs the script.
func shell(name, script string, grace time.Duration) process.Command {
	return process.Command{Name: name, Path: "/bin/sh", Args: []string{"-c", script}, Grace: grace}
}

func newGroup(t *testing.T) (*process.Group, context.Context, string) {
	t.Helper()
	dir := t.TempDir()
	group, ctx := process.NewGroup(t.Context(), dir)
	t.Cleanup(group.StopAll)
	return group, ctx, dir
}

func start(t *testing.T, group *process.Group, command process.Command) {
	t.Helper()
	if err := group.Start(command); err != nil {
		t.Fatal(err)
	}
}

func TestAProgramThatEndsEndsTheGroupWithTheEndOfItsLog(t *testing.T) {
	group, ctx, dir := newGroup(t)
	start(t, group, shell("steady", "exec sleep 60", time.Second))
	start(t, group, shell("brief", "for i in $(seq 1000); do echo line $i; done; echo no room >&2; exit 3", time.Second))
	<-ctx.Done()
	err := context.Cause(ctx)
	for _, part := range []string{"brief ended: exit status 3", filepath.Join(dir, "brief.log"), "line 1000", "no room"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in the error: %v", part, err)
		}
	}
	if strings.Contains(err.Error(), "line 1\n") {
		t.Errorf("the error has the whole log: %v", err)
	}
}

func TestAProgramThatIsStoppedDoesNotEndTheGroup(t *testing.T) {
	group, ctx, dir := newGroup(t)
	start(t, group, shell("kind", `trap "echo bye; exit 0" TERM; echo up; while :; do sleep 0.01; done`, time.Minute))
	awaitLog(t, dir, "kind", "up")
	group.Stop("kind")
	if group.Running("kind") || ctx.Err() != nil {
		t.Errorf("running %v, the group's end %v: want neither", group.Running("kind"), context.Cause(ctx))
	}
	awaitLog(t, dir, "kind", "bye")
	group.Stop("kind") // there is none: nothing happens
	start(t, group, shell("kind", "exec sleep 60", time.Second))
	if !group.Running("kind") {
		t.Error("it does not run after another start")
	}
}

func TestAProgramThatDoesNotListenIsKilled(t *testing.T) {
	group, _, dir := newGroup(t)
	start(t, group, shell("deaf", `trap "" TERM; echo up; while :; do sleep 0.01; done`, 50*time.Millisecond))
	awaitLog(t, dir, "deaf", "up")
	group.Stop("deaf")
	if group.Running("deaf") {
		t.Error("it runs on")
	}
}

// It is not asked, and its end is not one that nobody wanted.
func TestKilledProgram(t *testing.T) {
	group, ctx, dir := newGroup(t)
	start(t, group, shell("polite", `trap "echo bye; exit 0" TERM; echo up; while :; do sleep 0.01; done`, time.Minute))
	awaitLog(t, dir, "polite", "up")
	group.Kill("polite")
	group.Kill("polite") // there is none: nothing happens
	if group.Running("polite") || ctx.Err() != nil {
		t.Errorf("running %v, the group's end %v: want neither", group.Running("polite"), context.Cause(ctx))
	}
	if log := awaitLog(t, dir, "polite", "up"); strings.Contains(log, "bye") {
		t.Errorf("it was asked to end: %s", log)
	}
}

func TestStopAllEndsTheYoungestFirst(t *testing.T) {
	dir := t.TempDir()
	group, _ := process.NewGroup(t.Context(), dir)
	order := filepath.Join(dir, "order")
	for _, name := range []string{"one", "two", "three"} {
		start(t, group, shell(name, `trap "echo `+name+` >>`+order+`; exit 0" TERM; echo up; while :; do sleep 0.01; done`, time.Minute))
		awaitLog(t, dir, name, "up")
	}
	group.StopAll()
	if text, err := os.ReadFile(order); err != nil || string(text) != "three\ntwo\none\n" {
		t.Errorf("order %q, error %v", text, err)
	}
}

func TestAMissingProgram(t *testing.T) {
	group, _, _ := newGroup(t)
	err := group.Start(process.Command{Name: "ghost", Path: "/no/such/program"})
	if err == nil || !strings.Contains(err.Error(), "start ghost") || group.Running("ghost") {
		t.Errorf("error %v, want one that names it", err)
	}
}

// Each program leads a process group, so that an interrupt from the terminal does not reach it.
func TestProgramsAreNotInTheTerminalsGroup(t *testing.T) {
	group, _, dir := newGroup(t)
	start(t, group, shell("alone", "echo pid $$.; exec sleep 60", time.Second))
	log := awaitLog(t, dir, "alone", ".")
	pid, err := strconv.Atoi(strings.Trim(strings.TrimPrefix(log, "pid "), ".\n"))
	if err != nil {
		t.Fatal(err)
	}
	if leader, err := syscall.Getpgid(pid); err != nil || leader != pid {
		t.Errorf("process %d is in the group %d, error %v", pid, leader, err)
	}
}

// awaitLog waits until the program has printed the text, and returns its log.
func awaitLog(t *testing.T, dir, name, text string) string {
	t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(time.Minute)
	for {
		log, _ := os.ReadFile(filepath.Join(dir, name+".log"))
		if strings.Contains(string(log), text) {
			return string(log)
		}
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("%s has not printed %q: %s", name, text, log)
		}
	}
}
