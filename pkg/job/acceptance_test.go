package job_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/job"
)

func TestEmptyBodyAsksForTheDefinitionAsItIs(t *testing.T) {
	d := fibonacci(t, "dependsOn: [mysql]\nqueueDeadlineSeconds: 5")
	for _, body := range []string{"", " \n", "{}", `{"args":null,"image":"","env":[],"resources":{},"labels":{}}`} {
		m := job.Message{Definition: "fibonacci", RunID: "r1", Requester: "10.0.0.7", Path: "/a/b", Body: []byte(body), Sequence: 7, Accepted: noon.Add(-time.Hour)}
		run := job.Accept(d, m, noon)
		want := job.Run{
			ID: "r1", Definition: "fibonacci", Generation: d.Generation, SpecHash: job.RequestHash(m), Spec: run.Spec, Request: run.Request, Container: "fibonacci", Phase: job.Queued, Reason: job.ReasonAccepted,
			Moves: []job.Move{{At: m.Accepted, Phase: job.Queued, Reason: job.ReasonAccepted}}, Attempt: 1, TTL: run.TTL, QueueDeadline: 5, StartDeadline: 600,
			DependsOn: []string{"mysql"}, Logs: job.Logs{Save: "Always", TailLines: 10000, MaxBytes: 10485760}, Requester: "10.0.0.7", Path: "/a/b", Sequence: 7, QueuedAt: m.Accepted, UpdatedAt: m.Accepted,
		}
		if fmt.Sprintf("%+v", run) != fmt.Sprintf("%+v", want) {
			t.Fatalf("%q: %+v\nwant %+v", body, run, want)
		}
		if run.TTL == nil || *run.TTL != 60 {
			t.Errorf("the TTL is %v, want 60", run.TTL)
		}
		// Nothing but the TTL is missing, and numbers that Go has no type for are as they were.
		if got := strings.ReplaceAll(string(run.Spec), `"futureField":{"deep":12345678901234567890}`, "!"); !strings.Contains(got, "!") || strings.Contains(got, "ttlSeconds") {
			t.Errorf("the Job is %s", run.Spec)
		}
		requireAt(t, run.Spec, "metadata", `{"annotations":{"note":"kept"},"labels":{"team":"math"}}`)
		requireAt(t, run.Spec, main+"args", `["10"]`)
	}
}

func TestQueuedAtIsNowForAMessageWithoutATime(t *testing.T) {
	if run := ask(fibonacci(t, ""), ""); !run.QueuedAt.Equal(noon) || !run.Moves[0].At.Equal(noon) {
		t.Errorf("queued at %v, moves %v", run.QueuedAt, run.Moves)
	}
}

func TestRequestChangesItsContainerAlone(t *testing.T) {
	d := fibonacci(t, "overrides: {allow: [args, command, env, image, labels, backoffLimit, ttlSecondsAfterFinished, restartPolicy, activeDeadlineSeconds, dependsOn], images: ['example/*']}")
	run := requireQueued(t, d, `{"ARGS":["42","$(A); rm -rf /"],"Command":["/bin/fib"],"Environments":[{"Name":"B","Value":"b"},{"Name":"C","Value":""}],"Image":"example/fibonacci:2",
		"Labels":{"tenant":"x"},"BackoffLimit":3,"TtlSecondsAfterFinished":100,"RestartPolicy":"onfailure","ActiveDeadlineSeconds":9,"DependsOn":["StatefulSet/mysql","mysql","mysql"]}`)
	for path, want := range map[string]string{
		main + "args":                   `["42","$(A); rm -rf /"]`,
		main + "command":                `["/bin/fib"]`,
		main + "image":                  `"example/fibonacci:2"`,
		main + "env":                    `[{"name":"A","value":"a"},{"name":"B","value":"b"},{"name":"DB_PASSWORD","valueFrom":{"secretKeyRef":{"key":"password","name":"db"}}},{"name":"C","value":""}]`,
		pod + "containers/0":            `{"image":"example/side:1","name":"side"}`,
		pod + "initContainers":          `[{"image":"example/setup:1","name":"setup"}]`,
		pod + "restartPolicy":           `"OnFailure"`,
		"spec/backoffLimit":             "3",
		"spec/activeDeadlineSeconds":    "9",
		"metadata/labels":               `{"team":"math","tenant":"x"}`,
		"spec/template/metadata/labels": `{"app":"fibonacci","tenant":"x"}`,
	} {
		requireAt(t, run.Spec, path, want)
	}
	if *run.TTL != 100 || fmt.Sprint(run.DependsOn) != "[StatefulSet/mysql mysql]" {
		t.Errorf("TTL %d, depends on %v", *run.TTL, run.DependsOn)
	}
	run = requireQueued(t, d, `{"args":[],"dependsOn":[]}`)
	requireAt(t, run.Spec, main+"args", "")
	if len(run.DependsOn) > 0 {
		t.Errorf("depends on %v", run.DependsOn)
	}
}

