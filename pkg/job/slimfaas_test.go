package job_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/sluicefaas/sluice/pkg/job"
)

// slimFaas is one of the definitions in a text without a warning.
func slimFaas(t testing.TB, text, name string) job.Definition {
	t.Helper()
	definitions, warnings, err := job.FromSlimFaas(text)
	if err != nil || len(warnings) > 0 {
		t.Fatalf("%v, %q", err, warnings)
	}
	for _, d := range definitions {
		if d.Name == name {
			return d
		}
	}
	t.Fatalf("no job %s", name)
	return job.Definition{}
}

// seedConfiguration is that of SlimFaas's documents, with other spaces.
const seedConfiguration = "\ufeff{\u00a0\"Configurations\" : {\r\n\t\"fibonacci\":{ \"Image\":\"axaguildev/fibonacci-batch:latest\",\u3000\"ImagesWhitelist\":[]," + `
  "Resources": {"Requests": {"cpu": "400m", "memory": "400Mi"}, "Limits": {"cpu": "400m", "memory": "400Mi"}},
  "DependsOn": ["fibonacci1"], "Environments": [{"Name":"SPACES","Value":"a\"\\` + "\u00a0\u3000 b" + `"}], "BackoffLimit": 1, "Visibility": "Public", "NumberParallelJob": 2, "TtlSecondsAfterFinished": 36000, "RestartPolicy": "Never"
}}}`

func TestSlimFaasConfigurationAsItIs(t *testing.T) {
	d := slimFaas(t, seedConfiguration, "fibonacci")
	want := job.Definition{
		Name: "fibonacci", Source: "SLIMFAAS_JOBS_CONFIGURATION", Generation: d.Generation, Visibility: job.Public, Parallel: 2, DependsOn: []string{"fibonacci1"},
		Overrides: job.Overrides{Images: []string{}, OnExceed: job.Clamp, MaxTTL: 86400, MaxBackoffLimit: 6}, StartDeadline: 600,
		Logs:     job.Logs{Save: "Always", TailLines: 10000, MaxBytes: 10485760},
		Template: json.RawMessage(`{"spec":{"backoffLimit":1,"template":{"spec":{"containers":[{"env":[{"name":"SPACES","value":"a\"\\` + "\u00a0\u3000 b" + `"}],"image":"axaguildev/fibonacci-batch:latest","name":"fibonacci","resources":{"limits":{"cpu":"400m","memory":"400Mi"},"requests":{"cpu":"400m","memory":"400Mi"}}}],"restartPolicy":"Never"}},"ttlSecondsAfterFinished":36000}}`),
	}
	if fmt.Sprintf("%+v %s", d, d.Template) != fmt.Sprintf("%+v %s", want, want.Template) {
		t.Errorf("%+v\n%s\nwant %+v", d, d.Template, want)
	}
	run := requireQueued(t, d, `{"Args":["10"],"DependsOn":["fibonacci2"],"Resources":{"Requests":{"cpu":"200m","memory":"200Mi"},"Limits":{"cpu":"200m","memory":"200Mi"}},"BackoffLimit":1,"TtlSecondsAfterFinished":100,"RestartPolicy":"Never","Environments":[],"Image":""}`)
	if *run.TTL != 100 || run.DependsOn[0] != "fibonacci2" {
		t.Errorf("TTL %d, depends on %v", *run.TTL, run.DependsOn)
	}
	requireAt(t, run.Spec, pod+"containers/0/args", `["10"]`)
}

