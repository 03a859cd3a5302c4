package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// asJob makes the test binary the process of a job, which does what its arguments say.
const asJob = "SLUICE_TEST_AS_JOB"

func runJob() {
	for _, arg := range os.Args[1:] {
		what, value, _ := strings.Cut(arg, "=")
		switch what {
		case "print":
			fmt.Println(value)
		case "env":
			fmt.Println(value + "=" + os.Getenv(value))
		case "call": // somebody inside
			response, err := http.Get(os.Getenv("SLUICE_URL") + value)
			if err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
			text, _ := io.ReadAll(response.Body)
			_ = response.Body.Close()
			fmt.Printf("%d %.3s\n", response.StatusCode, text)
		case "await": // until there is a file
			for {
				if _, err := os.Stat(value); err == nil {
					break
				}
				<-time.After(10 * time.Millisecond)
			}
		case "fail":
			os.Exit(3)
		case "stubborn": // ends by SIGKILL alone
			signal.Ignore(syscall.SIGTERM)
			fmt.Println(os.Getpid())
			<-time.After(time.Hour)
		}
	}
}

// jobRecord is a run as the API shows it.
type jobRecord struct {
	RunID, Phase, Reason, Message string
	Pods                          []struct {
		Phase, Reason string
		Containers    []struct{ ExitCode *int }
	}
}

