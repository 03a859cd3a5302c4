package local

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/pkg/job"
)

// edited is a folder of manifests that a person edits.
type edited struct {
	t         *testing.T
	folder    string
	manifests *Manifests
	now       time.Time
	workloads map[string]Workload // as of the last change
	jobs      map[string]Job      // the same
	refused   []job.Definition    // the same
}

func newEdited(t *testing.T, files map[string]string) *edited {
	t.Helper()
	e := &edited{t: t, folder: t.TempDir(), now: time.Now().Add(-time.Hour)}
	for name, content := range files {
		e.write(name, content)
	}
	e.manifests = NewManifests([]string{e.folder}, nil)
	contents, _, err := e.manifests.Read()
	if err != nil {
		t.Fatal(err)
	}
	e.take(contents)
	return e
}

func (e *edited) path(name string) string { return filepath.Join(e.folder, name) }

// write writes a file as if at another second than any before.
func (e *edited) write(name, content string) {
	e.t.Helper()
	e.now = e.now.Add(10 * time.Second)
	if err := os.WriteFile(e.path(name), []byte(content), 0o600); err != nil {
		e.t.Fatal(err)
	}
	if err := os.Chtimes(e.path(name), e.now, e.now); err != nil {
		e.t.Fatal(err)
	}
}

func (e *edited) remove(name string) {
	e.t.Helper()
	if err := os.Remove(e.path(name)); err != nil {
		e.t.Fatal(err)
	}
}

func (e *edited) take(contents Contents) {
	e.workloads, e.jobs, e.refused = map[string]Workload{}, map[string]Job{}, contents.Refused
	for _, j := range contents.Jobs {
		if _, twice := e.jobs[j.Definition.Name]; twice {
			e.t.Errorf("job %s is there twice", j.Definition.Name)
		}
		e.jobs[j.Definition.Name] = j
	}
	for _, w := range contents.Workloads {
		if _, twice := e.workloads[w.Function.Name]; twice {
			e.t.Errorf("%s is there twice", w.Function.Name)
		}
		e.workloads[w.Function.Name] = w
	}
}

// look looks once, and returns whether anything changed and the new notices.
func (e *edited) look() (bool, []Notice) {
	contents, notices, changed := e.manifests.look(e.now.Add(time.Hour))
	if changed {
		e.take(contents)
	}
	return changed, notices
}

// settle looks twice, as a change needs it, and expects these functions, and jobs as "job/name".
func (e *edited) settle(names ...string) (told string) {
	e.t.Helper()
	if changed, _ := e.look(); changed {
		e.t.Error("a change counted at the first look")
	}
	_, notices := e.look()
	for _, n := range notices {
		told += n.String() + "\n"
	}
	got := slices.Collect(maps.Keys(e.workloads))
	for name := range e.jobs {
		got = append(got, "job/"+name)
	}
	if slices.Sort(got); !slices.Equal(got, names) {
		e.t.Errorf("there are %v, want %v\n%s", got, names, told)
	}
	if changed, notices := e.look(); changed || len(notices) > 0 {
		e.t.Errorf("a third look found a change, and told %v", notices)
	}
	return told
}

func named(name, annotations string) string {
	return "---\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: " + name + "\n  annotations: {sluice/Function: \"true\", sluice/LocalCommand: run" + annotations + "}\n"
}

func TestFilesThatChange(t *testing.T) {
	t.Parallel()
	e := newEdited(t, map[string]string{"a.yaml": named("a", "")})
	if changed, _ := e.look(); changed {
		t.Error("nothing has changed")
	}
	e.write("b.yaml", named("b", ""))
	e.settle("a", "b")
	e.write("a.yaml", named("a", ", sluice/ReplicasMin: \"2\"")+named("c", ""))
	e.settle("a", "b", "c")
	if e.workloads["a"].Function.ReplicasMin != 2 {
		t.Errorf("read %+v", e.workloads["a"].Function)
	}
	e.write("a.yaml", named("c", ""))
	e.settle("b", "c")
	e.remove("b.yaml")
	e.settle("c")
	e.write("ignored.txt", named("d", ""))
	e.settle("c")
	e.remove("a.yaml")
	if told := e.settle(); !strings.Contains(told, "has no *.yaml or *.yml file") {
		t.Errorf("told %s", told)
	}
	e.write("b.yaml", named("b", ""))
	e.settle("b")
}

// Who writes slowly, or removes a file to write it anew, takes no function away.
func TestNothingIsGoneInBetween(t *testing.T) {
	t.Parallel()
	e := newEdited(t, map[string]string{"a.yaml": named("a", ""), "b.yaml": named("b", "")})
	for _, change := range []func(){
		func() { e.write("a.yaml", "") },
		func() { e.write("a.yaml", named("a", "")[:40]) },
		func() { e.remove("a.yaml") },
		func() { e.write("a.yaml", named("a", ", sluice/ReplicasMin: \"1\"")) },
	} {
		change()
		if changed, notices := e.look(); changed || len(notices) > 0 || len(e.workloads) != 2 {
			t.Errorf("half of a change counted: %v %v", notices, e.workloads)
		}
	}
	e.look()
	if e.workloads["a"].Function.ReplicasMin != 1 {
		t.Error("the change did not count in the end")
	}
}

