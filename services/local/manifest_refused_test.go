package local

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const on = head + `  annotations:
    sluice/Function: "true"
    sluice/LocalCommand: run
`

// Each manifest is refused for one reason, which is told with its line, its key and what would be right.
func TestRefusedManifests(t *testing.T) {
	for _, c := range []struct{ name, content, want string }{
		{"old API", strings.Replace(on, "apps/v1", "extensions/v1beta1", 1), `error 1: apiVersion: "extensions/v1beta1" is not read for a Deployment: it must be apps/v1`},
		{"no name", strings.Replace(on, "  name: f\n", "", 1), `error 3: metadata: metadata.name is missing`},
		{"bad name", strings.Replace(on, "name: f", "name: f.g", 1), `error 6: annotation sluice/Function: "f.g" is no name for a function: it must have 1 to 63 characters, of a-z, 0-9 and '-', with a letter or digit at both ends`},
		{"bad switch", strings.Replace(on, `"true"`, `"on"`, 1), `error 6: annotation sluice/Function: "on" is neither "true" nor "false"; the workload is no function`},
		{"unquoted", strings.Replace(on, `"true"`, `true`, 1), `error 6: metadata.annotations.sluice/Function: true must be a string: put it in quotes`},
		{"unknown field", on + "spec:\n  replcas: 1\n", `error 9: spec.replcas: there is no such field, did you mean replicas?`},
		{"deep unknown field", on + "spec:\n  template:\n    spec:\n      containers:\n      - name: c\n        comand: x\n", `error 13: spec.template.spec.containers[0].comand: there is no such field, did you mean command?`},
		{"wrong case", on + "spec:\n  Replicas: 1\n", `error 9: spec.Replicas: there is no such field, did you mean replicas?`},
		{"word for number", on + "spec:\n  replicas: two\n", `error 9: spec.replicas: "two" must be a whole number`},
		{"fraction", on + "spec:\n  replicas: 1.5\n", `error 9: spec.replicas: 1.5 must be a whole number`},
		{"negative", on + "spec:\n  replicas: -1\n", `error 9: spec.replicas: -1 must be a whole number from 0 to 10000`},
		{"mapping for list", on + "spec:\n  template:\n    spec:\n      containers: {name: c}\n", `error 11: spec.template.spec.containers: a mapping must be a list, with "- " before each item`},
		{"list for mapping", on + "spec:\n- replicas\n", `error 8: spec: a list must be a mapping`},
		{"word for mapping", on + "spec: x\n", `error 8: spec: "x" must be a mapping`},
		{"quantity", on + "spec:\n  template:\n    spec:\n      containers:\n      - resources: {limits: {cpu: many}}\n", `error 12: spec.template.spec.containers[0].resources.limits.cpu: "many" is wrong: quantities must match the regular expression`},
		{"twice", on + "spec:\n  replicas: 1\n  replicas: 2\n", `error 10: the key "replicas" is there twice, first in line 9`},
		{"key", on + "spec:\n  [a]: 1\n", `error 9: a key is a mapping or a list: it must be a word`},
		{"not a number", on + "spec:\n  replicas: .inf\n", `error 9: .inf is no number that a manifest can have`},
		{"no command", strings.Replace(on, "    sluice/LocalCommand: run\n", "", 1), `error 1: function f has no command for local mode: add the annotation sluice/LocalCommand`},
		{"pipe", strings.Replace(on, "run", "a | b", 1), `error 7: sluice/LocalCommand: the command needs a shell`},
		{"URL", strings.Replace(on, "LocalCommand: run", "LocalURL: https://a:1", 1), `error 7: sluice/LocalURL: "https://a:1" is no address of a running function: it must be http://host:port`},
		{"zero byte", strings.Replace(on, "run", `"run \0"`, 1), `error 1: function f has a zero byte in its command or its env: remove it`},
	} {
		workloads, notices := load(t, c.content)
		if len(workloads) != 0 || len(notices) != 1 || !strings.HasPrefix(notices[0], c.want) {
			t.Errorf("%s: %d workloads, notices\n  %s\nwant\n  %s", c.name, len(workloads), strings.Join(notices, "\n  "), c.want)
		}
	}
}

func TestEveryWrongValueOfADocumentIsTold(t *testing.T) {
	_, notices := load(t, head+"  annotations: {sluice/Function: \"true\"}\n  labels:\n    a: 1\n    b: 1\nspec:\n  replcas: 2\n  paused: maybe\n")
	requireNotices(t, notices,
		`error 7: metadata.labels.a: 1 must be a string: put it in quotes`,
		`error 8: metadata.labels.b: 1 must be a string: put it in quotes`,
		`error 10: spec.replcas: there is no such field, did you mean replicas?`,
		`error 11: spec.paused: "maybe" must be true or false`)
}