func TestBodyThatIsNoJSONObject(t *testing.T) {
	for _, body := range []string{"x", "[]", `"a"`, "1", "null", "{", `{} {}`, "{\"args\":[\"\xff\"]}", `{"a":1,}`} {
		if err := job.ValidBody([]byte(body)); !errors.Is(err, job.ErrNotJSON) {
			t.Errorf("%q: %v", body, err)
		}
		requireRejected(t, fibonacci(t, ""), body, job.ReasonInvalidRequest+": "+"body: the body is no JSON object: ")
		if id := job.RequestedRunID([]byte(body)); id != "" {
			t.Errorf("%q has the run id %q", body, id)
		}
	}
	for _, body := range []string{"", "\t", "{}", `{"args":1}`} {
		if err := job.ValidBody([]byte(body)); err != nil {
			t.Errorf("%q: %v", body, err)
		}
	}
}

func TestWrongTypesAreRefusedByTheirKey(t *testing.T) {
	d := fibonacci(t, "overrides: {allow: [args, command, env, envFrom, image, labels, resources, backoffLimit, ttlSecondsAfterFinished, restartPolicy, activeDeadlineSeconds, dependsOn]}")
	for body, want := range map[string]string{
		`{"Args":"42"}`:                                        `args: "42" is no list: `,
		`{"args":["a",42]}`:                                    `args[1]: 42 is no text: write it in quotes`,
		`{"args":["a",null]}`:                                  `args[1]: null is no text`,
		`{"command":["a\u0000b"]}`:                             `command[0]: "a\u0000b" has a character NUL`,
		`{"args":["1"],"Args":["2"]}`:                          `args: ["1"] is there twice`,
		`{"image":1}`:                                          `image: 1 is no text`,
		`{"env":{"A":"1"}}`:                                    `env: {"A":"1"} is no list`,
		`{"environments":["A"]}`:                               `env[0]: "A" is no JSON object`,
		`{"env":[{"value":"1"}]}`:                              `env[0].name: "" is no name of a variable`,
		`{"env":[{"name":"A=B"}]}`:                             `env[0].name: "A=B" is no name of a variable`,
		`{"env":[{"name":"1A"}]}`:                              `env[0].name: "1A" is no name of a variable`,
		`{"env":[{"name":"A","value":1}]}`:                     `env[0].value: 1 is no text`,
		`{"env":[{"name":"A"},{"name":"A"}]}`:                  `env: "A" is there twice`,
		`{"resources":[]}`:                                     `resources: [] is no JSON object`,
		`{"resources":{"limits":{"cpu":"x"}}}`:                 `resources.limits.cpu: "x" is no quantity: `,
		`{"resources":{"limits":{"cpu":-1}}}`:                  `resources.limits.cpu: -1 is no quantity`,
		`{"dependsOn":"mysql"}`:                                `dependsOn: "mysql" is no list`,
		`{"backoffLimit":"1"}`:                                 `backoffLimit: "1" is no whole number`,
		`{"backoffLimit":-1}`:                                  `backoffLimit: -1 is no whole number`,
		`{"backoffLimit":1.5}`:                                 `backoffLimit: 1.5 is no whole number`,
		`{"ttlSecondsAfterFinished":1e99}`:                     `ttlSecondsAfterFinished: 1e99 is no whole number`,
		`{"activeDeadlineSeconds":0}`:                          `activeDeadlineSeconds: 0 is no whole number from 1`,
		`{"restartPolicy":"Always"}`:                           `restartPolicy: "Always" is none of the words that are right: Never, OnFailure`,
		`{"labels":{"a b":"c"}}`:                               `labels.a b: "c" has a key that no label can have`,
		`{"labels":{"a":"b c"}}`:                               `labels.a: "b c" is no value that a label can have`,
		`{"labels":{` + `"a":"","b":"",` + manyKeys(19) + `}}`: `labels: {"a":"",`,
		`{"env":[{"name":"A","secretRef":{"name":"s","key":"k","optional":1}}]}`: `env[0].secretRef.optional: 1 is neither true nor false`,
		`{"runId":"Not_Lower"}`:                `runId: "Not_Lower" is no id of a run: `,
		`{"template":{}}`:                      `template: {} is not supported yet`,
		`{"notBefore":"2026-01-01T00:00:00Z"}`: `notBefore: "2026-01-01T00:00:00Z" is not supported yet`,
		`{"input":"x"}`:                        `input: "x" is not supported yet`,
	} {
		requireRejected(t, d, body, job.ReasonInvalidRequest+": "+want)
	}
}

