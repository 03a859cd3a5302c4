package local

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/job"
)

const wholeJob = `# A job with everything.
apiVersion: batch/v1
kind: CronJob
metadata:
  name: whole
  annotations:
    SlimFaas/Job: "true"
    sluice/DefaultVisibility: public
    sluice/NumberParallelJob: "3"
    sluice/DependsOn: db
    sluice/LocalCommand: bin/batch -flag 'a b'
spec:
  schedule: "0 0 1 1 *"
  suspend: true
  jobTemplate:
    metadata:
      labels: {team: a}
      annotations: {keep: me, sluice/LocalFolder: /etc}
    spec:
      backoffLimit: 2
      activeDeadlineSeconds: 60
      template:
        spec:
          restartPolicy: Never
          terminationGracePeriodSeconds: 7
          containers:
          - name: whole
            image: x
            command: [ignored]
            args: ["$(NAME)", "$$(NAME)"]
            env:
            - {name: NAME, value: n}
            - name: PASSWORD
              valueFrom: {secretKeyRef: {name: s, key: k}}
`

func TestJobManifestIsReadWhole(t *testing.T) {
	t.Parallel()
	contents, notices := loadAll(t, wholeJob)
	requireNotices(t, notices, `warn 33: spec.jobTemplate.spec.template.spec.containers[0].env[1]: PASSWORD has a valueFrom, which only a cluster can resolve: it is taken from the environment of sluice, if it is there`)
	if len(contents.Jobs) != 1 || len(contents.Workloads) != 0 {
		t.Fatalf("got %+v", contents)
	}
	j := contents.Jobs[0]
	d := j.Definition
	if d.Name != "whole" || d.Visibility != job.Public || d.Parallel != 3 || !slices.Equal(d.DependsOn, []string{"db"}) || len(d.Problems) > 0 || !strings.HasSuffix(j.Source, "m.yaml:2") {
		t.Errorf("got %+v from %s", d, j.Source)
	}
	s := specOf(t, d, `{"args":["x y","$(NAME)"],"env":[{"name":"NAME","value":"mine"}]}`)
	folder := filepath.Dir(strings.TrimSuffix(j.Source, ":2"))
	if want := []string{filepath.Join(folder, "bin/batch"), "-flag", "a b", "x y", "mine"}; !slices.Equal(s.argv, want) {
		t.Errorf("argv %q, want %q", s.argv, want)
	}
	if s.folder != folder || s.grace != 7*time.Second || s.deadline != time.Minute || s.backoffLimit != 2 || s.restarts || s.container != "whole" {
		t.Errorf("got %+v", s)
	}
	if s.labels["team"] != "a" || s.annotations["keep"] != "me" || !slices.Contains(s.env, "NAME=mine") || !slices.Contains(s.env, "JOB_DEFINITION=whole") || s.run() != "run" {
		t.Errorf("labels %v, annotations %v, env %v", s.labels, s.annotations, s.env)
	}
}

