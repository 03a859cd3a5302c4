package job_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/sluicefaas/sluice/pkg/job"
)

func cron(annotations ...string) job.CronJob {
	c := job.CronJob{Name: "fibonacci", Annotations: map[string]string{"sluice/Job": "true"}, Suspended: true, Template: json.RawMessage(fibonacciTemplate)}
	for i := 0; i < len(annotations); i += 2 {
		c.Annotations[annotations[i]] = annotations[i+1]
	}
	return c
}

// TestDefinitionOfACronJob: the template is whole, also with what we do not know.
func TestDefinitionOfACronJob(t *testing.T) {
	for _, prefix := range []string{"sluice/", "SlimFaas/"} {
		c := cron(prefix+"DefaultVisibility", "public", prefix+"NumberParallelJob", " 2 ", prefix+"DependsOn", "fibonacci1, StatefulSet/mysql,", prefix+"JobImagesWhitelist", `["a:*", "b"]`, prefix+"LocalCommand", "x")
		delete(c.Annotations, "sluice/Job")
		c.Annotations[prefix+"Job"] = "True"
		d, ok := job.FromCronJob(c, nil)
		want := job.Definition{
			Name: "fibonacci", Source: "CronJob/fibonacci", Generation: d.Generation, Visibility: job.Public, Parallel: 2, DependsOn: []string{"fibonacci1", "StatefulSet/mysql"},
			Overrides:     job.Overrides{Images: []string{"a:*", "b"}, OnExceed: job.Reject, MaxTTL: 86400, MaxBackoffLimit: 6},
			StartDeadline: 600, Logs: job.Logs{Save: "Always", TailLines: 10000, MaxBytes: 10485760}, Container: 1,
			Template: json.RawMessage(strings.ReplaceAll(fibonacciTemplate, "\n", "")),
		}
		if !ok || fmt.Sprintf("%+v %s", d, d.Template) != fmt.Sprintf("%+v %s", want, want.Template) {
			t.Errorf("%s: %v %+v\n%s\nwant %+v", prefix, ok, d, d.Template, want)
		}
	}
}

func TestSluiceWinsOverSlimFaas(t *testing.T) {
	d, _ := job.FromCronJob(cron("SlimFaas/NumberParallelJob", "5", "sluice/NumberParallelJob", "7"), nil)
	if d.Parallel != 7 {
		t.Errorf("%d", d.Parallel)
	}
}

// TestCronJobsThatAreNoJobs are left alone; where somebody meant one, a sentence says what is missing.
func TestCronJobsThatAreNoJobs(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*job.CronJob)
		want   string
	}{
		"ordinary":      {func(c *job.CronJob) { c.Annotations = map[string]string{"other": "true"} }, ""},
		"none":          {func(c *job.CronJob) { c.Annotations = nil }, ""},
		"off":           {func(c *job.CronJob) { c.Annotations["sluice/Job"] = "FALSE" }, ""},
		"off here":      {func(c *job.CronJob) { c.Annotations = map[string]string{"sluice/Job": "false", "SlimFaas/Job": "true"} }, ""},
		"neither":       {func(c *job.CronJob) { c.Annotations["sluice/Job"] = "yes" }, `annotation sluice/Job: "yes" is neither "true" nor "false"; the CronJob is no job`},
		"mistyped":      {func(c *job.CronJob) { c.Annotations = map[string]string{"sluice/job": "true"} }, `annotation sluice/job: "true" is ignored: the key is unknown, known are Job, `},
		"name":          {func(c *job.CronJob) { c.Name = "a.b" }, `annotation sluice/Job: "true" makes no job of a CronJob with the name "a.b": it must have 1 to 63 characters`},
		"not suspended": {func(c *job.CronJob) { c.Suspended = false }, `annotation sluice/Job: "true" makes no job of a CronJob that is not suspended, because Kubernetes runs it by itself: set spec.suspend to true`},
		"template":      {func(c *job.CronJob) { c.Template = json.RawMessage(`{"spec":{}}`) }, "read the template of a job: spec.template.spec.containers is no list of containers; the CronJob is no job"},
		"large":         {func(c *job.CronJob) { c.Template = json.RawMessage(`{"x":"` + strings.Repeat("x", 256<<10) + `"}`) }, "spec.jobTemplate: 262152 bytes are too many: at most 262144 are right"},
		"selector":      {func(c *job.CronJob) { c.Template = with(`"backoffLimit":1`, `"selector":{}`) }, "spec.jobTemplate.spec.selector: it and manualSelector are refused, because each run needs labels of its own: leave them out; the CronJob is no job"},
		"manual":        {func(c *job.CronJob) { c.Template = with(`"backoffLimit":1`, `"manualSelector":true`) }, "spec.jobTemplate.spec.selector: "},
	} {
		one := cron()
		c.change(&one)
		d, ok := job.FromCronJob(one, nil)
		said := strings.Join(append(d.Problems, d.Refused), "\n")
		if ok || (c.want == "") != (strings.TrimSpace(said) == "") || !strings.Contains(said, c.want) || d.Name != one.Name || d.Template != nil {
			t.Errorf("%s: %v %q, want %s", name, ok, said, c.want)
		}
		if refused := c.want != "" && name != "mistyped" && name != "name"; refused != (d.Refused != "") || refused && len(d.Problems) > 0 {
			t.Errorf("%s: %q is refused, with %q", name, d.Refused, d.Problems)
		}
	}
}