// writeJob writes the manifest of a job whose process is this binary.
func (s *system) writeJob(name, annotations, args string) {
	s.t.Helper()
	binary, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	manifest := fmt.Sprintf(`apiVersion: batch/v1
kind: CronJob
metadata:
  name: %s
  annotations: {sluice/Job: "true", sluice/DefaultVisibility: Public, sluice/LocalCommand: %q%s}
spec:
  schedule: "0 0 1 1 *"
  suspend: true
  jobTemplate:
    spec:
      backoffLimit: 0
      template:
        spec:
          restartPolicy: Never
          terminationGracePeriodSeconds: 5
          containers: [{name: main, image: x, args: [%s], env: [{name: %s, value: "1"}]}]
`, name, binary, annotations, args, asJob)
	if err := os.WriteFile(filepath.Join(s.folder, "job-"+name+".yaml"), []byte(manifest), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// runJob asks for a run, and returns its id.
func (s *system) runJob(name, request string) string {
	s.t.Helper()
	status, body := s.do(http.MethodPost, "/job/"+name, request)
	var answer struct{ RunID string }
	if status != http.StatusAccepted || json.Unmarshal([]byte(body), &answer) != nil || answer.RunID == "" {
		s.t.Fatalf("POST /job/%s: %d %s", name, status, body)
	}
	return answer.RunID
}

func (s *system) jobRun(name, id string) (r jobRecord) {
	s.t.Helper()
	_, body := s.get("/jobs/" + name + "/runs/" + id)
	_ = json.Unmarshal([]byte(body), &r)
	return r
}

// jobIs waits until a run is in a phase.
func (s *system) jobIs(name, id string, phases ...string) (r jobRecord) {
	s.t.Helper()
	s.eventually(30*time.Second, fmt.Sprintf("run %s of %s is %v", id, name, phases), func() bool {
		r = s.jobRun(name, id)
		for _, phase := range phases {
			if r.Phase == phase {
				return true
			}
		}
		return false
	})
	return r
}

func (s *system) jobOutput(name, id string) string {
	s.t.Helper()
	status, body := s.get("/jobs/" + name + "/runs/" + id + "/logs")
	if status != http.StatusOK {
		return ""
	}
	return body
}

// A job's process runs once what it depends on has come up from zero, gets the arguments and the path of the request, and is inside.
func TestJobOfTheLocalMode(t *testing.T) {
	t.Parallel()
	s := newSystem(t, map[string]string{"DefaultVisibility": "Private", "TimeoutSecondBeforeSetReplicasMin": "60"})
	s.writeJob("batch", ", sluice/DependsOn: f", `"print=standard"`)
	s.start()
	if status, _ := s.get("/function/f/"); status != http.StatusNotFound {
		t.Errorf("from outside the private function answers %d", status)
	}
	id := s.runJob("batch/x/y", `{"Args":["print=hello 'world'","env=JOB_PATH","call=/function/f/"]}`)
	s.jobIs("batch", id, "Succeeded")
	if got := s.jobOutput("batch", id); got != "hello 'world'\nJOB_PATH=/x/y\n200 pid\n" && got != "hello 'world'\nJOB_PATH=x/y\n200 pid\n" {
		t.Errorf("output %q", got)
	}
	ready, started := strings.Index(s.out.String(), "Replica is ready"), strings.Index(s.out.String(), "A process of a job is started")
	if ready < 0 || started < ready || len(ended(readLedger(t, s.ledger))) == 0 {
		t.Error("the job has not waited for f")
	}
	connection, err := nats.Connect("nats://" + s.nats)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if _, err := connection.RequestMsg(&nats.Msg{Subject: "sluice.job.batch", Data: []byte(`{"runId":"by-nats"}`)}, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	s.jobIs("batch", "by-nats", "Succeeded")
	if got := s.jobOutput("batch", "by-nats"); got != "standard\n" {
		t.Errorf("output %q", got)
	}
	failed := s.runJob("batch", `{"Args":["fail"]}`)
	if r := s.jobIs("batch", failed, "Succeeded", "Failed"); r.Phase != "Failed" || r.Reason != "BackoffLimitExceeded" {
		t.Errorf("%+v", r)
	}
	for _, part := range []string{"/job/batch   (", "Jobs\n", "/jobs/batch/runs"} {
		if !strings.Contains(s.out.String(), part) {
			t.Errorf("%q is missing in the greeting", part)
		}
	}
}

// A run keeps what its definition said when it was accepted. A definition that is gone takes no more requests, and runs that it has end.
func TestJobManifestChangesWhileRunsAreQueued(t *testing.T) {
	t.Parallel()
	s := newSystem(t, nil)
	release := filepath.Join(s.folder, "release")
	s.writeJob("batch", "", `"print=old"`)
	s.start()
	first := s.runJob("batch", fmt.Sprintf(`{"Args":["await=%s"]}`, release))
	s.jobIs("batch", first, "Running")
	queued := s.runJob("batch", "")
	s.jobIs("batch", queued, "Queued")
	_, before := s.get("/jobs")
	s.edit("job-batch.yaml", "print=old", "print=new")
	s.eventually(60*time.Second, "the definition has changed", func() bool { _, now := s.get("/jobs"); return now != before })
	second := s.runJob("batch", "")
	if r := s.jobRun("batch", queued); r.Phase != "Queued" {
		t.Errorf("before the slot is free: %+v", r)
	}
	if err := os.WriteFile(release, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]string{queued: "old\n", second: "new\n"} {
		s.jobIs("batch", id, "Succeeded")
		if got := s.jobOutput("batch", id); got != want {
			t.Errorf("output %q, want %q", got, want)
		}
	}
	if err := os.Remove(filepath.Join(s.folder, "job-batch.yaml")); err != nil {
		t.Fatal(err)
	}
	s.eventually(time.Minute, "the job is gone", func() bool {
		status, _ := s.do(http.MethodPost, "/job/batch", "")
		return status == http.StatusNotFound
	})
}

// Cancel in the queue and while it runs.
func TestJobIsCancelled(t *testing.T) {
	t.Parallel()
	s := newSystem(t, nil)
	s.writeJob("batch", "", fmt.Sprintf(`"await=%s/never"`, s.folder))
	s.start()
	running, queued := s.runJob("batch", ""), s.runJob("batch", "")
	s.jobIs("batch", running, "Running")
	for _, id := range []string{queued, running, running} {
		if status, body := s.do(http.MethodDelete, "/job/batch/"+id, ""); status != http.StatusOK {
			t.Errorf("DELETE: %d %s", status, body)
		}
		r := s.jobIs("batch", id, "Cancelled")
		if id == running && (len(r.Pods) != 1 || r.Pods[0].Phase != "Failed" || r.Pods[0].Containers[0].ExitCode == nil && r.Pods[0].Reason != "Deleted") {
			t.Errorf("its pods ended as %+v", r.Pods)
		}
	}
	if left, err := filepath.Glob(filepath.Join(s.folder, "data/jobs/*")); err != nil || len(left) > 0 {
		t.Errorf("left in the folder: %v, %v", left, err)
	}
	if again := s.runJob("batch", `{"Args":["print=x"]}`); s.jobIs("batch", again, "Succeeded").RunID != again {
		t.Error("the slot is not free")
	}
}

// SIGTERM ends the processes of jobs, at the latest when calls would be cut too, and the run goes on after the next start.
func TestJobAtTheEndOfSluiceLocal(t *testing.T) {
	t.Parallel()
	s := newSystem(t, nil, "--drain-timeout", "1s")
	s.writeJob("batch", "", "")
	s.edit("job-batch.yaml", "terminationGracePeriodSeconds: 5", "terminationGracePeriodSeconds: 3600")
	s.start()
	id := s.runJob("batch", `{"Args":["stubborn"],"backoffLimit":1}`)
	var pid int
	s.eventually(30*time.Second, "the process runs", func() bool {
		pid, _ = strconv.Atoi(strings.TrimSpace(s.jobOutput("batch", id)))
		return pid != 0
	})
	if code := s.terminate(); code != 0 || alive(pid) {
		t.Errorf("exit code %d, the process lives: %t", code, alive(pid))
	}
	s.start()
	if r := s.jobIs("batch", id, "Running"); r.Reason != "Retrying" {
		t.Errorf("%+v", r)
	}
	if code := s.terminate(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// SlimFaas's own form of jobs is read, and an image is not run here: a run says so.
func TestJobsConfigurationOfSlimFaas(t *testing.T) {
	t.Parallel()
	s := newSystem(t, nil)
	s.env = []string{`SLIMFAAS_JOBS_CONFIGURATION={"Configurations": {"image": {"Image": "example/x", "Visibility": "Public"}, "batch": {"Image": "example/x"}}}`}
	s.writeJob("batch", "", `"print=manifest"`)
	s.start()
	id := s.runJob("image", "")
	if r := s.jobIs("image", id, "Failed", "Succeeded"); r.Phase != "Failed" || r.Reason != "InvalidSpec" || !strings.Contains(r.Message, "sluice/LocalCommand") {
		t.Errorf("%+v", r)
	}
	if !strings.Contains(s.out.String(), "image: its runs fail here") || strings.Contains(s.out.String(), "batch: its runs fail here") {
		t.Error("it is not said at the start, or of one that has a manifest")
	}
	id = s.runJob("batch", "")
	s.jobIs("batch", id, "Succeeded")
}

// What validate says of jobs.
func TestValidateOfJobs(t *testing.T) {
	t.Parallel()
	s := newSystem(t, nil)
	s.writeJob("batch", "", "")
	if err := run([]string{"validate", s.folder}); err != nil {
		t.Error(err)
	}
	s.writeJob("wrong", "", "")
	s.edit("job-wrong.yaml", "restartPolicy: Never", "restartPolicy: Always")
	if err := run([]string{"validate", s.folder}); err == nil || !strings.Contains(err.Error(), "1 refused, 1 functions and 1 jobs are right") {
		t.Errorf("validate: %v", err)
	}
}
