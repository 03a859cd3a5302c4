package job_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sluicefaas/sluice/pkg/job"
)

// TestH10OverridesThatLookSmaller: ceiling cpu 400m, memory 400Mi.
func TestH10OverridesThatLookSmaller(t *testing.T) {
	d := fibonacci(t, "overrides: {reservedEnv: [DB_*]}")
	for body, want := range map[string]string{
		`{"resources":{"requests":{"cpu":"0.5"}}}`:               `resources.requests.cpu: "0.5" is above the limit of the definition: at most 400m is right`,
		`{"resources":{"limits":{"cpu":"1"}}}`:                   `resources.limits.cpu: "1" is above the limit of the definition: at most 400m is right`,
		`{"resources":{"limits":{"cpu":1}}}`:                     `resources.limits.cpu: "1" is above the limit`,
		`{"resources":{"limits":{"cpu":"401m"}}}`:                `resources.limits.cpu: "401m" is above the limit`,
		`{"resources":{"limits":{"cpu":"400001u"}}}`:             `resources.limits.cpu: "400001u" is above the limit`,
		`{"resources":{"limits":{"memory":"1G"}}}`:               `resources.limits.memory: "1G" is above the limit of the definition: at most 400Mi is right`,
		`{"resources":{"limits":{"memory":"0.4Gi"}}}`:            `resources.limits.memory: "0.4Gi" is above the limit`, // 409.6Mi
		`{"resources":{"limits":{"memory":"419430401"}}}`:        `resources.limits.memory: "419430401" is above the limit`,
		`{"resources":{"limits":{"nvidia.com/gpu":"1"}}}`:        `resources.limits.nvidia.com/gpu: "1" is not in the definition: right is one of cpu, memory`,
		`{"resources":{"requests":{"ephemeral-storage":"1Ki"}}}`: `resources.requests.ephemeral-storage: "1Ki" is not in the definition`,
		`{"resources":{"limits":{"CPU":"1m"}}}`:                  `resources.limits.CPU: "1m" is not in the definition`,
	} {
		requireRejected(t, d, body, job.ReasonResourcesExceeded+": "+want)
	}
	for body, want := range map[string]string{
		`{"resources":{"limits":{"memory":"419430400"}}}`:                       `{"limits":{"cpu":"400m","memory":"419430400"},"requests":{"cpu":"400m","memory":"400Mi"}}`,
		`{"resources":{"limits":{"cpu":"4e-1"}}}`:                               `{"limits":{"cpu":"4e-1","memory":"400Mi"},"requests":{"cpu":"400m","memory":"400Mi"}}`,
		`{"resources":{"limits":{"cpu":0.4}}}`:                                  `{"limits":{"cpu":"0.4","memory":"400Mi"},"requests":{"cpu":"400m","memory":"400Mi"}}`,
		`{"Resources":{"Limits":{"cpu":"100m"}}}`:                               `{"limits":{"cpu":"100m","memory":"400Mi"},"requests":{"cpu":"100m","memory":"400Mi"}}`, // the request goes down with it
		`{"resources":{"requests":{"cpu":"100m"}}}`:                             `{"limits":{"cpu":"400m","memory":"400Mi"},"requests":{"cpu":"100m","memory":"400Mi"}}`,
		`{"resources":{"requests":{"cpu":"0"},"limits":{"memory":"0.25Gi"}}}`:   `{"limits":{"cpu":"400m","memory":"0.25Gi"},"requests":{"cpu":"0","memory":"0.25Gi"}}`,
		`{"resources":{"requests":{"memory":"1k"},"limits":{"memory":"1000"}}}`: `{"limits":{"cpu":"400m","memory":"1000"},"requests":{"cpu":"400m","memory":"1k"}}`,
	} {
		requireAt(t, requireQueued(t, d, body).Spec, main+"resources", want)
	}
	for body, want := range map[string]string{
		`{"resources":{"requests":{"cpu":"300m"},"limits":{"cpu":"200m"}}}`: `resources.requests.cpu: "300m" does not go with the limit 200m: at most the limit is right`,
		`{"resources":{"limits":{"cpu":"1e1000000000"}}}`:                   `resources.limits.cpu: "1e1000000000" is no quantity`, // Kubernetes' own parser would compute for ever
		`{"resources":{"limits":{"cpu":"1e99"}}}`:                           `is no quantity`,
		`{"resources":{"limits":{"cpu":"-1"}}}`:                             `is no quantity`,
		`{"resources":{"limits":{"cpu":"."}}}`:                              `is no quantity`,
		`{"resources":{"limits":{"cpu":"1.2.3"}}}`:                          `is no quantity`,
		`{"resources":{"limits":{"cpu":"1mi"}}}`:                            `is no quantity`,
	} {
		requireRejected(t, d, body, job.ReasonInvalidRequest+": "+want)
	}
	requireRejected(t, d, `{"env":[{"name":"A","valueFrom":{"secretKeyRef":{"name":"other","key":"k"}}}]}`, job.ReasonEnvNotAllowed+": "+`env: "A" is read from elsewhere, which needs envFrom in the definition's overrides.allow`)
	requireRejected(t, d, `{"Environments":[{"Name":"A","SecretRef":{"Name":"other","Key":"k"}}]}`, job.ReasonEnvNotAllowed+": "+`env: "A" is read from elsewhere`)
	requireRejected(t, d, `{"Environments":[{"Name":"*","SecretRef":{"Name":"other","Key":"*"}}]}`, job.ReasonEnvNotAllowed+": "+`is read from elsewhere`)
	requireRejected(t, d, `{"env":[{"name":"JOB_NAME","value":"x"}]}`, job.ReasonEnvNotAllowed+": "+`env: "JOB_NAME" is reserved: names that do not fit JOB_* are right`)
	requireRejected(t, d, `{"env":[{"name":"DB_PASSWORD","value":"x"}]}`, job.ReasonEnvNotAllowed+": "+`env: "DB_PASSWORD" is reserved: names that do not fit DB_* are right`)
	requireRejected(t, d, `{"template":{"spec":{"volumes":[{"name":"root","hostPath":{"path":"/"}}]}}}`, job.ReasonInvalidRequest+": "+"template: ")
	run := requireQueued(t, d, `{"initContainers":[{"name":"setup","image":"evil"}]}`, "initContainers: the key is unknown: known are args, command, env, image, resources, dependsOn, backoffLimit, "+
		"ttlSecondsAfterFinished, restartPolicy, activeDeadlineSeconds, labels, runId; it is ignored")
	requireAt(t, run.Spec, pod+"initContainers/0/image", `"example/setup:1"`)
}