func with(old, replaced string) json.RawMessage {
	return json.RawMessage(strings.Replace(fibonacciTemplate, old, replaced, 1))
}

// TestWrongAnnotationsKeepTheLastValidOnes: and the default where there was none.
func TestWrongAnnotationsKeepTheLastValidOnes(t *testing.T) {
	last, ok := job.FromCronJob(cron("sluice/DefaultVisibility", "Public", "sluice/NumberParallelJob", "3", "sluice/DependsOn", "a", "sluice/JobImagesWhitelist", "x:*"), nil)
	if !ok || len(last.Problems) > 0 {
		t.Fatal(last.Problems)
	}
	for key, c := range map[string]struct{ wrong, want, first string }{
		"DefaultVisibility":  {"Secret", `"Secret" is neither "Public" nor "Private"; the last valid value holds, or the default`, `the last valid value holds, or the default`},
		"NumberParallelJob":  {"0", `"0" is not a whole number from 1 to 100000; the last valid value holds, or the default`, `or the default`},
		"DependsOn":          {"b,B", `"B" is no workload that a job can wait for: the name of a Deployment or StatefulSet is right, as in mysql or StatefulSet/mysql; the last valid list holds, or the others do`, "the last valid list"},
		"JobImagesWhitelist": {`["x:*",1]`, `"[\"x:*\",1]" is neither a list with commas nor a JSON array of texts, of at most 100; the last valid value holds, or the default`, "or the default"},
	} {
		one := cron("sluice/DefaultVisibility", "Public", "sluice/NumberParallelJob", "3", "sluice/DependsOn", "a", "sluice/JobImagesWhitelist", "x:*")
		one.Annotations["sluice/"+key] = c.wrong
		got, ok := job.FromCronJob(one, &last)
		if !ok || got.Generation != last.Generation || len(got.Problems) != 1 || got.Problems[0] != "annotation sluice/"+key+": "+c.want {
			t.Errorf("%s: %+v\n%q", key, got, got.Problems)
		}
		first, ok := job.FromCronJob(cron("sluice/"+key, c.wrong), nil)
		if !ok || len(first.Problems) != 1 || !strings.Contains(first.Problems[0], c.first) {
			t.Errorf("%s: %+v", key, first)
		}
	}
	if right, ok := job.FromCronJob(cron("sluice/DependsOn", "b"), &last); !ok || fmt.Sprint(right.DependsOn) != "[b]" || len(right.Problems) > 0 {
		t.Errorf("%v %+v", ok, right)
	}
	for name, template := range map[string]json.RawMessage{"selector": with(`"backoffLimit":1`, `"selector":{}`), "no template": nil} {
		one := cron()
		one.Template = template
		got, ok := job.FromCronJob(one, &last)
		if !ok || string(got.Template) != string(last.Template) || got.Container != 1 || !strings.HasSuffix(got.Problems[0], "; the last valid template holds") {
			t.Errorf("%s: %v %+v", name, ok, got.Problems)
		}
	}
}

func TestSchedulesComeLater(t *testing.T) {
	d, ok := job.FromCronJob(cron("SlimFaas/Schedules", `[{"Schedule":"0/2 * * * *","Args":["39"]}]`, "sluice/NumberParallelJobs", "2"), nil)
	if !ok || len(d.Problems) != 2 || !strings.Contains(d.Problems[0], "is ignored: schedules come later") || !strings.Contains(d.Problems[1], "annotation sluice/NumberParallelJobs: ") {
		t.Errorf("%v %q", ok, d.Problems)
	}
}

const fullPolicy = `visibility: Public
dependsOn: [mysql]
concurrency: {maxRunning: 9}
queueDeadlineSeconds: 3600
startDeadlineSeconds: 60
overrides:
  allow: [args]
  images: ["example/batch:*"]
  onExceed: clamp
  maxTtlSecondsAfterFinished: 5
  maxBackoffLimit: 0
  reservedEnv: ["DB_*"]
mainContainer: side
logs: {save: OnFailure, tailLines: 10, maxBytes: 1024}
`

