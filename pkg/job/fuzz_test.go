package job_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/sluicefaas/sluice/pkg/job"
)

// FuzzFromSlimFaas: nothing that is read panics, and every definition can be used.
func FuzzFromSlimFaas(f *testing.F) {
	f.Add(seedConfiguration)
	f.Add(`{"Configurations":{"a_b":{"Environments":[{"Name":"P_*","SecretRef":{"Name":"s","Key":"*"}},{"Name":"R","ResourceFieldRef":{"Resource":"limits.cpu"}}]},"Default":null},"Schedules":{}}`)
	f.Add(`{"Configurations":{"a":{"Image":"x","Image":"y","image":1,"Resources":{"Limits":{"cpu":"1e1000000000"}}}}}`)
	f.Add("{\"Configurations\":{\"\u2028\":{}}}\u3000")
	f.Fuzz(func(t *testing.T, text string) {
		definitions, warnings, err := job.FromSlimFaas(text)
		if err != nil && (definitions != nil || !strings.HasPrefix(err.Error(), "read SLIMFAAS_JOBS_CONFIGURATION: ")) {
			t.Fatalf("%v %v", definitions, err)
		}
		names := map[string]bool{}
		for _, d := range definitions {
			if job.ValidName(d.Name) != nil || names[d.Name] || d.Parallel < 1 || d.Overrides.OnExceed != job.Clamp || d.Generation == "" {
				t.Fatalf("%+v of %v", d, warnings)
			}
			names[d.Name] = true
			if run := ask(d, ""); run.Phase != job.Queued && run.Reason != job.ReasonImageNotAllowed && run.Reason != job.ReasonTooLarge {
				t.Fatalf("%s: %s", run.Reason, run.Message)
			}
		}
	})
}

// FuzzAccept: nothing panics, what is accepted is within the limits and changes nothing else, and the order and the case of keys do not count.
func FuzzAccept(f *testing.F) {
	for _, body := range []string{
		"", "{}", `{"ARGS":["42"],"Environments":[{"Name":"B","Value":"b"}],"Image":"example/a:2"}`,
		`{"resources":{"requests":{"cpu":"0.1","memory":"1e6"},"limits":{"cpu":"300000u","memory":419430400,"nvidia.com/gpu":1}}}`,
		`{"backoffLimit":3,"ttlSecondsAfterFinished":100,"restartPolicy":"onfailure","activeDeadlineSeconds":9,"dependsOn":["mysql","StatefulSet/x"],"labels":{"a":"b"},"runId":"r2","command":["a"]}`,
		`{"env":[{"name":"X","valueFrom":{"fieldRef":{"fieldPath":"metadata.labels['a']"}}},{"name":"P*","configMapRef":{"name":"c","key":"*"}},{"name":"JOB_X","value":"1"}],"x":{"Args":1,"args":2}}`,
	} {
		f.Add([]byte(body), "/p", true, false)
		f.Add([]byte(body), "", false, true)
	}
	all := fibonacci(f, "overrides: {allow: [args, command, env, envFrom, image, resources, dependsOn, backoffLimit, ttlSecondsAfterFinished, restartPolicy, activeDeadlineSeconds, labels], images: ['example/*'], reservedEnv: [DB_*], maxBackoffLimit: 5}")
	usual := fibonacci(f, "overrides: {images: ['example/*'], reservedEnv: [DB_*], maxBackoffLimit: 5}")
	f.Fuzz(func(t *testing.T, body []byte, path string, everything, clamp bool) {
		d := usual
		if everything {
			d = all
		}
		if clamp {
			d.Overrides.OnExceed = job.Clamp
		}
		m := job.Message{Definition: d.Name, RunID: "r1", Path: path, Body: body}
		run := job.Accept(d, m, noon)
		if run.SpecHash != job.RequestHash(m) || run.ID != "r1" || run.Definition != d.Name || len(run.Moves) != 1 {
			t.Fatalf("%+v", run)
		}
		if run.Phase == job.Rejected {
			requireSentence(t, run)
			return
		}
		requireWithinLimits(t, run, everything)
		requireNothingElse(t, d, run)
		if _, err := job.Manifest(run, "prod"); err != nil {
			t.Fatal(err)
		}
		for _, again := range rewritten(t, body) {
			m.Body = again
			if run.SpecHash != job.RequestHash(m) {
				t.Fatalf("%s\n%s are two requests", body, again)
			}
			if same := job.Accept(d, m, noon); !bytes.Equal(same.Spec, run.Spec) {
				t.Fatalf("%s\n%s are two Jobs", body, again)
			}
		}
	})
}

