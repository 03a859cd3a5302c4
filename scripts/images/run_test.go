package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// writeRoot makes a folder with the files of the image, as a container sees them.
func writeRoot(t *testing.T, i image) string {
	t.Helper()
	b := builder{source: source{revision: "abc"}, version: "1.2.3", arch: runtime.GOARCH, dir: filepath.Join("..", "..")}
	binary := filepath.Join(t.TempDir(), "binary")
	if err := b.compile(t.Context(), i, binary); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	for _, e := range layerEntries(i, content) {
		if err := os.WriteFile(filepath.Join(root, e.name), e.content, os.FileMode(e.mode)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// inImage is the image's program as in a container: nothing but the image's files, of which it can write none, and a user without a name.
func inImage(ctx context.Context, i image, root string, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, "/"+i.Binary, args...)
	command.Env, command.Dir = nil, "/"
	command.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
	return command
}

func TestImagesRunWithoutAnythingElse(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("chroot needs root")
	}
	for _, i := range services("tag") {
		t.Run(i.Name, func(t *testing.T) {
			root := writeRoot(t, i)
			text, err := inImage(t.Context(), i, root, "--version").CombinedOutput()
			if want := "1.2.3 abc " + runtime.Version() + "\n"; err != nil || string(text) != want {
				t.Errorf("--version: %q %v, want %q", text, err, want)
			}
			if i.Name != "scaler" && i.Name != "jobrunner" { // which have nothing to do without a cluster
				serveInImage(t, i, root)
			}
		})
	}
}

// serveInImage starts the daemon and ends it: without NATS it is alive, and not ready.
func serveInImage(t *testing.T, i image, root string) {
	t.Helper()
	address := freeAddress(t)
	args := []string{"--ops-listen=" + address, "--nats=nats://" + freeAddress(t), "--drain-delay=0s"}
	if i.Name == "gateway" {
		args = append(args, "--listen=127.0.0.1:0")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	command := inImage(ctx, i, root, args...)
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	if err := waitFor(ctx, "http://"+address+"/health", http.StatusOK); err != nil {
		t.Error(err)
	}
	if err := waitFor(ctx, "http://"+address+"/ready", http.StatusServiceUnavailable); err != nil {
		t.Error(err)
	}
	if err := command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := command.Wait(); err != nil {
		t.Errorf("%v\n%s", err, &out)
	}
	if files, err := os.ReadDir(root); err != nil || len(files) != 1 || strings.Contains(out.String(), "read-only") {
		t.Errorf("the root has %v (%v)\n%s", files, err, &out)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// waitFor asks until the answer has the status.
func waitFor(ctx context.Context, url string, status int) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for last := ""; ; {
		response, err := client.Get(url)
		if err != nil {
			last = err.Error()
		} else {
			body, _ := io.ReadAll(response.Body)
			response.Body.Close()
			if response.StatusCode == status {
				return nil
			}
			last = fmt.Sprintf("%d %s", response.StatusCode, body)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: want %d, the last answer is %q", url, status, last)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