func TestPolicy(t *testing.T) {
	d, ok := job.FromCronJob(cron("sluice/JobPolicy", fullPolicy, "sluice/DefaultVisibility", "Private", "sluice/NumberParallelJob", "2", "sluice/DependsOn", "x", "sluice/JobImagesWhitelist", "y"), nil)
	want := job.Definition{
		Name: "fibonacci", Source: "CronJob/fibonacci", Generation: d.Generation, Visibility: job.Public, Parallel: 9, DependsOn: []string{"mysql"}, QueueDeadline: 3600, StartDeadline: 60,
		Overrides: job.Overrides{Allow: []string{"args"}, Images: []string{"example/batch:*"}, OnExceed: job.Clamp, MaxTTL: 5, MaxBackoffLimit: 0, ReservedEnv: []string{"DB_*"}},
		Logs:      job.Logs{Save: "OnFailure", TailLines: 10, MaxBytes: 1024}, Container: 0, Template: d.Template,
	}
	if !ok || fmt.Sprintf("%+v", d) != fmt.Sprintf("%+v", want) {
		t.Errorf("%v %+v\nwant %+v", ok, d, want)
	}
	for _, empty := range []string{"", "# nothing", "{}", "---\n", "visibility:\noverrides: {allow: null}"} {
		if d, ok := job.FromCronJob(cron("sluice/JobPolicy", empty), nil); !ok || len(d.Problems) > 0 || d.StartDeadline != 600 || d.Overrides.Allow != nil {
			t.Errorf("%q: %v %+v", empty, ok, d)
		}
	}
}

// TestPolicyIsStrict: each key that is wrong is refused by its name and line.
func TestPolicyIsStrict(t *testing.T) {
	for policy, want := range map[string]string{
		"\nvisibility: Secret": `line 2: visibility: "Secret" is none of the words that are right: Public, Private`,
		"logs:\n  sav: Always": `line 2: logs.sav: the key is unknown: known are save, tailLines, maxBytes`,
		"overides: {}":         `line 1: overides: the key is unknown: known are visibility, dependsOn, concurrency, queueDeadlineSeconds, startDeadlineSeconds, overrides, mainContainer, logs`,
		"visibility: Public\noverrides:\n  allow: [args,\n    template]": `line 4: overrides.allow[1]: "template" is nothing that a request can change: right is one of args, env, `,
		"overrides: {images: [a b]}":                                     `line 1: overrides.images[0]: "a b" is no pattern for images`,
		"overrides: {images: a}":                                         `line 1: overrides.images: "a" is no list`,
		"overrides: {reservedEnv: ['=']}":                                `overrides.reservedEnv[0]: "=" is no pattern for names of variables`,
		"overrides: {onExceed: Ignore}":                                  `overrides.onExceed: "Ignore" is none of the words that are right: Reject, Clamp`,
		"overrides: {maxBackoffLimit: -1}":                               `overrides.maxBackoffLimit: -1 is no whole number from 0 to 1000000`,
		"overrides: {template: true}":                                    `overrides.template: true is not supported yet: leave it out`,
		"concurrency: {maxRunning: 0}":                                   `concurrency.maxRunning: 0 is no whole number from 1 to 100000`,
		"concurrency: {policy: Forbid}":                                  `concurrency.policy: "Forbid" is not supported yet`,
		"startDeadlineSeconds: 10m":                                      `startDeadlineSeconds: "10m" is no whole number`,
		"logs: {maxBytes: 0}":                                            `logs.maxBytes: 0 is no whole number from 1`,
		"logs: {follow: true}":                                           `logs.follow: true is not supported yet`,
		"schedules: [{schedule: '0 0 * * *'}]":                           `schedules: [{"schedule":"0 0 * * *"}] is not supported yet`,
		"perNode: {enabled: true}":                                       `perNode: {"enabled":true} is not supported yet`,
		"retry: {maxAttempts: 2}":                                        `retry: `,
		"callback: {enabled: true}":                                      `callback: `,
		"backoffLimit: 3":                                                `backoffLimit: 3 is in the wrong place: spec.jobTemplate of the CronJob is right`,
		"dependsOn: [A]":                                                 `dependsOn[0]: "A" is no workload`,
		"- visibility":                                                   `["visibility"] is no JSON object`,
		"a: b: c":                                                        `is no valid YAML: `,
		"visibility: Public\nvisibility: Private":                        `is no valid YAML: `,
		"a: &a [*a]":                                                     `is no valid YAML: `,
		"? [a]\n: b":                                                     `is no valid YAML: line 1: a key is no word`,
		"startDeadlineSeconds: .inf":                                     `is no valid YAML: line 1: .inf is no number`,
	} {
		d, ok := job.FromCronJob(cron("sluice/JobPolicy", policy), nil)
		if !ok || len(d.Problems) != 1 || !strings.Contains(d.Problems[0], want) || !strings.HasPrefix(d.Problems[0], "annotation sluice/JobPolicy: ") || !strings.HasSuffix(d.Problems[0], "; the last valid value holds, or the default") {
			t.Errorf("%s\n%v %q\nwant %s", policy, ok, d.Problems, want)
		}
	}
	d, ok := job.FromCronJob(cron("sluice/JobPolicy", "a: b\nc: d\nmainContainer: x"), nil)
	if !ok || len(d.Problems) != 3 {
		t.Errorf("%v %q", ok, d.Problems)
	}
}