// TestH10SlimFaasClamps: the same, with SlimFaas's way of taking the definition's own value.
func TestH10SlimFaasClamps(t *testing.T) {
	d := slimFaas(t, `{"Configurations":{"fibonacci":{"Image":"example/fibonacci:1","Resources":{"Requests":{"cpu":"400m","memory":"400Mi"},"Limits":{"cpu":"400m","memory":"400Mi"}}}}}`, "fibonacci")
	const ceiling = `{"cpu":"400m","memory":"400Mi"}`
	for _, c := range []struct{ body, limits, requests, warning string }{
		{`{"Resources":{"Requests":{"cpu":"1"},"Limits":{"cpu":"1"}}}`, ceiling, ceiling, `resources.requests.cpu: "1" is above the limit of the definition, 400m, which holds`},
		{`{"Resources":{"Limits":{"memory":"1G"}}}`, ceiling, ceiling, `resources.limits.memory: "1G" is above the limit of the definition, 400Mi, which holds`},
		{`{"Resources":{"Limits":{"nvidia.com/gpu":"1"}}}`, ceiling, ceiling, `resources.limits.nvidia.com/gpu: "1" is left out: the definition has no such resource`},
		{`{"Resources":{"Limits":{"cpu":"100m"}}}`, `{"cpu":"100m","memory":"400Mi"}`, `{"cpu":"100m","memory":"400Mi"}`, ""},
		{`{"Resources":{"Requests":{"cpu":"300m"},"Limits":{"cpu":"200m"}}}`, `{"cpu":"200m","memory":"400Mi"}`, `{"cpu":"200m","memory":"400Mi"}`,
			`resources.requests.cpu: "300m" does not go with the limit 200m, which holds for both`},
	} {
		run := ask(d, c.body)
		requireAt(t, run.Spec, pod+"containers/0/resources", `{"limits":`+c.limits+`,"requests":`+c.requests+`}`)
		if warnings := strings.Join(run.Warnings, " "); c.warning == "" && warnings != "" || !strings.Contains(warnings, c.warning) {
			t.Errorf("%s: the warnings are %q, want %q", c.body, run.Warnings, c.warning)
		}
	}
}