func requireSentence(t *testing.T, run job.Run) {
	t.Helper()
	reasons := []string{
		job.ReasonImageNotAllowed, job.ReasonResourcesExceeded, job.ReasonEnvNotAllowed, job.ReasonTooLarge, job.ReasonInvalidDependency, job.ReasonNotAllowed, job.ReasonInvalidRequest,
	}
	if !slices.Contains(reasons, run.Reason) || !strings.Contains(run.Message, ": ") || len(run.Message) > job.MaxMessage || run.Spec != nil {
		t.Fatalf("%s: %q", run.Reason, run.Message)
	}
}

type containerSpec struct {
	Name, Image string
	Args        []string
	Command     []string
	Env         []struct {
		Name      string
		ValueFrom json.RawMessage
	}
	EnvFrom   json.RawMessage
	Resources struct{ Requests, Limits map[string]resource.Quantity }
}

func requireWithinLimits(t *testing.T, run job.Run, everything bool) {
	t.Helper()
	var c containerSpec
	if err := json.Unmarshal([]byte(at(t, run.Spec, strings.TrimSuffix(main, "/"))), &c); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(c.Image, "example/") || strings.ContainsAny(c.Image, "@ ") {
		t.Fatalf("the image is %q", c.Image)
	}
	size := 0
	for _, argument := range slices.Concat(c.Args, c.Command) {
		size += len(argument)
	}
	if size > 128<<10 || !everything && len(c.Command) > 0 || len(run.Spec) > 512<<10 || len(run.Request) > job.MaxBody {
		t.Fatalf("%d bytes of arguments, command %q", size, c.Command)
	}
	for _, v := range c.Env {
		if strings.HasPrefix(v.Name, "JOB_") || !everything && v.ValueFrom != nil && v.Name != "DB_PASSWORD" || v.Name == "DB_PASSWORD" && !strings.Contains(string(v.ValueFrom), `"db"`) {
			t.Fatalf("the environment has %s %s", v.Name, v.ValueFrom)
		}
	}
	if !everything && c.EnvFrom != nil {
		t.Fatalf("the environment comes from %s", c.EnvFrom)
	}
	ceiling := map[string]resource.Quantity{"cpu": resource.MustParse("400m"), "memory": resource.MustParse("400Mi")}
	for name, limit := range c.Resources.Limits {
		most, known := ceiling[name]
		if !known || limit.Cmp(most) > 0 || limit.Sign() < 0 {
			t.Fatalf("%s is %s", name, limit.String())
		}
		if request, ok := c.Resources.Requests[name]; ok && (request.Cmp(limit) > 0 || request.Sign() < 0) {
			t.Fatalf("of %s, %s is requested and the limit is %s", name, request.String(), limit.String())
		}
	}
	if len(c.Resources.Limits) != 2 || len(c.Resources.Requests) != 2 {
		t.Fatalf("%+v", c.Resources)
	}
	var limits struct{ BackoffLimit int }
	if err := json.Unmarshal([]byte(at(t, run.Spec, "spec")), &limits); err != nil || limits.BackoffLimit > 5 || run.TTL == nil || *run.TTL > 86400 {
		t.Fatalf("%+v %v", limits, run.TTL)
	}
}

// requireNothingElse compares what a request cannot reach with the definition's own.
func requireNothingElse(t *testing.T, d job.Definition, run job.Run) {
	t.Helper()
	for _, path := range []string{"metadata/annotations", "metadata/labels/team", "spec/futureField", "spec/template/metadata/labels/app", pod + "containers/0", pod + "initContainers", main + "name"} {
		if got, want := at(t, run.Spec, path), at(t, d.Template, path); got != want {
			t.Fatalf("%s is %s, want %s", path, got, want)
		}
	}
}