func TestMainContainer(t *testing.T) {
	side, _ := job.FromCronJob(cron("sluice/JobPolicy", "mainContainer: side"), nil)
	wrong := cron("sluice/JobPolicy", "mainContainer: x")
	first, ok := job.FromCronJob(wrong, nil)
	if !ok || side.Container != 0 || first.Container != 1 || !strings.Contains(first.Problems[0], `mainContainer: "x" is no container of the template`) {
		t.Errorf("%v %d %d %q", ok, side.Container, first.Container, first.Problems)
	}
	// The last one holds by its name, wherever it is now.
	wrong.Template = json.RawMessage(strings.Replace(fibonacciTemplate, `"containers":[`, `"containers":[{"name":"new","image":"x"},`, 1))
	if again, ok := job.FromCronJob(wrong, &side); !ok || again.Container != 1 {
		t.Errorf("%v %d", ok, again.Container)
	}
	other := cron()
	other.Name = "other"
	if d, ok := job.FromCronJob(other, nil); !ok || d.Container != 0 {
		t.Errorf("%v %d", ok, d.Container)
	}
}

// TestWrongPolicyKeepsTheLastWhole: half of one could allow more than was meant.
func TestWrongPolicyKeepsTheLastWhole(t *testing.T) {
	last, _ := job.FromCronJob(cron("sluice/JobPolicy", fullPolicy), nil)
	got, ok := job.FromCronJob(cron("sluice/JobPolicy", strings.Replace(fullPolicy, "  reservedEnv", "  reserved", 1)+"visibility2: x", "sluice/NumberParallelJob", "2"), &last)
	if !ok || len(got.Problems) != 2 || got.Generation != last.Generation || got.Container != 0 {
		t.Errorf("%v %+v", ok, got)
	}
	if removed, ok := job.FromCronJob(cron(), &last); !ok || removed.Visibility != job.Private || removed.Overrides.Allow != nil || removed.Container != 1 {
		t.Errorf("%v %+v", ok, removed)
	}
}

// TestAliasesAreBounded: an anchor in an anchor grows by powers.
func TestAliasesAreBounded(t *testing.T) {
	bomb := "a: &a0 [x, x]\n"
	for i := range 6 {
		bomb += fmt.Sprintf("b%d: &a%d [%s]\n", i, i+1, strings.Repeat(fmt.Sprintf("*a%d,", i), 8))
	}
	d, ok := job.FromCronJob(cron("sluice/JobPolicy", bomb), nil)
	if !ok || !strings.Contains(d.Problems[0], "is too deep or too large") {
		t.Errorf("%v %q", ok, d.Problems)
	}
	d, ok = job.FromCronJob(cron("sluice/JobPolicy", "dependsOn: &d [mysql]\noverrides: {reservedEnv: &e [A_*], images: *d}"), nil)
	if !ok || len(d.Problems) > 0 || d.Overrides.Images[0] != "mysql" {
		t.Errorf("%v %+v", ok, d)
	}
}

func TestGenerationIsOfWhatCounts(t *testing.T) {
	base, _ := job.FromCronJob(cron(), nil)
	same := cron("sluice/Unknown", "x")
	same.Name = "other"
	same.Template = json.RawMessage(" " + fibonacciTemplate)
	if d, _ := job.FromCronJob(same, nil); d.Container != 0 && d.Generation != base.Generation {
		t.Errorf("%s and %s", d.Generation, base.Generation)
	}
	seen := map[string]bool{base.Generation: true}
	for _, annotations := range []map[string]string{{"sluice/NumberParallelJob": "2"}, {"sluice/DefaultVisibility": "Public"}, {"sluice/JobPolicy": "overrides: {allow: []}"}, {"sluice/JobPolicy": "logs: {tailLines: 1}"}} {
		c := cron()
		maps.Copy(c.Annotations, annotations)
		d, _ := job.FromCronJob(c, nil)
		if seen[d.Generation] || len(d.Generation) != 10 {
			t.Errorf("%v: %q is not new", annotations, d.Generation)
		}
		seen[d.Generation] = true
	}
}
