package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/pkg/job"
	"github.com/sluicefaas/sluice/services/jobrunner"
)

func TestJobRunsOnceItIsResumed(t *testing.T) {
	t.Parallel()
	r := runJobCluster(t, t.TempDir())
	ledger := filepath.Join(t.TempDir(), "ledger")
	created, err := r.cluster.Create(t.Context(), testJob(t, "j", "", "ledger="+ledger, "print=hello", "env=SLUICE_URL", "dir"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.cluster.Create(t.Context(), testJob(t, "j", "")); !errors.Is(err, jobrunner.ErrExists) {
		t.Errorf("the same name again: %v", err)
	}
	seen := r.until("j", "is observed", func(o job.Object) bool { return o.UID == created.UID })
	if !seen.Suspended || seen.RunID != "run-j" || seen.Definition != "d" || seen.Attempt != 1 || len(lines(ledger)) > 0 {
		t.Errorf("before it is resumed: %+v, %v", seen, lines(ledger))
	}
	for _, version := range []string{"", created.Version + "0"} {
		if _, err := r.cluster.Resume(t.Context(), "j", created.UID, version); !errors.Is(err, jobrunner.ErrChanged) {
			t.Errorf("version %q: %v", version, err)
		}
	}
	if _, err := r.cluster.Resume(t.Context(), "j", "another", created.Version); !errors.Is(err, jobrunner.ErrChanged) {
		t.Errorf("another UID: %v", err)
	}
	if _, err := r.cluster.Resume(t.Context(), "j", created.UID, created.Version); err != nil {
		t.Fatal(err)
	}
	done := r.ended("j")
	if done.End != job.Succeeded || done.EndReason != "CompletionsReached" || done.Suspended || !done.Started() || done.FinishedAt.IsZero() || done.Counts != (job.Counts{Succeeded: 1}) {
		t.Errorf("at the end: %+v", done)
	}
	pod := done.Pods[0]
	if pod.Phase != "Succeeded" || pod.Containers[0].Name != "main" || *pod.Containers[0].ExitCode != 0 || pod.Containers[0].Reason != "Completed" {
		t.Errorf("its pod: %+v", pod)
	}
	if got := r.output(pod.Name, 0, false); !strings.HasPrefix(got, "hello\nSLUICE_URL=http://127.0.0.1:5002\n/") || len(lines(ledger)) != 1 {
		t.Errorf("output %q, ledger %v", got, lines(ledger))
	}
	expectContains(t, r.logs.String(), `"job":"d","run":"run-j","pod":"`+pod.Name+`","stream":"stdout","message":"hello"`)
	if got, err := r.cluster.Get(t.Context(), "j"); err != nil || got.End != job.Succeeded || got.Version == created.Version {
		t.Errorf("Get: %+v, %v", got, err)
	}
	if got, err := r.cluster.Get(t.Context(), "other"); got != nil || err != nil {
		t.Errorf("Get of none: %+v, %v", got, err)
	}
}

func TestJobIsTriedAsOftenAsItMay(t *testing.T) {
	t.Parallel()
	r := runJobCluster(t, t.TempDir())
	for policy, want := range map[string]int{"": 3, "OnFailure,": 1} { // pods
		name := "j" + strconv.Itoa(want)
		ledger := filepath.Join(t.TempDir(), "ledger")
		r.create(testJob(t, name, policy+`"backoffLimit":2`, "ledger="+ledger, "print=once", "exit=3"))
		done := r.ended(name)
		if done.End != job.Failed || done.EndReason != "BackoffLimitExceeded" || done.Counts != (job.Counts{Failed: want}) || len(done.Pods) != want || len(lines(ledger)) != 3 {
			t.Errorf("%s: %+v, %v", name, done, lines(ledger))
		}
		last := done.Pods[len(done.Pods)-1]
		if c := last.Containers[0]; *c.ExitCode != 3 || c.Reason != "Error" || c.Restarts != 3-want || last.Message != "exited with code 3" {
			t.Errorf("%s: its last pod is %+v", name, last)
		}
		if got, want := r.output(last.Name, 0, true), strings.Repeat("once\n", 4-want); got != want {
			t.Errorf("%s: output %q, want %q", name, got, want)
		}
	}
}

func TestJobSucceedsAfterFailures(t *testing.T) {
	t.Parallel()
	r := runJobCluster(t, t.TempDir())
	for _, policy := range []string{"", "OnFailure,"} {
		name := "j" + strconv.Itoa(len(policy))
		ledger := filepath.Join(t.TempDir(), "ledger")
		r.create(testJob(t, name, policy+`"backoffLimit":5`, "ledger="+ledger, "failures="+ledger+",2"))
		if done := r.ended(name); done.End != job.Succeeded || len(lines(ledger)) != 3 || done.Counts.Succeeded != 1 {
			t.Errorf("%+v, %v", done, lines(ledger))
		}
	}
}

// Completions one after the other, as many at a time as parallelism says.
func TestJobOfSeveralCompletions(t *testing.T) {
	t.Parallel()
	r := runJobCluster(t, t.TempDir())
	ledger := filepath.Join(t.TempDir(), "ledger")
	release := filepath.Join(t.TempDir(), "release")
	r.create(testJob(t, "j", `"completions":5,"parallelism":2,"backoffLimit":0`, "ledger="+ledger, "await="+release))
	r.until("j", "runs twice", func(o job.Object) bool { return o.Counts.Active == 2 && len(lines(ledger)) == 2 })
	if err := os.WriteFile(release, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if done := r.ended("j"); done.End != job.Succeeded || done.Counts.Succeeded != 5 || len(lines(ledger)) != 5 {
		t.Errorf("%+v, %v", done, lines(ledger))
	}
}

func TestDeadlineEndsAJob(t *testing.T) {
	t.Parallel()
	r := runJobCluster(t, t.TempDir())
	const deadline = 5 * time.Second // from when it is let run, so that the process has the time to start
	resumed := time.Now()
	jobs := []string{"sleep=1h", "polite"}
	for _, does := range jobs {
		r.create(testJob(t, "j-"+does[:5], fmt.Sprintf(`"backoffLimit":0,"activeDeadlineSeconds":%.0f`, deadline.Seconds()), does))
	}
	for _, does := range jobs {
		done := r.ended("j-" + does[:5])
		if done.End != job.Failed || done.EndReason != "DeadlineExceeded" || done.Counts.Failed != 1 || done.FinishedAt.Sub(resumed) < deadline {
			t.Errorf("%s: %+v", does, done)
		}
	}
}

func TestDeleteEndsTheWholeGroup(t *testing.T) {
	t.Parallel()
	r := runJobCluster(t, t.TempDir())
	created := r.create(testJob(t, "j", "", "stubborn", "fork", "sleep=1h")) // the output comes when no signal but SIGKILL ends it
	o := r.until("j", "has a pod with output", func(o job.Object) bool { return len(o.Pods) > 0 && r.output(o.Pods[0].Name, 0, false) != "" })
	grandchild, err := strconv.Atoi(strings.TrimSpace(r.output(o.Pods[0].Name, 0, false)))
	if err != nil || !alive(grandchild) {
		t.Fatalf("no grandchild: %v", err)
	}
	follow, err := r.cluster.Logs(t.Context(), o.Pods[0].Name, "main", 0, true)
	if err != nil {
		t.Fatal(err)
	}
	defer follow.Close()
	if err := r.cluster.Delete(t.Context(), "j", "another", ""); err != nil {
		t.Error(err)
	}
	start := time.Now()
	if err := r.cluster.Delete(t.Context(), "j", created.UID, ""); err != nil {
		t.Fatal(err)
	}
	if got, err := r.cluster.Get(t.Context(), "j"); err != nil || got == nil || !got.Deleting {
		t.Errorf("while it ends: %+v, %v", got, err)
	}
	r.gone("j")
	if took := time.Since(start); took < 5*time.Second || alive(grandchild) {
		t.Errorf("it was gone after %s, before its grace period; its grandchild lives: %t", took, alive(grandchild))
	}
	for n := 1; n > 0; { // the reading ends
		n, _ = follow.Read(make([]byte, 100))
	}
	if err := r.cluster.Delete(t.Context(), "j", created.UID, ""); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(filepath.Join(r.dataDir, "jobs")); err != nil || len(entries) > 0 {
		t.Errorf("left in the folder: %v, %v", entries, err)
	}
	if again := r.create(testJob(t, "j", "")); again.UID == created.UID {
		t.Error("the same UID again")
	}
	r.ended("j")
}

func TestSuspendedJobIsDeleted(t *testing.T) {
	t.Parallel()
	r := runJobCluster(t, t.TempDir())
	created, err := r.cluster.Create(t.Context(), testJob(t, "j", ""))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cluster.Delete(t.Context(), "j", created.UID, ""); err != nil {
		t.Fatal(err)
	}
	r.gone("j")
	if _, err := r.cluster.Resume(t.Context(), "j", created.UID, created.Version); !errors.Is(err, jobrunner.ErrChanged) {
		t.Errorf("resumed: %v", err)
	}
}

func TestTTLRemovesAJob(t *testing.T) {
	t.Parallel()
	r := runJobCluster(t, t.TempDir())
	created := r.create(testJob(t, "j", ""))
	kept := r.create(testJob(t, "kept", ""))
	r.ended("j")
	const ttl = 5 // seconds, in which it is seen to be armed
	if err := r.cluster.Arm(t.Context(), "j", "another", 0); err != nil {
		t.Error(err)
	}
	if err := r.cluster.Arm(t.Context(), "kept", kept.UID, 3600); err != nil {
		t.Fatal(err)
	}
	if err := r.cluster.Arm(t.Context(), "j", created.UID, ttl); err != nil {
		t.Fatal(err)
	}
	armed := r.until("j", "is armed", func(o job.Object) bool { return o.TTL != nil })
	r.gone("j")
	if since := time.Since(armed.FinishedAt); since < ttl*time.Second || *armed.TTL != ttl {
		t.Errorf("gone %s after its end", since)
	}
	if err := r.cluster.Arm(t.Context(), "j", created.UID, ttl); err != nil {
		t.Error(err)
	}
	r.ended("kept")
}

func TestProcessThatCannotBeStarted(t *testing.T) {
	t.Parallel()
	r := runJobCluster(t, t.TempDir())
	manifest := strings.Replace(string(testJob(t, "j", `"backoffLimit":1`)), os.Args[0], "/no/such/program", 1)
	if !strings.Contains(manifest, "/no/such") {
		self, _ := os.Executable()
		manifest = strings.Replace(string(testJob(t, "j", `"backoffLimit":1`)), self, "/no/such/program", 1)
	}
	r.create(json.RawMessage(manifest))
	r.until("j", "says why", func(o job.Object) bool {
		return o.End != "" || o.Trouble == "StartError" && strings.Contains(o.TroubleDetail, "/no/such/program of job d does not exist")
	})
	done := r.ended("j")
	if done.EndReason != "BackoffLimitExceeded" || done.Started() || *done.Pods[1].Containers[0].ExitCode != 128 || !strings.Contains(done.Pods[1].Message, "build it or correct sluice/LocalCommand") {
		t.Errorf("%+v", done)
	}
}

func TestRefusedJobs(t *testing.T) {
	t.Parallel()
	r := runJobCluster(t, t.TempDir())
	whole := string(testJob(t, "j", `"backoffLimit":1`))
	replaced := func(old, with string) string {
		if !strings.Contains(whole, old) {
			t.Fatalf("%q is not in %s", old, whole)
		}
		return strings.Replace(whole, old, with, 1)
	}
	for _, c := range []struct{ manifest, want string }{
		{`{"metadata":`, "no batch/v1 Job"},
		{replaced(`"name":"j"`, `"name":"../j"`), "no DNS label"},
		{replaced(`"restartPolicy":"Never"`, `"restartPolicy":"Always"`), "must be Never or OnFailure"},
		{replaced(`"backoffLimit":1`, `"backoffLimit":-1`), "backoffLimit is -1"},
		{replaced(`"backoffLimit":1`, `"completionMode":"Indexed","completions":2`), "completionMode Indexed is not there in the local mode"},
		{replaced(`"backoffLimit":1`, `"parallelism":2`), "work queue"},
		{replaced(`"backoffLimit":1`, `"completions":100000`), "from 1 to 1000"},
		{replaced(`"backoffLimit":1`, `"successPolicy":{}`), "successPolicy"},
		{replaced(`"containers":[`, `"x":[`), "no container"},
		{replaced(`"args":null`, `"args":["a\u0000b"]`), "zero byte"},
	} {
		for what, err := range map[string]error{
			"check": r.cluster.Check(t.Context(), json.RawMessage(c.manifest)),
			"create": func() error {
				_, err := r.cluster.Create(t.Context(), json.RawMessage(c.manifest))
				return err
			}(),
		} {
			if !errors.Is(err, jobrunner.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want %q", what, err, c.want)
			}
		}
	}
	self, _ := os.Executable()
	image := json.RawMessage(replaced(`"command":["`+self+`"]`, `"command":[]`))
	if err := r.cluster.Check(t.Context(), image); err != nil {
		t.Errorf("an image alone: %v", err)
	}
	if _, err := r.cluster.Create(t.Context(), image); !errors.Is(err, jobrunner.ErrInvalid) || !strings.Contains(err.Error(), "job d has an image, which is not run in the local mode, and no command") {
		t.Errorf("an image alone: %v", err)
	}
	if entries, err := os.ReadDir(filepath.Join(r.dataDir, "jobs")); err != nil || len(entries) > 0 {
		t.Errorf("left in the folder: %v, %v", entries, err)
	}
}

// Row 8 of the bugs of others, and row 7: no path and no shell comes from outside.
func TestLogsOfNobody(t *testing.T) {
	t.Parallel()
	r := runJobCluster(t, t.TempDir())
	r.create(testJob(t, "j", "", "print=x"))
	pod := r.ended("j").Pods[0].Name
	for _, c := range [][2]string{{"j-other", ""}, {pod, "other"}, {"../" + pod, ""}, {"", ""}, {"j", ""}, {"-", ""}, {pod + "/../" + pod, ""}, {"nobody-x", ""}} {
		if log, err := r.cluster.Logs(t.Context(), c[0], c[1], 0, false); !errors.Is(err, jobrunner.ErrNoOutput) {
			t.Errorf("pod %q, container %q: %v, %v", c[0], c[1], log, err)
		}
	}
}

func TestDefinitionsAndWorkloadsAreTold(t *testing.T) {
	t.Parallel()
	r := runJobCluster(t, t.TempDir(), job.Definition{Name: "a", Parallel: 1}, job.Definition{Name: "b", Parallel: 1})
	deployment := func(name string) function.Function {
		return function.Function{Name: name, Kind: function.KindDeployment}
	}
	stateful := function.Function{Name: "h", Kind: function.KindStatefulSet}
	r.cluster.SetWorkload(deployment("f"), 0, true)
	r.cluster.SetWorkload(deployment("f"), 2, true)
	r.cluster.SetWorkload(deployment("g"), 1, true)
	r.cluster.SetWorkload(deployment("g"), 0, false)
	r.cluster.SetWorkload(deployment("h"), 1, true)
	r.cluster.SetWorkload(stateful, 1, true) // it has become one
	r.cluster.Define([]job.Definition{{Name: "b", Parallel: 2}, {Name: "c", Parallel: 1}})
	eventually(t, "all is told", func() (told bool) {
		r.with(func() {
			told = fmt.Sprint(r.workloads) == "map[Deployment/f:2 StatefulSet/h:1]" && len(r.definitions) == 2 && r.definitions["b"].Parallel == 2 && r.definitions["c"].Parallel == 1
		})
		return told
	})
	if r.cluster.Namespace() != "default" {
		t.Errorf("namespace %q", r.cluster.Namespace())
	}
}

// Many at once, each as often as it must.
func TestManyJobsAtOnce(t *testing.T) {
	t.Parallel()
	r := runJobCluster(t, t.TempDir())
	ledger := filepath.Join(t.TempDir(), "ledger")
	const count = 40
	for i := range count {
		r.create(testJob(t, fmt.Sprint("j", i), "", "ledger="+ledger))
	}
	for i := range count {
		if done := r.ended(fmt.Sprint("j", i)); done.End != job.Succeeded {
			t.Errorf("%+v", done)
		}
	}
	all := lines(ledger)
	if slices.Sort(all); len(all) != count || len(slices.Compact(all)) != count {
		t.Errorf("%d starts", len(all))
	}
}
