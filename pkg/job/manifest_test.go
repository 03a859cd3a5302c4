package job_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sluicefaas/sluice/pkg/job"
)

func manifestOf(t testing.TB, run job.Run) json.RawMessage {
	t.Helper()
	run.JobName = job.NameOf(run)
	manifest, err := job.Manifest(run, "prod")
	if err != nil {
		t.Fatal(err)
	}
	return manifest
}

func TestManifestIsTheJobWithWhatIsOurs(t *testing.T) {
	d := definedBy(t, "", strings.NewReplacer(`"team":"math"`, `"team":"math","sluice/run-id":"forged"`, `"note":"kept"`, `"note":"kept","sluice/run":"forged","sluice/held":"true","sluice/resumed":"true"`).Replace(fibonacciTemplate))
	m := message(d, `{"args":["42"]}`)
	m.Path, m.Requester = "/a b", "10.0.0.7"
	run := job.Accept(d, m, noon)
	manifest := manifestOf(t, run)
	for path, want := range map[string]string{
		"apiVersion": `"batch/v1"`, "kind": `"Job"`, "metadata/name": `"` + job.NameOf(run) + `"`, "metadata/namespace": `"prod"`,
		"metadata/labels":               `{"app.kubernetes.io/managed-by":"sluice","sluice/attempt":"1","sluice/definition":"fibonacci","sluice/run-id":"r1","team":"math"}`,
		"spec/template/metadata/labels": `{"app":"fibonacci","app.kubernetes.io/managed-by":"sluice","sluice/attempt":"1","sluice/definition":"fibonacci","sluice/run-id":"r1"}`,
		"metadata/annotations/note":     `"kept"`,
		"metadata/annotations/sluice/x": "",
		"spec/suspend":                  "true",
		"spec/ttlSecondsAfterFinished":  "",
		"spec/backoffLimit":             "1",
		main + "args":                   `["42"]`,
		pod + "restartPolicy":           `"Never"`,
	} {
		requireAt(t, manifest, path, want)
	}
	annotations := annotationsOf(t, manifest)
	if annotations["sluice/spec-hash"] != run.SpecHash || annotations["sluice/held"] != "" || annotations["sluice/resumed"] != "" {
		t.Errorf("the annotations are %v", annotations)
	}
	var seed job.Run
	if err := json.Unmarshal([]byte(annotations["sluice/run"]), &seed); err != nil {
		t.Fatal(err)
	}
	if seed.ID != "r1" || seed.Spec != nil || seed.Request != nil || seed.Path != "/a b" || *seed.TTL != 60 || !seed.QueuedAt.Equal(noon) || len(seed.Moves) != 1 {
		t.Errorf("the seed is %+v", seed)
	}
}

// TestManifestGivesTheEnvironment: to every container, before its own; what is reserved replaces what the template says, and NODE_NAME does not.
func TestManifestGivesTheEnvironment(t *testing.T) {
	template := strings.Replace(fibonacciTemplate, `{"name":"setup","image":"example/setup:1"}`, `{"name":"setup","image":"example/setup:1","env":[{"name":"JOB_NAME","value":"forged"},{"name":"NODE_NAME","value":"mine"},{"name":"JOB_EXTRA","value":"$(JOB_RUN_ID)"}]}`, 1)
	m := message(definedBy(t, "", template), "")
	m.Path = "/p"
	run := job.Accept(definedBy(t, "", template), m, noon)
	manifest := manifestOf(t, run)
	given := `{"name":"JOB_NAME","value":"` + job.NameOf(run) + `"},{"name":"JOB_RUN_ID","value":"r1"},{"name":"JOB_ATTEMPT","value":"1"},{"name":"JOB_NAMESPACE","value":"prod"},{"name":"JOB_DEFINITION","value":"fibonacci"},{"name":"JOB_PATH","value":"/p"}`
	const node = `,{"name":"NODE_NAME","valueFrom":{"fieldRef":{"fieldPath":"spec.nodeName"}}}`
	for path, want := range map[string]string{
		pod + "initContainers/0/env": `[` + given + `,{"name":"NODE_NAME","value":"mine"},{"name":"JOB_EXTRA","value":"$(JOB_RUN_ID)"}]`,
		pod + "containers/0/env":     `[` + given + node + `]`,
		main + "env":                 `[` + given + node + `,{"name":"A","value":"a"},{"name":"B","value":"$(A)"},{"name":"DB_PASSWORD","valueFrom":{"secretKeyRef":{"key":"password","name":"db"}}}]`,
	} {
		requireAt(t, manifest, path, want)
	}
}