// Files that move and workloads that move between files stay what they are.
func TestMoves(t *testing.T) {
	t.Parallel()
	e := newEdited(t, map[string]string{"a.yaml": named("a", ""), "b.yaml": named("b", "")})
	if err := os.Rename(e.path("a.yaml"), e.path("z.yaml")); err != nil {
		t.Fatal(err)
	}
	e.settle("a", "b")
	e.write("b.yaml", named("b", "")+named("a", "")) // both have it for a while: the first file wins
	if told := e.settle("a", "b"); !strings.Contains(told, "the function a is there twice") {
		t.Errorf("told %s", told)
	}
	e.remove("z.yaml")
	e.settle("a", "b")
	// A file of the same size and time that takes the place of another.
	info, err := os.Stat(e.path("b.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	e.write("new.txt", named("b", "")+named("x", ""))
	if err := os.Chtimes(e.path("new.txt"), info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(e.path("new.txt"), e.path("b.yaml")); err != nil {
		t.Fatal(err)
	}
	e.settle("b", "x")
}

// A file that was read at the moment of its last change is read again, as its time may stay what it was.
func TestFileOfTheSameTime(t *testing.T) {
	t.Parallel()
	e := newEdited(t, map[string]string{"a.yaml": named("a", "")})
	e.write("a.yaml", named("b", ""))
	at := e.now
	e.look()
	if _, _, changed := e.manifests.look(at); !changed {
		t.Fatal("the change was not seen")
	}
	e.now = at.Add(-10 * time.Second)
	e.write("a.yaml", named("c", ""))
	contents, _, changed := e.manifests.look(at)
	if !changed || contents.Workloads[0].Function.Name != "c" {
		t.Errorf("a change within the same tick of the clock was not seen: %v", contents.Workloads)
	}
}

// What cannot be read or is refused keeps the functions that it had, and says so.
func TestRefusedChangesKeepTheFunctions(t *testing.T) {
	t.Parallel()
	good := named("a", ", sluice/ReplicasMin: \"2\"") + named("b", "")
	for name, c := range map[string]struct{ content, says string }{
		"no YAML":       {"a: [\n", "no valid YAML"},
		"half":          {named("b", "") + "---\na: [\n", "no valid YAML"},
		"no mapping":    {"- x\n" + named("b", ""), "no mapping"},
		"no name":       {strings.Replace(good, "  name: a\n", "", 1), "metadata.name is missing"},
		"unknown field": {strings.Replace(good, "---\napi", "---\nspec: {replcas: 1}\napi", 1), "did you mean replicas?"},
		"wrong switch":  {strings.Replace(good, `"true"`, `"maybe"`, 1), `neither "true" nor "false"`},
		"no command":    {strings.Replace(good, ", sluice/LocalCommand: run", "", 1), "no command"},
		"old API":       {strings.Replace(good, "apps/v1", "v1", 1), "it must be apps/v1"},
		"large":         {strings.Repeat("#", maxManifestSize+1), "larger than 4 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEdited(t, map[string]string{"f.yaml": good, "other.yaml": named("o", "")})
			e.write("f.yaml", c.content)
			if told := e.settle("a", "b", "o"); strings.Count(told, c.says) != 1 {
				t.Errorf("told %q, want once %q", told, c.says)
			}
			a := e.workloads["a"]
			if a.Function.ReplicasMin != 2 || len(a.Problems) != 1 || !strings.Contains(a.Problems[0], c.says) {
				t.Errorf("kept %+v", a)
			}
			if len(e.workloads["o"].Problems) != 0 {
				t.Errorf("another function has the problems %q", e.workloads["o"].Problems)
			}
			e.write("other.yaml", named("o", ", sluice/ReplicasMin: \"1\"")) // the next change keeps them as well
			if told := e.settle("a", "b", "o"); told != "" {
				t.Errorf("told again: %s", told)
			}
			if problems := e.workloads["a"].Problems; len(problems) != 1 {
				t.Errorf("problems %q", problems)
			}
			e.write("f.yaml", good)
			e.settle("a", "b", "o")
			if problems := e.workloads["a"].Problems; len(problems) != 0 {
				t.Errorf("problems %q are left", problems)
			}
		})
	}
}

// One document that is refused protects nothing but itself.
func TestRemovalBesideARefusedDocument(t *testing.T) {
	t.Parallel()
	e := newEdited(t, map[string]string{"f.yaml": named("a", "") + named("b", "")})
	e.write("f.yaml", strings.Replace(named("a", ""), "apps/v1", "v1", 1))
	e.settle("a")
	e.write("f.yaml", strings.Replace(named("a", ""), `"true"`, `"false"`, 1))
	e.settle()
}

func TestInvalidValueKeepsTheLastValidOne(t *testing.T) {
	t.Parallel()
	e := newEdited(t, map[string]string{"f.yaml": named("a", ", sluice/ReplicasAtStart: \"3\"")})
	for _, value := range []string{"-1", "x"} {
		e.write("f.yaml", named("a", ", sluice/ReplicasAtStart: \""+value+"\""))
		if told := e.settle("a"); !strings.Contains(told, "ReplicasAtStart") {
			t.Errorf("told %q", told)
		}
		if a := e.workloads["a"]; a.Function.ReplicasAtStart != 3 || len(a.Problems) != 1 {
			t.Errorf("read %+v", a)
		}
	}
}

// A named file that is gone takes its functions with it, and so does a folder; it is told.
func TestNamedPathsThatGo(t *testing.T) {
	t.Parallel()
	e := newEdited(t, map[string]string{"a.yaml": named("a", ""), "b.yaml": named("b", "")})
	e.manifests = NewManifests([]string{e.path("b.yaml"), e.path("a.yaml")}, nil)
	if _, _, err := e.manifests.Read(); err != nil {
		t.Fatal(err)
	}
	e.remove("a.yaml")
	_, first := e.look()
	_, second := e.look()
	if told := append(first, second...); len(told) != 1 || !strings.Contains(told[0].String(), "a.yaml: is not there any more") || len(e.workloads) != 1 {
		t.Errorf("told %v, functions %v", told, e.workloads)
	}
}

func TestDependenciesWithoutAnnotation(t *testing.T) {
	t.Parallel()
	other := func(name, more string) string {
		return "---\napiVersion: apps/v1\nkind: StatefulSet\nmetadata:\n  name: " + name + more + "\nspec: {replicas: 2}\n"
	}
	e := newEdited(t, map[string]string{"f.yaml": other("db", "\n  annotations: {sluice/LocalCommand: run}") +
		other("far", "\n  annotations: {sluice/LocalURL: \"db.example.org:3306\"}") + other("none", "") + other("unused", "") +
		named("a", ", sluice/DependsOn: \"db,far,none,missing\"")})
	if got := slices.Sorted(maps.Keys(e.workloads)); !slices.Equal(got, []string{"a", "db", "far", "none"}) {
		t.Fatalf("read %v", got)
	}
	db, far, none := e.workloads["db"], e.workloads["far"], e.workloads["none"]
	if !db.Watched || db.Replicas != 2 || !slices.Equal(db.Command, []string{"run"}) || db.Function.Kind != function.KindStatefulSet {
		t.Errorf("read %+v", db)
	}
	if !far.Watched || far.URL != "db.example.org:3306" {
		t.Errorf("read %+v", far)
	}
	if !none.Watched || len(none.Problems) != 1 || !strings.Contains(none.Problems[0], "sluice/LocalCommand, or sluice/LocalURL") {
		t.Errorf("read %+v", none)
	}
	e.write("g.yaml", named("g", ", sluice/DependsOn: unused"))
	e.settle("a", "db", "far", "g", "none", "unused")
	e.remove("g.yaml")
	if told := e.settle("a", "db", "far", "none"); !strings.Contains(told, "StatefulSet/unused is passed over") {
		t.Errorf("told %q", told)
	}
}

func TestServicesSayTheProtocol(t *testing.T) {
	t.Parallel()
	deployment := func(name, annotations string) string {
		return "---\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: " + name + "\n  annotations: {sluice/Function: \"true\"" + annotations + `}
spec:
  template:
    metadata: {labels: {app: ` + name + `}}
    spec:
      containers:
      - {name: c, command: [run], ports: [{name: grpc, containerPort: 9000}, {name: web, containerPort: 80}]}
`
	}
	service := func(app, port string) string {
		return "---\napiVersion: v1\nkind: Service\nmetadata: {name: " + app + "}\nspec: {selector: {app: " + app + "}, ports: [" + port + "]}\n"
	}
	e := newEdited(t, map[string]string{"f.yaml": service("a", "{port: 80, targetPort: grpc, appProtocol: kubernetes.io/h2c}") +
		deployment("a", "") + deployment("b", "") + service("b", "{port: 9000, appProtocol: kubernetes.io/h2c}") +
		deployment("c", "") + service("c", "{port: 9000, appProtocol: http}") +
		deployment("d", ", sluice/Port: web") + service("d", "{port: 1, targetPort: 9000, appProtocol: kubernetes.io/h2c}")})
	for name, want := range map[string]string{"a": function.ProtocolH2C, "b": function.ProtocolH2C, "c": "", "d": ""} {
		if got := e.workloads[name].Function.Protocol; got != want {
			t.Errorf("%s speaks %q, want %q", name, got, want)
		}
	}
}