// manyKeys are entries of an object of texts.
func manyKeys(count int) string {
	var entries []string
	for i := range count {
		entries = append(entries, fmt.Sprintf(`"key%d":""`, i))
	}
	return strings.Join(entries, ",")
}

func TestUnknownKeysAreWarnings(t *testing.T) {
	run := requireQueued(t, fibonacci(t, ""), `{"Argz":["1"],"env":[{"name":"A","valeu":"1"}],"runId":"other"}`,
		"Argz: the key is unknown: known are args, command, env, image, resources, dependsOn, backoffLimit, ttlSecondsAfterFinished, restartPolicy, activeDeadlineSeconds, labels, runId; it is ignored",
		"env[0].valeu: the key is unknown: known are name, value, secretRef, configMapRef, fieldRef, resourceFieldRef, valueFrom; it is ignored",
		`runId: "other" is ignored: the run has the id r1 already`)
	requireAt(t, run.Spec, main+"args", `["10"]`)
	many := map[string]int{}
	for i := range 100 {
		many[fmt.Sprint("key", i)] = i
	}
	body, _ := json.Marshal(many)
	if got := ask(fibonacci(t, ""), string(body)).Warnings; len(got) != 21 || got[20] != "and 80 more" {
		t.Errorf("%d warnings, the last one is %q", len(got), got[len(got)-1])
	}
}

// TestOnlyWhatIsAllowed: what a definition does not name cannot be changed, and no list at all is not the same as an empty one, also after it was shared.
func TestOnlyWhatIsAllowed(t *testing.T) {
	const change = "requests of fibonacci cannot change it"
	for _, field := range []string{"command", "labels"} {
		requireRejected(t, fibonacci(t, ""), `{"`+field+`":`+map[string]string{"command": `["x"]`, "labels": `{"a":"b"}`}[field]+`}`, job.ReasonNotAllowed+": "+field+": "+change)
	}
	none := fibonacci(t, "overrides: {allow: []}")
	written, err := json.Marshal(none)
	if err != nil {
		t.Fatal(err)
	}
	var shared job.Definition
	if err := json.Unmarshal(written, &shared); err != nil {
		t.Fatal(err)
	}
	for body, field := range map[string]string{
		`{"args":[]}`: "args", `{"env":[{"name":"A"}]}`: "env", `{"image":"x"}`: "image", `{"resources":{"limits":{"cpu":"1m"}}}`: "resources", `{"dependsOn":[]}`: "dependsOn",
		`{"backoffLimit":0}`: "backoffLimit", `{"ttlSecondsAfterFinished":1}`: "ttlSecondsAfterFinished", `{"restartPolicy":"Never"}`: "restartPolicy",
		`{"activeDeadlineSeconds":1}`: "activeDeadlineSeconds",
	} {
		requireRejected(t, shared, body, job.ReasonNotAllowed+": "+field+": ")
		if run := ask(fibonacci(t, ""), body); field != "image" && run.Phase != job.Queued {
			t.Errorf("%s is not allowed by default: %s", field, run.Message)
		}
	}
	requireQueued(t, shared, `{"image":"example/fibonacci:1","env":[],"runId":"r1"}`)
}

