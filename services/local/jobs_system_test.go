package local

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
	"github.com/sluicefaas/sluice/pkg/job"
	"github.com/sluicefaas/sluice/pkg/ops"
)

// testFlags are those of a whole Local, as JSON.
const testFlags = "SLUICE_TEST_FLAGS"

// playSystem is a whole Local until it is killed. Processes of jobs that have failed are started again soon.
func playSystem() {
	var flagged struct {
		Config `embed:""`
	}
	var args []string
	err := json.Unmarshal([]byte(os.Getenv(testFlags)), &args)
	if err == nil {
		_, err = ops.Parse(&flagged, args)
	}
	if err == nil {
		l := New(flagged.Config, zerolog.New(os.Stderr).Level(zerolog.WarnLevel), io.Discard)
		l.jobBackoff = time.Millisecond
		err = l.Run(context.Background(), context.Background())
	}
	fmt.Fprintln(os.Stderr, err)
}

// system is a whole Local in a process of its own.
type system struct {
	t           *testing.T
	folder, api string
	args        []string
	client      *http.Client
	cmd         *exec.Cmd
	logs        *logs
}

func newSystem(t *testing.T, manifest string) *system {
	t.Helper()
	s := &system{t: t, folder: t.TempDir(), api: freeAddress(t), client: &http.Client{Timeout: patience}, logs: &logs{}}
	path := filepath.Join(s.folder, "m.yaml")
	if err := os.WriteFile(path, []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	s.args = []string{path, "--listen=" + s.api, "--nats-listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0", "--data=" + filepath.Join(s.folder, "data")}
	t.Cleanup(func() {
		s.kill()
		s.client.CloseIdleConnections()
		if t.Failed() {
			t.Logf("the log:\n%s", s.logs)
		}
	})
	return s
}

func freeAddress(t *testing.T) string { return loopback(bustest.FreePort(t)) }

func (s *system) start() {
	s.t.Helper()
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	args, err := json.Marshal(s.args)
	if err != nil {
		s.t.Fatal(err)
	}
	s.cmd = exec.Command(self)
	s.cmd.Env = append(os.Environ(), testMode+"=system", testFlags+"="+string(args))
	s.cmd.Stderr = s.logs
	s.cmd.WaitDelay = patience
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *system) kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// ask makes one request; status 0 means that there was no answer.
func (s *system) ask(method, path, body string) (status int, answer string) {
	request, err := http.NewRequestWithContext(context.Background(), method, "http://"+s.api+path, strings.NewReader(body))
	if err != nil {
		s.t.Error(err)
		return 0, ""
	}
	response, err := s.client.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, string(text)
}

// run returns a run of the job as it is.
func (s *system) run(id string) (run job.Run, found bool) {
	status, answer := s.ask(http.MethodGet, "/jobs/j/runs/"+id, "")
	return run, status == http.StatusOK && json.Unmarshal([]byte(answer), &run) == nil
}

// request asks for runs until stop is closed, each until it is accepted.
func (s *system) request(stop <-chan struct{}, accepted func(id string)) {
	for i := 0; ; i++ {
		id := fmt.Sprintf("r%d-%d", i, rand.IntN(1_000_000))
		for status := 0; status != http.StatusAccepted; {
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
			}
			status, _ = s.ask(http.MethodPost, "/job/j", fmt.Sprintf(`{"runId":%q}`, id))
		}
		accepted(id)
	}
}

// A whole sluice local is killed 20 times at any moment while jobs are asked for and run: every accepted run ends, none has two processes at once, and
// the limit decides how often one is started.
func TestKilledSluiceLocalRunsEveryJob(t *testing.T) {
	t.Parallel()
	const kills, limit = 20, 12
	ledger := t.TempDir()
	s := newSystem(t, strings.Replace(cronJob("j", `sluice/Job: "true", sluice/DefaultVisibility: Public, sluice/NumberParallelJob: "3", sluice/LocalCommand: `+quoted(executable(t)),
		fmt.Sprintf("      backoffLimit: %d\n", limit)+jobBody), "image: x", fmt.Sprintf("image: x, env: [{name: %s, value: job}], args: [%q, %q, %q, sleep=60ms, %q]",
		testMode, "ledger="+ledger+"/starts", "alone="+ledger+"/lock-$(JOB_RUN_ID)", "fork=alone="+ledger+"/second-$(JOB_RUN_ID)", "done="+ledger+"/ends"), 1))
	stop := make(chan struct{})
	var mu sync.Mutex
	var accepted []string
	var requests sync.WaitGroup
	for range 4 {
		requests.Go(func() {
			s.request(stop, func(id string) { mu.Lock(); defer mu.Unlock(); accepted = append(accepted, id) })
		})
	}
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(accepted) }
	for i := range kills {
		before := count()
		s.start()
		if i%4 > 0 { // every fourth kill may come while it begins
			eventually(t, "runs are accepted", func() bool { return count() > before+1 })
		}
		<-time.After(time.Duration(rand.IntN(700)) * time.Millisecond) // a kill at any moment
		s.kill()
	}
	s.start()
	close(stop)
	requests.Wait()
	starts := map[string]int{}
	for _, id := range accepted {
		eventually(t, "run "+id+" has ended", func() bool { run, found := s.run(id); return found && run.Phase.Final() })
	}
	for _, line := range lines(ledger + "/starts") {
		starts[strings.Fields(line)[2]]++
	}
	ends := map[string]int{}
	for _, line := range lines(ledger + "/ends") {
		ends[strings.Fields(line)[3]]++
	}
	phases, most := map[string]int{}, 0
	for _, id := range accepted {
		run, _ := s.run(id)
		phases[string(run.Phase)+"/"+run.Reason]++
		most = max(most, starts[id])
		switch {
		case starts[id] > limit+1:
			t.Errorf("run %s was started %d times, want at most %d", id, starts[id], limit+1)
		case run.Phase == job.Succeeded && (ends[id] == 0 || starts[id] == 0):
			t.Errorf("run %s is %s, and has ended %d times", id, run.Phase, ends[id])
		case run.Phase != job.Succeeded && run.Reason != "BackoffLimitExceeded":
			t.Errorf("run %s is %s/%s %s", id, run.Phase, run.Reason, run.Message)
		}
	}
	if twice := lines(ledger + "/twice"); len(twice) > 0 {
		t.Errorf("two at once: %v", twice)
	}
	t.Logf("%d runs over %d kills: %v, at most %d starts of one", len(accepted), kills, phases, most)
	if len(accepted) < kills {
		t.Errorf("only %d runs were accepted: the test has shown little", len(accepted))
	}
}

func quoted(text string) string { return fmt.Sprintf("%q", text) }

func executable(t testing.TB) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return self
}
