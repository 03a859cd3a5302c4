package ops_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
	"github.com/sluicefaas/sluice/pkg/ops"
)

// daemonChild is a daemon whose stage prints what it is told.
func daemonChild() {
	ops.Main("child", func([]string) error {
		daemon, err := ops.NewDaemon("child", ops.DaemonConfig{
			Log:       ops.LogConfig{Level: "info", Format: os.Getenv("SLUICE_TEST_LOG_FORMAT")},
			OpsListen: os.Getenv("SLUICE_TEST_OPS_LISTEN"), DrainDelay: 3 * time.Second, DrainTimeout: time.Hour,
		})
		if err != nil {
			return err
		}
		stage := ops.Stage{Name: "child", Run: func(take, _ context.Context) error {
			fmt.Println(daemon.Name)
			<-take.Done()
			fmt.Println("take ended")
			return nil
		}}
		return daemon.Run([]ops.Stage{stage}, func() { fmt.Println("closed") })
	})
}

// fetch returns the status of a GET, 0 while nothing listens, and the body.
func fetch(url string) (int, string) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	response, err := client.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(body)
}

func waitStatus(t *testing.T, url string, want int) {
	t.Helper()
	for end := time.Now().Add(patience); ; <-time.After(5 * time.Millisecond) {
		status, body := fetch(url)
		if status == want {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %d %s, want %d", url, status, body, want)
		}
	}
}

func TestDaemonServesItsOpsPortAndDrains(t *testing.T) {
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(bustest.FreePort(t)))
	t.Setenv("SLUICE_TEST_OPS_LISTEN", address)
	t.Setenv("SLUICE_TEST_LOG_FORMAT", "json")
	c := startChild(t, "daemon")
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	c.expect(fmt.Sprintf("child-%s-%d", host, c.command.Process.Pid))
	waitStatus(t, "http://"+address+"/ready", http.StatusOK)
	if status, body := fetch("http://" + address + "/metrics"); status != http.StatusOK || !strings.Contains(body, "sluice_build_info{") {
		t.Errorf("/metrics: %d %s", status, body)
	}
	c.signal(syscall.SIGTERM)
	waitStatus(t, "http://"+address+"/ready", http.StatusServiceUnavailable) // the drain delay has begun
	c.expect("take ended", "closed")
	if err := c.command.Wait(); err != nil {
		t.Error(err)
	}
}

func TestMainEndsWithASentence(t *testing.T) {
	t.Setenv("SLUICE_TEST_LOG_FORMAT", "xml")
	c := startChild(t, "daemon")
	for range c.lines {
		t.Error("it ran")
	}
	_ = c.command.Wait()
	if code := c.command.ProcessState.ExitCode(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
}

func TestEventsAreLoggedByTheirErrors(t *testing.T) {
	stderr := os.Stderr
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	os.Stderr = write
	daemon, err := ops.NewDaemon("test", ops.DaemonConfig{Log: ops.LogConfig{Level: "info", Format: "json"}})
	os.Stderr = stderr
	if err != nil {
		t.Fatal(err)
	}
	daemon.LogEvents("NATS")("connected", nil)
	daemon.LogEvents("NATS")("disconnected", errors.New("gone"))
	write.Close()
	text, err := io.ReadAll(read)
	lines := strings.Split(string(text), "\n")
	if err != nil || len(lines) != 3 {
		t.Fatalf("%q %v", lines, err)
	}
	for i, wants := range [][]string{{`"info"`, "NATS: connected"}, {`"warn"`, "NATS: disconnected", `"error":"gone"`}} {
		for _, want := range append(wants, `"service":"test"`) {
			if !strings.Contains(lines[i], want) {
				t.Errorf("line %q lacks %q", lines[i], want)
			}
		}
	}
}