func TestLimitsOfNumbers(t *testing.T) {
	d := definedBy(t, "overrides: {maxTtlSecondsAfterFinished: 50, maxBackoffLimit: 2}", strings.Replace(fibonacciTemplate, `"backoffLimit":1`, `"backoffLimit":1,"activeDeadlineSeconds":30`, 1))
	requireRejected(t, d, `{"backoffLimit":3}`, job.ReasonNotAllowed+": "+"backoffLimit: 3 is above the limit of the definition: at most 2 is right")
	requireRejected(t, d, `{"activeDeadlineSeconds":31}`, job.ReasonNotAllowed+": "+"activeDeadlineSeconds: 31 is above the limit of the definition: at most 30 is right")
	// The definition's own 60 may always be asked for.
	requireRejected(t, d, `{"ttlSecondsAfterFinished":61}`, job.ReasonNotAllowed+": "+"ttlSecondsAfterFinished: 61 is above the limit of the definition: at most 60 is right")
	run := requireQueued(t, d, `{"ttlSecondsAfterFinished":60,"backoffLimit":2,"activeDeadlineSeconds":30}`)
	if *run.TTL != 60 {
		t.Errorf("TTL %d", *run.TTL)
	}
	d.Overrides.OnExceed = job.Clamp
	run = requireQueued(t, d, `{"ttlSecondsAfterFinished":61}`, "ttlSecondsAfterFinished: 61 is above the limit of the definition, 60, which holds")
	if *run.TTL != 60 {
		t.Errorf("TTL %d", *run.TTL)
	}
	without := definedBy(t, "", strings.Replace(fibonacciTemplate, `"ttlSecondsAfterFinished":60,`, "", 1))
	if run := requireQueued(t, without, ""); run.TTL != nil {
		t.Errorf("there is a TTL of %d", *run.TTL)
	}
	if run := requireQueued(t, without, `{"ttlSecondsAfterFinished":0}`); run.TTL == nil || *run.TTL != 0 {
		t.Errorf("a TTL of 0 is %v", run.TTL)
	}
}

func TestOnFailureDoesNotGoWithPolicies(t *testing.T) {
	for _, field := range []string{`"podFailurePolicy":{"rules":[]}`, `"backoffLimitPerIndex":1`} {
		d := definedBy(t, "", strings.Replace(fibonacciTemplate, `"backoffLimit":1`, `"backoffLimit":1,`+field, 1))
		requireRejected(t, d, `{"restartPolicy":"OnFailure"}`, job.ReasonNotAllowed+": "+`restartPolicy: "OnFailure" does not go with the definition's `)
		requireQueued(t, d, `{"restartPolicy":"Never"}`)
	}
}

func TestDependencies(t *testing.T) {
	d := fibonacci(t, "")
	requireQueued(t, d, `{"dependsOn":["a"`+strings.Repeat(`,"a"`, 99)+`]}`)
	requireRejected(t, d, `{"dependsOn":["a"`+strings.Repeat(`,"a"`, 100)+`]}`, job.ReasonInvalidRequest+": "+"is no list: one of at most 100 is right")
	for _, name := range []string{"", "a.b", "A", "../x", "Deployment/", "DaemonSet/x", "JobRun/1", "Deployment/a/b", "other/ns/x"} {
		requireRejected(t, d, `{"dependsOn":["mysql","`+name+`"]}`, job.ReasonInvalidDependency+": "+"dependsOn: ")
	}
}