// TestRow06NoTokenUnlessItIsUsed: tokens mounted into every pod.
func TestRow06NoTokenUnlessItIsUsed(t *testing.T) {
	for set, want := range map[string]string{
		"":                                     "false",
		`"automountServiceAccountToken":true,`: "true",
		`"automountServiceAccountToken":null,`: "false",
		`"serviceAccountName":"builder",`:      "",
		`"serviceAccount":"builder",`:          "",
		`"serviceAccountName":"",`:             "false",
	} {
		d := definedBy(t, "", strings.Replace(fibonacciTemplate, `"restartPolicy":"Never"`, set+`"restartPolicy":"Never"`, 1))
		requireAt(t, manifestOf(t, ask(d, "")), pod+"automountServiceAccountToken", want)
	}
}

// TestRow07ArgumentsAreAnArgv: a value put into a shell command.
func TestRow07ArgumentsAreAnArgv(t *testing.T) {
	const hostile = `["; rm -rf /","$(JOB_NAME)","a b","\"","` + "`id`" + `","","-x"]`
	d := fibonacci(t, "overrides: {allow: [args, command]}")
	manifest := manifestOf(t, requireQueued(t, d, `{"args":`+hostile+`,"command":`+hostile+`}`))
	requireAt(t, manifest, main+"args", hostile)
	requireAt(t, manifest, main+"command", hostile)
}

// TestHeldJobsAreMarked: all Jobs are created suspended, so that one whose definition is suspended needs a mark.
func TestHeldJobsAreMarked(t *testing.T) {
	for _, own := range []string{"true", "false"} {
		d := definedBy(t, "", strings.Replace(fibonacciTemplate, `"backoffLimit":1`, `"backoffLimit":1,"suspend":`+own, 1))
		manifest := manifestOf(t, ask(d, ""))
		requireAt(t, manifest, "spec/suspend", "true")
		if held := annotationsOf(t, manifest)["sluice/held"] == "true"; held != (own == "true") {
			t.Errorf("suspend %s: held is %v", own, held)
		}
	}
}

func annotationsOf(t testing.TB, manifest json.RawMessage) map[string]string {
	t.Helper()
	var object struct {
		Metadata struct{ Labels, Annotations map[string]string }
	}
	if err := json.Unmarshal(manifest, &object); err != nil {
		t.Fatal(err)
	}
	return object.Metadata.Annotations
}

// TestJobsAreRecognised: what Manifest writes is what Decide looks for.
func TestJobsAreRecognised(t *testing.T) {
	run := ask(fibonacci(t, ""), "")
	var object struct {
		Metadata struct{ Labels, Annotations map[string]string }
	}
	if err := json.Unmarshal(manifestOf(t, run), &object); err != nil {
		t.Fatal(err)
	}
	var o job.Object
	o.Recognise(object.Metadata.Labels, object.Metadata.Annotations)
	if !o.IsOf(run) || o.Seed == nil || o.Seed.ID != run.ID || o.Held || o.Resumed {
		t.Errorf("%+v", o)
	}
	for name, change := range map[string]func(labels, annotations map[string]string){
		"somebody else's": func(labels, _ map[string]string) { delete(labels, job.LabelManagedBy) },
		"another seed": func(_, annotations map[string]string) {
			annotations[job.AnnotationRun] = `{"runId":"r2","definition":"fibonacci"}`
		},
		"no seed": func(_, annotations map[string]string) { annotations[job.AnnotationRun] = `{` },
	} {
		labels, annotations := map[string]string{}, map[string]string{}
		for k, v := range object.Metadata.Labels {
			labels[k] = v
		}
		for k, v := range object.Metadata.Annotations {
			annotations[k] = v
		}
		change(labels, annotations)
		o := job.Object{Held: true}
		o.Recognise(labels, annotations)
		if !o.Held || o.Seed != nil || (name == "somebody else's") != (o.RunID == "") {
			t.Errorf("%s: %+v", name, o)
		}
	}
}

func TestManifestOfARecordWithoutAJob(t *testing.T) {
	for _, spec := range []string{"", "x", "{}", `{"metadata":1,"spec":{"template":{"spec":{"containers":[{}]}}}}`, `{"spec":{"template":{"metadata":1,"spec":{"containers":[{}]}}}}`, `{"spec":{"template":{"spec":{"containers":[{"env":1}]}}}}`} {
		run := job.Run{ID: "r1", Definition: "d", Spec: json.RawMessage(spec)}
		if manifest, err := job.Manifest(run, "prod"); err == nil || !strings.HasPrefix(err.Error(), "make the Job of run r1 of d: ") {
			t.Errorf("%q: %s %v", spec, manifest, err)
		}
	}
}
