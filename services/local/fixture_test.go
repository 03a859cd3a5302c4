package local

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/services/scaler/scalertest"
)

// patience bounds each wait of a test; no test waits that long unless it fails.
const patience = 30 * time.Second

// testFunction is a workload that this binary plays in one of its modes.
func testFunction(t testing.TB, name, mode string, env ...string) Workload {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Workload{
		Function: function.Function{Name: name, Kind: function.KindDeployment}, Replicas: 1, Command: []string{self},
		Dir: t.TempDir(), Env: append([]string{testMode + "=" + mode}, env...), GracePeriod: 5 * time.Second,
		Source: "functions.yaml:7",
	}
}

// logs is what a cluster logged.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (l *logs) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// running is a watched cluster.
type running struct {
	*scalertest.Recorder
	cluster *Cluster
	stop    func()
	logs    *logs
	dataDir string
}

func runCluster(t testing.TB, workloads ...Workload) running {
	t.Helper()
	return runConfig(t, ClusterConfig{Workloads: workloads, DataDir: t.TempDir()})
}

func runConfig(t testing.TB, config ClusterConfig) running {
	t.Helper()
	logged := &logs{}
	config.Logger = zerolog.New(logged)
	cluster, err := NewCluster(config)
	if err != nil {
		t.Fatal(err)
	}
	recorder, stop := scalertest.Watch(t, cluster)
	return running{Recorder: recorder, cluster: cluster, stop: stop, logs: logged, dataDir: config.DataDir}
}

func (r running) set(t testing.TB, name string, count int, victims ...string) {
	t.Helper()
	if err := r.cluster.SetReplicas(t.Context(), name, count, victims); err != nil {
		t.Fatal(err)
	}
}

// one waits for the only replica of a function to be ready.
func (r running) one(t testing.TB, name string) function.Pod {
	t.Helper()
	return r.Wait(t, name, patience, scalertest.Ready(1)).Pods[0]
}

// problem waits for the sentence about the only replica of a function.
func (r running) problem(t testing.TB, name string) string {
	t.Helper()
	return r.Wait(t, name, patience, func(w function.Workload) bool {
		return len(w.Pods) == 1 && w.Pods[0].Problem != ""
	}).Pods[0].Problem
}

// ask returns what the function behind a replica says of itself.
func ask(t testing.TB, pod function.Pod) facts {
	t.Helper()
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get("http://" + pod.Address + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	var said facts
	if err := json.NewDecoder(answer.Body).Decode(&said); err != nil {
		t.Fatal(err)
	}
	return said
}

// killReplica returns what ends the process of a replica at once, which spares the end of the test a grace period.
func killReplica(t testing.TB, pod function.Pod) func() {
	t.Helper()
	pid := ask(t, pod).PID
	return func() { _ = syscall.Kill(pid, syscall.SIGKILL) } // it may have ended meanwhile
}

// alive is false for a process that is gone and for one that only waits to be reaped.
func alive(pid int) bool {
	if stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat"); err == nil {
		_, after, _ := strings.Cut(string(stat), ") ")
		return !strings.HasPrefix(after, "Z")
	}
	_, err := startTime(pid)
	return !errors.Is(err, os.ErrNotExist)
}

func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

func expectGone(t testing.TB, pids ...int) {
	t.Helper()
	for _, pid := range pids {
		eventually(t, "process "+strconv.Itoa(pid)+" is gone", func() bool { return !alive(pid) })
	}
}

func expectContains(t testing.TB, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing in:\n%s", part, text)
		}
	}
}