// rewritten is the same body in other ways: keys in upper case and in the opposite order.
func rewritten(t *testing.T, body []byte) (bodies [][]byte) {
	t.Helper()
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var parsed map[string]any
	if err := decoder.Decode(&parsed); err != nil {
		t.Fatal(err)
	}
	for _, known := range []keys{nil, knownToRequests()} {
		var out bytes.Buffer
		backwards(t, &out, parsed, known)
		bodies = append(bodies, out.Bytes())
	}
	return bodies
}

// keys are those that may be written in any case, in lower case, with those below them.
type keys map[string]keys

func knownToRequests() keys {
	reference := keys{"name": nil, "key": nil, "optional": nil, "fieldpath": nil, "containername": nil, "resource": nil, "divisor": nil}
	variable := keys{
		"name": nil, "value": nil, "secretref": reference, "configmapref": reference, "fieldref": reference, "resourcefieldref": reference,
		"valuefrom": {"secretkeyref": reference, "configmapkeyref": reference, "fieldref": reference, "resourcefieldref": reference},
	}
	return keys{
		"args": nil, "command": nil, "env": variable, "environments": variable, "image": nil, "resources": {"requests": nil, "limits": nil}, "dependson": nil, "backofflimit": nil,
		"ttlsecondsafterfinished": nil, "restartpolicy": nil, "activedeadlineseconds": nil, "labels": nil, "runid": nil,
	}
}

// backwards writes the known keys in upper case; the others are what they are.
func backwards(t *testing.T, out *bytes.Buffer, value any, known keys) {
	switch value := value.(type) {
	case map[string]any:
		out.WriteString(" {")
		for i, name := range slices.Backward(slices.Sorted(maps.Keys(value))) {
			below, ok := known[strings.ToLower(name)]
			if ok {
				name = strings.ToUpper(name)
			}
			written, err := json.Marshal(name)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(out, "%s : ", written)
			backwards(t, out, value[slices.Sorted(maps.Keys(value))[i]], below)
			if i > 0 {
				out.WriteString(",\n")
			}
		}
		out.WriteString("}")
	case []any:
		out.WriteString("[")
		for i, item := range value {
			if i > 0 {
				out.WriteString(", ")
			}
			backwards(t, out, item, known)
		}
		out.WriteString("]")
	default:
		written, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(written)
	}
}

// FuzzFromCronJob: what stays wrong is read again as it was read.
func FuzzFromCronJob(f *testing.F) {
	f.Add("DefaultVisibility", "x", fullPolicy, fullPolicy, fibonacciTemplate)
	f.Add("DependsOn", "a,B", "mainContainer: side", "a: &a [b]\nc: *a", fibonacciTemplate)
	f.Add("JobImagesWhitelist", `["a"]`, "\t", "logs: {save: 1}", `{"spec":{"template":{"spec":{"containers":[{}]}}}}`)
	f.Fuzz(func(t *testing.T, name, value, before, policy, template string) {
		last, ok := job.FromCronJob(cron("sluice/JobPolicy", before), nil)
		if !ok {
			t.Fatalf("%q", last.Problems)
		}
		one := cron("sluice/"+name, value, "SlimFaas/JobPolicy", policy)
		one.Template = json.RawMessage(template)
		for _, last := range []*job.Definition{&last, nil} {
			d, ok := job.FromCronJob(one, last)
			if !ok {
				continue
			}
			if d.Parallel < 1 || d.Visibility != job.Public && d.Visibility != job.Private || d.Overrides.MaxTTL < 0 || d.StartDeadline < 0 || d.Logs.MaxBytes < 1 || len(d.Problems) > 21 {
				t.Fatalf("%+v", d)
			}
			again, ok := job.FromCronJob(one, &d)
			if !ok || fmt.Sprintf("%+v", again) != fmt.Sprintf("%+v", d) {
				t.Fatalf("%+v\nis then %+v", d, again)
			}
			ask(d, "")
		}
	})
}