// specOf is what runs for a request.
func specOf(t testing.TB, d job.Definition, request string) jobSpec {
	t.Helper()
	_, spec, err := readJob(manifestOf(t, d, "run", request))
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// manifestOf is the Job that a request makes.
func manifestOf(t testing.TB, d job.Definition, run, request string) json.RawMessage {
	t.Helper()
	accepted := job.Accept(d, job.Message{Definition: d.Name, RunID: run, Body: []byte(request)}, time.Now())
	if accepted.Phase != job.Queued {
		t.Fatalf("the request is refused: %s %s", accepted.Reason, accepted.Message)
	}
	accepted.JobName = job.NameOf(accepted)
	manifest, err := job.Manifest(accepted, "default")
	if err != nil {
		t.Fatal(err)
	}
	return manifest
}

// cronJob is a manifest of a job with these annotations and the rest of a Job's spec.
func cronJob(name, annotations, spec string) string {
	return "---\napiVersion: batch/v1\nkind: CronJob\nmetadata:\n  name: " + name + "\n  annotations: {" + annotations + "}\nspec:\n  schedule: \"* * * * *\"\n  suspend: true\n  jobTemplate:\n    spec:\n" + spec
}

const (
	runs    = `sluice/Job: "true", sluice/LocalCommand: run`
	jobBody = "      template:\n        spec:\n          restartPolicy: Never\n          containers: [{name: c, image: x}]\n"
)

func TestArgumentsFollowTheCommandOfTheContainer(t *testing.T) {
	t.Parallel()
	contents, notices := loadAll(t, cronJob("a", `sluice/Job: "true"`, strings.Replace(jobBody, "image: x", `image: x, command: [./run, "$(JOB_RUN_ID)"], args: [a]`, 1)))
	requireNotices(t, notices)
	d := contents.Jobs[0].Definition
	folder := filepath.Dir(contents.Jobs[0].Source)
	for request, want := range map[string][]string{
		``: {folder + "/run", "run", "a"}, `{"args":["b","c"]}`: {folder + "/run", "run", "b", "c"}, `{"args":[]}`: {folder + "/run", "run"},
	} {
		if s := specOf(t, d, request); !slices.Equal(s.argv, want) {
			t.Errorf("%s: argv %q, want %q", request, s.argv, want)
		}
	}
}

func TestCronJobsThatAreNoJobs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ content, want string }{
		"ordinary":  {cronJob("a", "x: y", jobBody), `info 2: CronJob/a is passed over: it has no annotation sluice/Job: "true"`},
		"false":     {cronJob("a", `sluice/Job: "false"`, jobBody), `info 2: CronJob/a is passed over`},
		"mistyped":  {cronJob("a", `sluice/Jobs: "true"`, jobBody), `warn 6: annotation sluice/Jobs: "true" is ignored`},
		"runs":      {strings.Replace(cronJob("a", runs, jobBody), "suspend: true", "suspend: false", 1), `warn 6: annotation sluice/Job: "true" makes no job of a CronJob that is not suspended`},
		"badName":   {strings.Replace(cronJob("a", runs, jobBody), "name: a", "name: a.b", 1), `error 6: annotation sluice/Job: "true" makes no job of a CronJob with the name "a.b"`},
		"version":   {strings.Replace(cronJob("a", runs, jobBody), "batch/v1", "batch/v1beta1", 1), `error 2: apiVersion: "batch/v1beta1" is not read for a CronJob: it must be batch/v1`},
		"field":     {cronJob("a", runs, "      backofLimit: 1\n"+jobBody), `error 12: spec.jobTemplate.spec.backofLimit: there is no such field, did you mean backoffLimit?`},
		"type":      {cronJob("a", runs, "      backoffLimit: x\n"+jobBody), `error 12: spec.jobTemplate.spec.backoffLimit: "x" must be a whole number`},
		"command":   {cronJob("a", `sluice/Job: "true"`, jobBody), `error 2: job a has no command for local mode: add the annotation sluice/LocalCommand`},
		"shell":     {cronJob("a", `sluice/Job: "true", sluice/LocalCommand: a | b`, jobBody), `error 6: sluice/LocalCommand: the command needs a shell`},
		"policy":    {cronJob("a", runs, strings.Replace(jobBody, "Never", "Always", 1)), `error 11: spec.jobTemplate.spec: template.spec.restartPolicy is "Always": it must be Never or OnFailure`},
		"unquoted":  {cronJob("a", `sluice/Job: true, sluice/LocalCommand: run`, jobBody), `error 6: metadata.annotations.sluice/Job: true must be a string: put it in quotes`},
		"container": {cronJob("a", runs, "      template: {spec: {restartPolicy: Never}}\n"), `error `},
	} {
		contents, notices := loadAll(t, c.content)
		if len(contents.Jobs) != 0 || len(notices) == 0 || !strings.HasPrefix(notices[0], c.want) {
			t.Errorf("%s: %d jobs, notices %q, want %q", name, len(contents.Jobs), notices, c.want)
		}
		_, why, _ := strings.Cut(c.want, ": ")
		switch refused := contents.Refused; {
		case slices.Contains([]string{"ordinary", "false", "mistyped", "badName"}, name):
			if len(refused) > 0 {
				t.Errorf("%s: refused are %+v", name, refused)
			}
		case len(refused) != 1 || refused[0].Name != "a" || refused[0].Source != "CronJob/a" || !strings.Contains(refused[0].Refused, why) || !strings.Contains(refused[0].Refused, "m.yaml:"):
			t.Errorf("%s: refused are %+v, want %s", name, refused, why)
		}
	}
}

func TestWarningsOfJobs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ content, want string }{
		"value":      {cronJob("a", runs+`, sluice/NumberParallelJob: "0"`, jobBody), `warn 6: annotation sluice/NumberParallelJob: "0" is not a whole number`},
		"pattern":    {cronJob("a", runs, "      completionMode: Indexed\n      completions: 2\n"+jobBody), `warn 11: spec.jobTemplate.spec: completionMode Indexed is not there in the local mode, so the job is refused here`},
		"containers": {cronJob("a", runs, strings.Replace(jobBody, "{name: c, image: x}", "{name: c, image: x}, {name: a, image: y}", 1)), `warn 13: spec.jobTemplate.spec.template.spec: of its containers only a is run here`},
	} {
		contents, notices := loadAll(t, c.content)
		if len(contents.Jobs) != 1 || len(notices) != 1 || !strings.HasPrefix(notices[0], c.want) {
			t.Errorf("%s: %d jobs, notices %q, want %q", name, len(contents.Jobs), notices, c.want)
		}
	}
}

// The container that is called as the job is the one that requests change, and the one that runs.
func TestContainerThatRuns(t *testing.T) {
	t.Parallel()
	body := strings.Replace(jobBody, "{name: c, image: x}", "{name: c, image: x, command: [wrong]}, {name: a, image: y, command: [right]}", 1)
	contents, _ := loadAll(t, cronJob("a", `sluice/Job: "true"`, body))
	if s := specOf(t, contents.Jobs[0].Definition, `{"args":["x"]}`); s.container != "a" || !slices.Equal(s.argv, []string{"right", "x"}) {
		t.Errorf("got %s %q", s.container, s.argv)
	}
}