// What is wrong but harmless is warned of, and the function is there.
func TestWarnings(t *testing.T) {
	inContainer := "spec:\n  template:\n    spec:\n      containers:\n      - name: c\n"
	for _, c := range []struct{ name, content, want string }{
		{"annotation", strings.Replace(on, "    sluice/Local", "    sluice/ReplicasMin: \"-1\"\n    sluice/Local", 1), `warn 7: annotation sluice/ReplicasMin: "-1" is not a whole number from 0 to 10000; the default 0 holds`},
		{"template", on + "spec:\n  template:\n    metadata:\n      annotations:\n        SlimFaas/Replicasmin: x", `warn 12: annotation SlimFaas/Replicasmin: "x" is ignored: the key is unknown, did you mean SlimFaas/ReplicasMin?`},
		{"port", strings.Replace(on, "    sluice/Local", "    sluice/Port: web\n    sluice/Local", 1), `warn 7: annotation sluice/Port: "web" is neither a number from 1 to 65535 nor the name of a port of the pod; the first containerPort holds`},
		{"grace", on + "spec: {template: {spec: {terminationGracePeriodSeconds: -1}}}", `warn 8: spec.template.spec.terminationGracePeriodSeconds: -1 is not a whole number from 0 to 86400; the default 30 holds`},
		{"exec probe", on + inContainer + "        readinessProbe: {exec: {command: [x]}}", `warn 13: spec.template.spec.containers[0].readinessProbe.exec: a command cannot be a probe in local mode`},
		{"gRPC probe", on + inContainer + "        readinessProbe: {grpc: {port: 1}}", `warn 13: spec.template.spec.containers[0].readinessProbe.grpc: gRPC cannot be a probe in local mode`},
		{"probe number", on + inContainer + "        readinessProbe: {tcpSocket: {port: 1}, periodSeconds: -5}", `warn 13: spec.template.spec.containers[0].readinessProbe.periodSeconds: -5 is not a whole number from 1 to 3600; the default holds`},
		{"variable", on + inContainer + "        env: [{name: A=B, value: x}]", `warn 13: spec.template.spec.containers[0].env[0]: "A=B" is no name for a variable; it is passed over`},
	} {
		workloads, notices := load(t, c.content)
		if len(workloads) != 1 || len(notices) != 1 || !strings.HasPrefix(notices[0], c.want) {
			t.Errorf("%s: %d workloads, notices\n  %s\nwant\n  %s", c.name, len(workloads), strings.Join(notices, "\n  "), c.want)
		}
	}
}

func TestWhatIsNoFunctionIsPassedOver(t *testing.T) {
	_, notices := load(t, head+`  annotations: {sluice/Functio: "true", other: x}`)
	requireNotices(t, notices,
		`warn 5: annotation sluice/Functio: "true" is ignored: the key is unknown, did you mean sluice/Function?`,
		`info 1: Deployment/f is passed over: it has no annotation sluice/Function: "true"`)
	_, notices = load(t, "# nothing\n---\n---\n~\n")
	requireNotices(t, notices)
}

func TestAnchorsAndMergeKeys(t *testing.T) {
	workloads, notices := load(t, `apiVersion: apps/v1
kind: Deployment
metadata:
  name: f
  labels: &labels {app: f}
  annotations:
    <<: [*labels, {app: other, sluice/LocalCommand: "no"}]
    sluice/Function: "true"
    sluice/LocalCommand: run it
spec: {selector: {matchLabels: *labels}, template: {metadata: {labels: *labels}}}
`)
	requireNotices(t, notices)
	if len(workloads) != 1 || strings.Join(workloads[0].Command, " ") != "run it" {
		t.Errorf("got %+v", workloads)
	}
}

// A few hundred bytes must not become gigabytes, nor a deep or large file take the program down.
func TestBombs(t *testing.T) {
	bomb := "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
	for i := range 9 {
		previous := strings.Repeat(",*a"+string(rune('0'+i)), 10)[1:]
		bomb += "a" + string(rune('1'+i)) + ": &a" + string(rune('1'+i)) + " [" + previous + "]\n"
	}
	references := on + "spec:\n  template:\n    spec:\n      containers:\n      - env:\n        - {name: V0, value: xxxxxxxxxxxxxxxx}\n"
	for i := range 60 {
		references += "        - {name: V" + string(rune('A'+i)) + ", value: $(V0)$(V0)}\n        - {name: V0, value: $(V" + string(rune('A'+i)) + ")$(V" + string(rune('A'+i)) + ")}\n"
	}
	for name, content := range map[string]string{
		"aliases":    bomb,
		"cycle":      "a: &a [*a]\n",
		"merge":      "a: &a {<<: *a}\n",
		"deep":       strings.Repeat("[", 5000) + strings.Repeat("]", 5000),
		"deeper":     strings.Repeat("{a: ", 200_000),
		"huge":       "a: " + strings.Repeat("x", maxManifestSize),
		"references": references,
		"wide":       on + "spec:\n  replicas: x\n  template:\n    spec:\n      containers:\n" + strings.Repeat("      - {name: 1}\n", 50_000),
	} {
		start := time.Now()
		workloads, notices := load(t, content)
		if len(workloads) != 0 || len(notices) == 0 || !strings.HasPrefix(notices[0], "error ") {
			t.Errorf("%s: %d workloads, notices %v", name, len(workloads), notices)
		}
		if took := time.Since(start); took > time.Minute { // far less than gigabytes take
			t.Errorf("%s took %v", name, took)
		}
	}
}

func TestManifestThatIsNoFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "closed.yaml")
	if err := os.Symlink("/dev/zero", path); err != nil {
		t.Fatal(err)
	}
	_, notices, err := LoadManifests([]string{path})
	if err != nil || len(notices) != 1 || notices[0].String() != path+": a manifest is a regular file that can be read" {
		t.Errorf("got %v, %v", notices, err)
	}
}