// TestWholeResources: of a GPU or a huge page there are no parts, and Kubernetes wants as many requested as is the limit.
func TestWholeResources(t *testing.T) {
	template := strings.NewReplacer(`"requests":{`, `"requests":{"nvidia.com/gpu":"4","hugepages-2Mi":"8Mi",`, `"limits":{`, `"limits":{"nvidia.com/gpu":4,"hugepages-2Mi":"8Mi",`).Replace(fibonacciTemplate)
	d := definedBy(t, "", template)
	for body, want := range map[string]string{
		`{"resources":{"requests":{"nvidia.com/gpu":"2"}}}`:                               `"2" "2"`,
		`{"resources":{"limits":{"nvidia.com/gpu":2}}}`:                                   `"2" "2"`,
		`{"resources":{"requests":{"nvidia.com/gpu":3},"limits":{"nvidia.com/gpu":"3"}}}`: `"3" "3"`,
	} {
		spec := requireQueued(t, d, body).Spec
		if got := gpus(t, spec, "requests") + " " + gpus(t, spec, "limits"); got != want {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
	}
	requireRejected(t, d, `{"resources":{"requests":{"nvidia.com/gpu":2},"limits":{"nvidia.com/gpu":3}}}`, job.ReasonInvalidRequest+": "+`resources.requests.nvidia.com/gpu: "2" does not go with the limit 3: the same amount is right`)
	requireRejected(t, d, `{"resources":{"limits":{"nvidia.com/gpu":"1500m"}}}`, job.ReasonInvalidRequest+": "+`is no multiple of 1`)
	requireRejected(t, d, `{"resources":{"limits":{"hugepages-2Mi":"3Mi"}}}`, job.ReasonInvalidRequest+": "+`is no multiple of 2Mi`)
	requireQueued(t, d, `{"resources":{"limits":{"hugepages-2Mi":"4Mi"}}}`)
}

func gpus(t *testing.T, spec json.RawMessage, kind string) string {
	var amounts map[string]json.RawMessage
	if err := json.Unmarshal([]byte(at(t, spec, main+"resources/"+kind)), &amounts); err != nil {
		t.Fatal(err)
	}
	return string(amounts["nvidia.com/gpu"])
}

// TestRequestOfWhatHasALimitAlone: Kubernetes takes the limit for a request that is not there.
func TestRequestOfWhatHasALimitAlone(t *testing.T) {
	d := definedBy(t, "", strings.Replace(fibonacciTemplate, `"requests":{"cpu":"400m","memory":"400Mi"},`, "", 1))
	requireAt(t, requireQueued(t, d, `{"resources":{"requests":{"cpu":"0.4"}}}`).Spec, main+"resources", `{"limits":{"cpu":"400m","memory":"400Mi"},"requests":{"cpu":"0.4"}}`)
	requireRejected(t, d, `{"resources":{"requests":{"cpu":"0.41"}}}`, job.ReasonResourcesExceeded+": "+"at most 400m is right")
	without := definedBy(t, "", `{"spec":{"template":{"spec":{"containers":[{"name":"a","image":"b"}]}}}}`)
	requireRejected(t, without, `{"resources":{"requests":{"cpu":"1m"}}}`, job.ReasonResourcesExceeded+": "+"none can be asked for")
}