func TestJobManifestsThatChange(t *testing.T) {
	t.Parallel()
	db := strings.Replace(named("db", ""), "sluice/Function", "x", 1)
	e := newEdited(t, map[string]string{"a.yaml": cronJob("a", runs, jobBody), "db.yaml": db})
	e.write("b.yaml", cronJob("b", runs, jobBody)+named("b", "")) // a function may have the same name
	e.settle("b", "job/a", "job/b")
	generation := e.jobs["a"].Definition.Generation
	e.write("a.yaml", cronJob("a", runs+`, sluice/NumberParallelJob: "4", sluice/DependsOn: db`, jobBody))
	e.settle("b", "db", "job/a", "job/b") // db is there for the job alone
	if d := e.jobs["a"].Definition; d.Parallel != 4 || d.Generation == generation || !e.workloads["db"].Watched {
		t.Errorf("got %+v, %+v", d, e.workloads["db"])
	}
	e.write("a.yaml", cronJob("a", runs+`, sluice/NumberParallelJob: "x", sluice/DependsOn: db`, jobBody))
	if told := e.settle("b", "db", "job/a", "job/b"); e.jobs["a"].Definition.Parallel != 4 || !strings.Contains(told, "the last valid value") {
		t.Errorf("got %+v\n%s", e.jobs["a"], told)
	}
	e.write("a.yaml", cronJob("a", `sluice/Job: "true"`, jobBody))
	if told := e.settle("b", "db", "job/a", "job/b"); e.jobs["a"].Definition.Parallel != 4 || !strings.Contains(strings.Join(e.jobs["a"].Definition.Problems, "\n"), "what the manifest said before holds") {
		t.Errorf("got %+v\n%s", e.jobs["a"], told)
	}
	e.write("a.yaml", "kind: [")
	e.settle("b", "db", "job/a", "job/b")
	if len(e.refused) > 0 {
		t.Errorf("what is kept is refused: %+v", e.refused)
	}
	e.write("a.yaml", strings.Replace(cronJob("a", runs, jobBody), "suspend: true", "suspend: false", 1))
	if e.settle("b", "job/b"); len(e.refused) != 1 || !strings.Contains(e.refused[0].Refused, "a CronJob that is not suspended") {
		t.Errorf("refused are %+v", e.refused)
	}
	e.write("b.yaml", cronJob("b", runs, jobBody)+cronJob("a", runs, jobBody))
	if e.settle("job/a", "job/b"); len(e.refused) > 0 {
		t.Errorf("what another document defines is refused: %+v", e.refused)
	}
	e.remove("b.yaml")
	e.settle()
}

// A refused function is not kept because of a job of its name, nor the other way round.
func TestRefusedJobAndFunctionOfOneName(t *testing.T) {
	t.Parallel()
	e := newEdited(t, map[string]string{"a.yaml": cronJob("a", runs, jobBody) + named("a", "")})
	e.write("a.yaml", cronJob("a", `sluice/Job: "true"`, jobBody))
	e.settle("job/a")
	e.write("a.yaml", named("a", ", sluice/LocalURL: x"))
	e.settle()
}

func TestJobTwice(t *testing.T) {
	t.Parallel()
	contents, notices := loadAll(t, cronJob("a", runs, jobBody)+cronJob("a", runs, jobBody))
	if len(contents.Jobs) != 1 || len(notices) != 1 || !strings.Contains(notices[0], "error 20: metadata.name: the job a is there twice: at m.yaml:2 and at m.yaml:17; rename one") {
		t.Errorf("%d jobs, %q", len(contents.Jobs), notices)
	}
}

// The jobs of the demos are right, and name the program that is there.
func TestDemoJobs(t *testing.T) {
	t.Parallel()
	for folder, want := range map[string]int{"manifests": 1, "slimfaas/manifests": 2} {
		contents, _, err := LoadManifests([]string{filepath.Join("../../deploy/demo", folder)})
		if err != nil || len(contents.Jobs) != want {
			t.Fatalf("%s: %d jobs, %v", folder, len(contents.Jobs), err)
		}
		for _, j := range contents.Jobs {
			argv := specOf(t, j.Definition, `{"Args":["42"]}`).argv
			program := filepath.Base(argv[0])
			if info, err := os.Stat(filepath.Join("../../deploy/demo", program)); err != nil || !info.IsDir() || !slices.Equal(argv[1:], []string{"42"}) {
				t.Errorf("%s: job %s runs %q: %v", folder, j.Definition.Name, argv, err)
			}
			if len(j.Definition.Problems) > 0 {
				t.Errorf("%s: job %s has %v", folder, j.Definition.Name, j.Definition.Problems)
			}
		}
	}
}
