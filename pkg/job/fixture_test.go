package job_test

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/job"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// fibonacciTemplate has a ceiling of 400m and 400Mi.
const fibonacciTemplate = `{"metadata":{"labels":{"team":"math"},"annotations":{"note":"kept"}},"spec":{"backoffLimit":1,"ttlSecondsAfterFinished":60,"futureField":{"deep":12345678901234567890},
"template":{"metadata":{"labels":{"app":"fibonacci"}},"spec":{"restartPolicy":"Never",
"initContainers":[{"name":"setup","image":"example/setup:1"}],
"containers":[{"name":"side","image":"example/side:1"},{"name":"fibonacci","image":"example/fibonacci:1","args":["10"],
"env":[{"name":"A","value":"a"},{"name":"B","value":"$(A)"},{"name":"DB_PASSWORD","valueFrom":{"secretKeyRef":{"name":"db","key":"password"}}}],
"resources":{"requests":{"cpu":"400m","memory":"400Mi"},"limits":{"cpu":"400m","memory":"400Mi"}}}]}}}}`

func annotated(policy string) map[string]string {
	annotations := map[string]string{"sluice/Job": "true"}
	if policy != "" {
		annotations["sluice/JobPolicy"] = policy
	}
	return annotations
}

// definedBy is the definition of a CronJob with that policy and template, without a problem.
func definedBy(t testing.TB, policy, template string) job.Definition {
	t.Helper()
	d, ok := job.FromCronJob(job.CronJob{Name: "fibonacci", Annotations: annotated(policy), Suspended: true, Template: json.RawMessage(template)}, nil)
	if !ok || len(d.Problems) > 0 {
		t.Fatalf("the definition is not taken (%v): %v", ok, d.Problems)
	}
	return d
}

func fibonacci(t testing.TB, policy string) job.Definition {
	t.Helper()
	return definedBy(t, policy, fibonacciTemplate)
}

func message(d job.Definition, body string) job.Message {
	return job.Message{Definition: d.Name, RunID: "r1", Body: []byte(body)}
}

func ask(d job.Definition, body string) job.Run { return job.Accept(d, message(d, body), noon) }

// requireQueued asks for a run that is accepted.
func requireQueued(t testing.TB, d job.Definition, body string, warnings ...string) job.Run {
	t.Helper()
	run := ask(d, body)
	if run.Phase != job.Queued {
		t.Fatalf("%s: %s %s %s", body, run.Phase, run.Reason, run.Message)
	}
	if len(run.Warnings) != len(warnings) || len(warnings) > 0 && !reflect.DeepEqual(run.Warnings, warnings) {
		t.Fatalf("%s: the warnings are %q, want %q", body, run.Warnings, warnings)
	}
	return run
}

// requireRejected asks for a run that is not accepted, for a reason and with a message that has what is wanted, as in "NotAllowed: args: requests".
func requireRejected(t testing.TB, d job.Definition, body, want string) {
	t.Helper()
	run := ask(d, body)
	reason, message, _ := strings.Cut(want, ": ")
	if run.Phase != job.Rejected || run.Reason != reason || !strings.Contains(run.Message, message) {
		t.Errorf("%s: %s %s: %s\nwant %s", body, run.Phase, run.Reason, run.Message, want)
	}
	if run.Spec != nil || !run.FinishedAt.Equal(noon) {
		t.Errorf("%s: a rejected run has a Job or no end: %+v", body, run)
	}
}

// at is the value at a path such as spec.template.spec.containers.1.image, as JSON; empty if there is none.
func at(t testing.TB, document json.RawMessage, path string) string {
	t.Helper()
	var value any
	if err := json.Unmarshal(document, &value); err != nil {
		t.Fatalf("%v in %s", err, document)
	}
	for _, step := range strings.Split(path, "/") {
		switch within := value.(type) {
		case map[string]any:
			value = within[step]
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i >= len(within) {
				return ""
			}
			value = within[i]
		default:
			return ""
		}
	}
	if value == nil {
		return ""
	}
	written, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(written)
}

const (
	pod  = "spec/template/spec/"
	main = pod + "containers/1/"
)

func requireAt(t testing.TB, document json.RawMessage, path, want string) {
	t.Helper()
	if got := at(t, document, path); got != want {
		t.Errorf("%s is %s, want %s", path, got, want)
	}
}
