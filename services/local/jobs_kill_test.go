package local

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/sluicefaas/sluice/pkg/job"
)

// testManifest is the file with the Job that a parent runs.
const testManifest = "SLUICE_TEST_MANIFEST"

// playJobParent is a process that runs one Job to its end, which is created once, unless it is killed before.
func playJobParent() {
	manifest, err := os.ReadFile(os.Getenv(testManifest))
	if err == nil {
		err = runParent(os.Getenv(testDataDir), manifest)
	}
	fmt.Println("error", err)
}

func runParent(dataDir string, manifest json.RawMessage) error {
	without := os.Getenv(testWithout)
	processes, err := openProcesses(ClusterConfig{
		DataDir: dataDir, noDeathSignal: strings.Contains(without, "death signal"), noWatchdog: strings.Contains(without, "watchdog"),
	}, zerolog.Nop())
	if err != nil {
		return err
	}
	cluster, err := OpenJobs(JobConfig{DataDir: dataDir, Logger: zerolog.New(os.Stderr), Backoff: 100 * time.Microsecond, processes: processes})
	if err != nil {
		return err
	}
	fmt.Println("runs")
	if _, err := os.Stat(dataDir + "/created"); err != nil {
		if found, _ := cluster.Get(context.Background(), "j"); found == nil {
			if _, err := cluster.Create(context.Background(), manifest); err != nil {
				return err
			}
		}
		if err := os.WriteFile(dataDir+"/created", nil, 0o600); err != nil {
			return err
		}
	}
	return cluster.Watch(context.Background(), &parentObserver{seenJobs: newSeenJobs(), cluster: cluster})
}

// parentObserver resumes the Job, and says when it has ended.
type parentObserver struct {
	*seenJobs
	cluster *JobCluster
}

func (p *parentObserver) Observe(o job.Object) {
	switch {
	case o.Suspended:
		_, _ = p.cluster.Resume(context.Background(), o.Name, o.UID, o.Version)
	case o.End != "":
		text, _ := json.Marshal(o)
		fmt.Println("ended", string(text))
	}
}

// parentOfJob is a folder with a Job, and whoever runs it.
type parentOfJob struct {
	t                 *testing.T
	dataDir, manifest string
	without           string
	cmd               *exec.Cmd
	out               *bufio.Reader
}

func newParentOfJob(t *testing.T, manifest json.RawMessage) *parentOfJob {
	p := &parentOfJob{t: t, dataDir: t.TempDir(), manifest: filepath.Join(t.TempDir(), "manifest")}
	if err := os.WriteFile(p.manifest, manifest, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	return p
}

// start returns when the parent runs.
func (p *parentOfJob) start() {
	p.t.Helper()
	self, err := os.Executable()
	if err != nil {
		p.t.Fatal(err)
	}
	p.cmd = exec.Command(self)
	p.cmd.Env = append(os.Environ(), testMode+"=job parent", testDataDir+"="+p.dataDir, testManifest+"="+p.manifest, testWithout+"="+p.without)
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		p.t.Fatal(err)
	}
	p.out = bufio.NewReader(out)
	if line, err := p.out.ReadString('\n'); line != "runs\n" {
		p.t.Fatalf("the parent says %q, %v", line, err)
	}
}

func (p *parentOfJob) kill() {
	if p.cmd != nil {
		_ = p.cmd.Process.Kill()
		_, _ = io.Copy(io.Discard, p.out)
		_ = p.cmd.Wait()
		p.cmd = nil
	}
}

// end waits for the end of the Job.
func (p *parentOfJob) end() (o job.Object) {
	p.t.Helper()
	line, err := p.out.ReadString('\n')
	text, ended := strings.CutPrefix(line, "ended ")
	if !ended || json.Unmarshal([]byte(text), &o) != nil {
		p.t.Fatalf("the parent says %q, %v", line, err)
	}
	return o
}

// A cluster of jobs is killed at any moment, again and again. There are never two processes of the Job, nor of what its process has started; every start counts; and
// the limit decides.
func TestKilledClusterRunsNoJobTwiceAtOnce(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		without string
		limit   int
	}{{"", 4}, {"", 1000}, {"death signal", 1000}, {"watchdog", 1000}, {"watchdog and death signal", 4}} {
		t.Run(fmt.Sprintf("without %s, limit %d", c.without, c.limit), func(t *testing.T) {
			t.Parallel()
			killJobs(t, c.without, c.limit)
		})
	}
}

func killJobs(t *testing.T, without string, limit int) {
	folder := t.TempDir()
	ledger := filepath.Join(folder, "ledger")
	p := newParentOfJob(t, testJob(t, "j", fmt.Sprintf(`"backoffLimit":%d`, limit),
		"ledger="+ledger, "alone="+folder+"/lock", "fork=alone="+folder+"/second", "sleep=2s", "done="+folder+"/done"))
	p.without = without
	const kills = 10
	for i := range kills {
		before := len(lines(ledger))
		p.start()
		if i%4 > 0 { // every fourth kill may come before the process has begun
			eventually(t, "the process has begun, or all is over", func() bool { return len(lines(ledger)) > before || isOver(p.dataDir) })
		}
		<-time.After(time.Duration(rand.IntN(250)) * time.Millisecond) // a kill at any moment
		p.kill()
	}
	p.start()
	done := p.end()
	p.kill()
	starts, ends := lines(ledger), lines(folder+"/done")
	t.Logf("%d starts over %d kills, then %s/%s", len(starts), kills, done.End, done.EndReason)
	if twice := lines(folder + "/twice"); len(twice) > 0 {
		t.Errorf("two at once: %v", twice)
	}
	if least := min(limit/4, kills/2); len(starts) > limit+1 || len(starts) < least {
		t.Errorf("%d starts, want %d to %d", len(starts), least, limit+1)
	}
	if succeeded := done.End == job.Succeeded; !succeeded && done.EndReason != "BackoffLimitExceeded" || succeeded && len(ends) == 0 || succeeded != (limit == 1000) {
		t.Errorf("it has ended as %+v with %d ends", done, len(ends))
	}
}

// isOver reads the record of the Job.
func isOver(dataDir string) bool {
	text, _ := os.ReadFile(filepath.Join(dataDir, jobsFolder, "j"+recordSuffix))
	var record jobRecord
	return json.Unmarshal(text, &record) == nil && record.End != ""
}