func TestTooLarge(t *testing.T) {
	d := fibonacci(t, "overrides: {allow: [args, command, env]}")
	half := strings.Repeat("x", 64<<10)
	requireQueued(t, d, `{"args":["`+half+`"],"command":["`+half+`"]}`)
	requireRejected(t, d, `{"args":["`+half+`"],"command":["`+half+`y"]}`, job.ReasonTooLarge+": "+"args: 131073 bytes with the command are too many: at most 131072 are right")
	requireRejected(t, d, `{"env":[{"name":"A","value":"`+half+half+`"}]}`, job.ReasonTooLarge+": "+"env: 131073 bytes are too many")
	requireRejected(t, d, `{"x":"`+strings.Repeat("x", job.MaxBody)+`"}`, job.ReasonTooLarge+": "+"body: 262152 bytes are too many")
	// Each of these has six bytes in the record.
	requireRejected(t, d, `{"args":["`+strings.Repeat("<", 50<<10)+`"]}`, job.ReasonTooLarge+": "+"body: 307213 bytes are too many")
	large := definedBy(t, "", strings.Replace(fibonacciTemplate, `"kept"`, `"`+strings.Repeat("x", 200<<10)+strings.Repeat("<", 40<<10)+`"`, 1))
	requireQueued(t, large, "")
	requireRejected(t, large, `{"args":["`+half+`"],"env":[{"name":"A","value":"`+half+`"}]}`, job.ReasonTooLarge+": "+"body: with it the whole Job has ")
	m := message(d, "")
	m.Path = strings.Repeat("/", 9000)
	if run := job.Accept(d, m, noon); run.Reason != job.ReasonTooLarge || len(run.Path) > 8192 {
		t.Errorf("%s: %s", run.Reason, run.Message)
	}
}

func TestMessageThatCannotBeRun(t *testing.T) {
	d := fibonacci(t, "")
	for _, m := range []job.Message{{RunID: ""}, {RunID: "A"}, {RunID: "a.b"}, {RunID: "a", Path: "/\x00"}} {
		if run := job.Accept(d, m, noon); run.Phase != job.Rejected || run.Reason != job.ReasonInvalidRequest {
			t.Errorf("%+v: %s %s", m, run.Phase, run.Message)
		}
	}
	for _, template := range []string{"", "x", "[]", "{}", `{"spec":1}`, `{"spec":{"template":{"spec":{"containers":[]}}}}`, `{"spec":{"template":{"spec":{"containers":[1]}}}}`} {
		d.Template = json.RawMessage(template)
		if run := ask(d, ""); run.Phase != job.Rejected || !strings.HasPrefix(run.Message, "definition: fibonacci cannot be run as it is: ") {
			t.Errorf("%s: %s %s", template, run.Phase, run.Message)
		}
	}
}

// TestMainContainerOfAPod is found by its name: kubelets sort what they report, and webhooks add containers.
func TestMainContainerOfAPod(t *testing.T) {
	setup, agent, worker := job.Container{Name: "setup", Init: true}, job.Container{Name: "agent"}, job.Container{Name: "worker"}
	for name, c := range map[string]struct {
		main       string
		containers []job.Container
		want       string
	}{
		"sorted by name":          {"worker", []job.Container{setup, agent, worker}, "worker"},
		"as in the template":      {"worker", []job.Container{worker, agent}, "worker"},
		"of an earlier version":   {"", []job.Container{setup, agent, worker}, "agent"},
		"renamed by a webhook":    {"other", []job.Container{setup, agent, worker}, "agent"},
		"never an init container": {"setup", []job.Container{setup, agent}, "agent"},
		"not reported yet":        {"worker", []job.Container{setup}, ""},
		"no pod":                  {"worker", nil, ""},
	} {
		if got := (job.Run{Container: c.main}).MainContainer(job.Pod{Containers: c.containers}); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