// TestSlimFaasDefaults: those of SlimFaas, and its job for every name.
func TestSlimFaasDefaults(t *testing.T) {
	d := slimFaas(t, `{"configurations":{"a":{"image":"x"}}}`, "a")
	if d.Visibility != job.Private || d.Parallel != 1 || d.Fallback {
		t.Errorf("%+v", d)
	}
	const template = `{"spec":{"backoffLimit":1,"template":{"spec":{"containers":[%s],"restartPolicy":"Never"}},"ttlSecondsAfterFinished":60}}`
	if want := fmt.Sprintf(template, `{"image":"x","name":"a"}`); string(d.Template) != want {
		t.Errorf("%s, want %s", d.Template, want)
	}
	const small = `{"cpu":"100m","memory":"100Mi"}`
	for _, text := range []string{`{}`, `{"Configurations":{}}`, `{"Configurations":null,"Schedules":null}`, `{"Configurations":{"Default":{}}}`, `{"Configurations":{"DEFAULT":{"Resources":null}}}`} {
		fallback := slimFaas(t, text, "default")
		if want := fmt.Sprintf(template, `{"name":"default","resources":{"limits":`+small+`,"requests":`+small+`}}`); !fallback.Fallback || fallback.Visibility != job.Private || string(fallback.Template) != want {
			t.Errorf("%s: %+v %s", text, fallback, fallback.Template)
		}
		requireRejected(t, fallback, "", job.ReasonImageNotAllowed+": "+"image: default has none of its own: no image is")
		requireRejected(t, fallback, `{"Image":"x"}`, job.ReasonImageNotAllowed+": "+`image: "x" is not allowed: no image is`)
	}
	every := slimFaas(t, `{"Configurations":{"Default":{"ImagesWhitelist":["example/*"],"Resources":{"Limits":{"cpu":"1"}}}}}`, "default")
	requireAt(t, requireQueued(t, every, `{"Image":"example/x:1","Resources":{"Limits":{"cpu":"0.5"}}}`).Spec, pod+"containers/0", `{"image":"example/x:1","name":"default","resources":{"limits":{"cpu":"0.5"}}}`)
	if definitions, warnings, err := job.FromSlimFaas(" \n"); definitions != nil || warnings != nil || err != nil {
		t.Errorf("an empty text is %v %v %v", definitions, warnings, err)
	}
}

func TestSlimFaasNames(t *testing.T) {
	definitions, warnings, err := job.FromSlimFaas(`{"Configurations":{"My_Job":{"Image":"x"},"my-job":{"Image":"y"},"a.b":{},"":{},"-x":{},"` + strings.Repeat("x", 64) + `":{},"Plain":{}}}`)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	byName := map[string]job.Definition{}
	for _, d := range definitions {
		found = append(found, d.Name+fmt.Sprint(d.Aliases))
		byName[d.Name] = d
	}
	if fmt.Sprint(found) != "[default[] my-job[my_job] plain[]]" || len(warnings) != 5 {
		t.Errorf("%v, %q", found, warnings)
	}
	for name, want := range map[string]string{"My_Job": "my-job", "my_job": "my-job", "MY-JOB": "my-job", "plain": "plain", "unknown": "default", "default": "default"} {
		if d, ok := job.Find(name, byName); !ok || d.Name != want {
			t.Errorf("%s is %s %v, want %s", name, d.Name, ok, want)
		}
	}
	if d, ok := job.Find("a.b", byName); ok {
		t.Errorf("a.b is %s", d.Name)
	}
}

func TestSlimFaasEnvironments(t *testing.T) {
	d := slimFaas(t, `{"Configurations":{"a":{"Image":"x","Environments":[{"Name":"V","Value":"1"},{"Name":"S","Value":"","SecretRef":{"Name":"s","Key":"k"}},{"Name":"C","ConfigMapRef":{"Name":"c","Key":"k"}},
		{"Name":"F","FieldRef":{"FieldPath":"metadata.namespace"}},{"Name":"R","ResourceFieldRef":{"ContainerName":"a","Resource":"limits.memory","Divisor":"1Mi"}},
		{"Name":"DB_*","Value":"","SecretRef":{"Name":"db","Key":"*"}},{"Name":"*","Value":"","ConfigMapRef":{"Name":"all","Key":"*"}},{"Name":"V","Value":"2"}]}}}`, "a")
	requireAt(t, d.Template, pod+"containers/0", `{"env":[{"name":"V","value":"2"},{"name":"S","valueFrom":{"secretKeyRef":{"key":"k","name":"s"}}},{"name":"C","valueFrom":{"configMapKeyRef":{"key":"k","name":"c"}}},`+
		`{"name":"F","valueFrom":{"fieldRef":{"fieldPath":"metadata.namespace"}}},{"name":"R","valueFrom":{"resourceFieldRef":{"containerName":"a","divisor":"1Mi","resource":"limits.memory"}}}],`+
		`"envFrom":[{"prefix":"DB_","secretRef":{"name":"db"}},{"configMapRef":{"name":"all"}}],"image":"x","name":"a"}`)
}

