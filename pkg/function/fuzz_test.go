package function_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/sluicefaas/sluice/pkg/function"
)

func FuzzFromAnnotations(f *testing.F) {
	f.Add("f", "ReplicasMin", "-1", "Configuration", `{"DefaultAsync":{"TimeoutRetries":[1,2],"HttpStatusRetries":[500]}}`)
	f.Add("f", "ReplicasAtStart", "99999999999999999999", "NumberParallelRequest", "1e3")
	f.Add("a.b", "Replicas", "", "DefaultVisibility", "PRIVATE")
	f.Add("f", "Configuration", `{"DefaultSync":{"HttpTimeout":1,"httptimeout":null}}`, "TimeoutSecondBeforeSetReplicasMin", "\x00")
	f.Fuzz(func(t *testing.T, name, key, value, templateKey, templateValue string) {
		workload := map[string]string{"sluice/Function": "true", "SlimFaas/" + key: value}
		template := map[string]string{"sluice/" + templateKey: templateValue}
		got, isFunction, problems := function.FromAnnotations(name, function.KindDeployment, workload, template)
		for _, problem := range problems {
			_, own := workload[problem.Key]
			_, inherited := template[problem.Key]
			if !own && !inherited || !strings.Contains(problem.String(), problem.Key) {
				t.Fatalf("problem names no annotation: %v", problem)
			}
		}
		if isFunction {
			requireInRange(t, got)
		}
	})
}

func requireInRange(t *testing.T, f function.Function) {
	t.Helper()
	err := function.ValidName(f.Name)
	ok := err == nil && f.ReplicasMin >= 0 && f.ReplicasMin <= function.MaxReplicas && f.ReplicasAtStart >= 1 && f.ReplicasAtStart <= function.MaxReplicas &&
		f.IdleTimeout() >= 0 && f.NumberParallelRequest >= 1 && f.NumberParallelRequestPerPod >= 0 &&
		(f.DefaultVisibility == function.Public || f.DefaultVisibility == function.Private)
	for _, p := range []function.Policy{f.Configuration.DefaultSync, f.Configuration.DefaultAsync, f.Configuration.DefaultPublish} {
		ok = ok && p.Timeout() > 0 && p.HTTPTimeout <= 86400 && len(p.TimeoutRetries) <= 100 && len(p.HTTPStatusRetries) <= 100
		for _, delay := range p.TimeoutRetries {
			ok = ok && delay >= 0 && delay <= 86400
		}
		for _, status := range p.HTTPStatusRetries {
			ok = ok && status >= 400 && status <= 599
		}
	}
	if !ok {
		t.Fatalf("out of range: %+v", f)
	}
}

var label = regexp.MustCompile(`\A[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\z`)

func FuzzValidName(f *testing.F) {
	for _, name := range []string{"a", "-", "a.b", "fibonacci1", "a\n", strings.Repeat("a", 64)} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if valid := function.ValidName(name) == nil; valid != label.MatchString(name) {
			t.Fatalf("%q: valid is %v", name, valid)
		}
	})
}
