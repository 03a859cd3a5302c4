package local

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/function"
)

// load reads one manifest, and returns its functions and its notices as "level line key: text".
func load(t *testing.T, content string) ([]Workload, []string) {
	t.Helper()
	contents, notices := loadAll(t, content)
	return contents.Workloads, notices
}

func loadAll(t *testing.T, content string) (Contents, []string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "m.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	contents, notices, err := LoadManifests([]string{path})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, n := range notices {
		if n.File != path {
			t.Errorf("notice of another file: %v", n)
		}
		lines = append(lines, n.Level+" "+strings.ReplaceAll(strings.TrimPrefix(n.String(), path+":"), path, "m.yaml"))
	}
	return contents, lines
}

const whole = `# A function with everything.
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: whole
  annotations:
    SlimFaas/Function: "true"
    sluice/Port: metrics
spec:
  replicas: 3
  template:
    metadata:
      annotations: {sluice/ReplicasMin: "2", sluice/DependsOn: mysql}
    spec:
      terminationGracePeriodSeconds: 7
      containers:
      - name: main
        image: x
        command: [bin/server, "--name=$(NAME)", "$$(NAME)", "$(UNKNOWN_HERE)"]
        args: ["--port", "$(PORT)"]
        env:
        - {name: FIRST, value: a}
        - {name: NAME, value: "$(FIRST)-b"}
        - name: PASSWORD
          valueFrom: {secretKeyRef: {name: s, key: k}}
        envFrom:
        - configMapRef: {name: c}
        ports: [{containerPort: 5000}, {name: metrics, containerPort: 9000}]
        readinessProbe:
          httpGet: {path: "ready?x=1", port: 5000, scheme: HTTPS}
          periodSeconds: 4
          failureThreshold: 5
          timeoutSeconds: 6
      - name: sidecar
        image: y
`

func TestManifestIsReadWhole(t *testing.T) {
	workloads, notices := load(t, whole)
	if len(workloads) != 1 {
		t.Fatalf("%d workloads, %v", len(workloads), notices)
	}
	w := workloads[0]
	f := function.Defaults("whole", function.KindStatefulSet)
	f.ReplicasMin, f.DependsOn = 2, []string{"mysql"}
	want := Workload{Function: f, Replicas: 3,
		Command: []string{filepath.Join(w.Dir, "bin/server"), "--name=a-b", "$(NAME)", "$(UNKNOWN_HERE)", "--port", "{port}"},
		Dir:     w.Dir, Env: []string{"FIRST=a", "NAME=a-b"}, Port: 9000, GracePeriod: 7 * time.Second,
		Probe:  Probe{Path: "/ready?x=1", Scheme: "https", Period: 4 * time.Second, FailureThreshold: 5, Timeout: 6 * time.Second},
		Source: filepath.Join(w.Dir, "m.yaml") + ":2"}
	if !reflect.DeepEqual(w, want) {
		t.Errorf("got  %+v\nwant %+v", w, want)
	}
	requireNotices(t, notices,
		`warn 24: spec.template.spec.containers[0].env[2]: PASSWORD has a valueFrom, which only a cluster can resolve: it is taken from the environment of sluice, if it is there`,
		`warn 27: spec.template.spec.containers[0].envFrom[0]: envFrom can only be resolved by a cluster: its variables are taken from the environment of sluice, if they are there`)
}

func requireNotices(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("notices\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// head starts a function's manifest; what is added to it begins in line 5, below metadata.
const head = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: f
`

func TestDefaultsOfAManifest(t *testing.T) {
	workloads, notices := load(t, head+`  annotations: {sluice/Function: "true", sluice/LocalCommand: run}`)
	requireNotices(t, notices)
	if len(workloads) != 1 {
		t.Fatal("no workload")
	}
	w := workloads[0]
	probe := Probe{Period: 10 * time.Second, FailureThreshold: 3, Timeout: time.Second}
	if w.Replicas != 1 || w.GracePeriod != 30*time.Second || w.Probe != probe || w.Port != 0 || !slices.Equal(w.Command, []string{"run"}) {
		t.Errorf("got %+v", w)
	}
}

func TestWrongDocumentStopsNoOther(t *testing.T) {
	good := func(name string) string {
		return "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: " + name + `, annotations: {sluice/Function: "true", sluice/LocalCommand: run}}` + "\n"
	}
	workloads, notices := load(t, good("a")+"---\na: [\n"+good("b")+"--- # here\nkind: Service\nmetadata: {name: s}\n---\n- x\n---\n"+good("a")+"---\r\nx: y\n"+good("c")+"...\n")
	var names []string
	for _, w := range workloads {
		names = append(names, w.Function.Name)
	}
	if !slices.Equal(names, []string{"a", "b", "c"}) {
		t.Errorf("functions: %v", names)
	}
	requireNotices(t, notices,
		`error 6: the document is no valid YAML: did not find expected node content`,
		`info 12: Service/s is passed over: only Deployments, StatefulSets and CronJobs are read`,
		`error 15: the document is no mapping: a manifest starts with apiVersion and kind`,
		`error 20: metadata.name: the function a is there twice: at m.yaml:2 and at m.yaml:18; rename one`,
		`error 22: kind: is missing: a manifest has apiVersion and kind`)
}

func TestFoldersAndFiles(t *testing.T) {
	folder := t.TempDir()
	write := func(path, name string) {
		t.Helper()
		path = filepath.Join(folder, path)
		content := strings.Replace(head, "name: f", "name: "+name, 1) + `  annotations: {sluice/Function: "true", sluice/LocalCommand: run}`
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("b.yaml", "b")
	write("a.yml", "a")
	write("c.txt", "c")
	write("deeper/d.yaml", "d")
	write("e.yaml/x", "e")
	write("empty/x", "x")
	contents, notices, err := LoadManifests([]string{folder, filepath.Join(folder, "c.txt"), filepath.Join(folder, "b.yaml"), filepath.Join(folder, "empty")})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, w := range contents.Workloads {
		names = append(names, w.Function.Name)
	}
	if fmt.Sprint(names) != "[a b c]" || len(notices) != 1 || notices[0].Text != "the folder has no *.yaml or *.yml file" {
		t.Errorf("got %v, %v", names, notices)
	}
	if _, _, err := LoadManifests([]string{filepath.Join(folder, "missing.yaml")}); err == nil || !strings.Contains(err.Error(), "missing.yaml") {
		t.Errorf("a path that does not exist: %v", err)
	}
}

// The manifests of the demo are right, and name the programs that are there.
func TestDemoManifests(t *testing.T) {
	contents, notices, err := LoadManifests([]string{"../../deploy/demo/manifests"})
	if err != nil || len(notices) > 0 || len(contents.Workloads) != 5 || len(contents.Jobs) != 1 {
		t.Fatalf("%d workloads, %d jobs, %v, %v", len(contents.Workloads), len(contents.Jobs), notices, err)
	}
	for _, w := range contents.Workloads {
		program := filepath.Base(w.Command[0])
		if info, err := os.Stat(filepath.Join("../../deploy/demo", program)); err != nil || !info.IsDir() {
			t.Errorf("function %s runs %s, which is no demo: %v", w.Function.Name, w.Command[0], err)
		}
		if w.Replicas != 0 || w.Function.TimeoutSecondBeforeSetReplicasMin != 30 || w.Probe.Path != "/health" || len(w.Problems) > 0 {
			t.Errorf("unexpected: %+v", w)
		}
	}
}