// TestSlimFaasWrongValues: each is named by its key, and leaves its default; the rest holds.
func TestSlimFaasWrongValues(t *testing.T) {
	for field, want := range map[string]string{
		`"Image":1`:                                "Image: 1 is no text",
		`"Image":"a b"`:                            `Image: "a b" is no reference of an image`,
		`"ImagesWhitelist":"x"`:                    `ImagesWhitelist: "x" is no list`,
		`"ImagesWhitelist":["a b"]`:                `ImagesWhitelist[0]: "a b" is no pattern for images`,
		`"Resources":{"Limits":{"cpu":"x"}}`:       `Resources.Limits.cpu: "x" is no quantity`,
		`"DependsOn":["A B"]`:                      `DependsOn[0]: "A B" is no workload`,
		`"Environments":[{"Name":"=","Value":""}]`: `Environments[0].name: "=" is no name of a variable`,
		`"BackoffLimit":"1"`:                       `BackoffLimit: "1" is no whole number`,
		`"Visibility":"Secret"`:                    `Visibility: "Secret" is none of the words that are right: Public, Private`,
		`"NumberParallelJob":0`:                    `NumberParallelJob: 0 is no whole number from 1`,
		`"TtlSecondsAfterFinished":-1`:             `TtlSecondsAfterFinished: -1 is no whole number`,
		`"RestartPolicy":"Always"`:                 `RestartPolicy: "Always" is none of the words`,
		`"Something":["arg1"]`:                     `Something: the key is unknown: known are Image, `,
	} {
		definitions, warnings, err := job.FromSlimFaas(`{"Configurations":{"a":{` + field + `}}}`)
		if err != nil || len(definitions) != 2 {
			t.Fatalf("%s: %v %v", field, err, definitions)
		}
		want = "Configurations.a." + want
		if len(warnings) != 1 || !strings.HasPrefix(warnings[0], want) || !strings.HasSuffix(warnings[0], "; it is ignored") || fmt.Sprint(definitions[0].Problems) != fmt.Sprint(warnings) {
			t.Errorf("%s: %q, %q\nwant %s", field, warnings, definitions[0].Problems, want)
		}
		standard := slimFaas(t, `{"Configurations":{"a":{}}}`, "a")
		if definitions[0].Generation != standard.Generation {
			t.Errorf("%s is not the default: %+v", field, definitions[0])
		}
	}
	_, warnings, err := job.FromSlimFaas(`{"Schedules":{"a":[{"Schedule":"0 0 * * *"}]},"Else":1}`)
	if err != nil || len(warnings) != 2 || !strings.Contains(warnings[0], "schedules come later") || !strings.HasPrefix(warnings[1], "Else: ") {
		t.Errorf("%v %q", err, warnings)
	}
}

func TestSlimFaasTextThatCannotBeRead(t *testing.T) {
	for text, want := range map[string]string{
		"{\n\"Configurations\": {} # no comment\n}": "read SLIMFAAS_JOBS_CONFIGURATION: line 2: it is no JSON: ",
		"[]":                    "read SLIMFAAS_JOBS_CONFIGURATION: [] is no JSON object",
		"{} {}":                 "line 1: it is no JSON",
		`{"Configurations":[]}`: "Configurations: [] is no JSON object",
		`{"Configurations":{},"configurations":{}}`: "configurations: {} is there twice",
	} {
		if definitions, _, err := job.FromSlimFaas(text); err == nil || !strings.Contains(err.Error(), want) || definitions != nil {
			t.Errorf("%s: %v %v, want %s", text, definitions, err, want)
		}
	}
}
