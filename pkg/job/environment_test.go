package job_test

import (
	"strings"
	"testing"

	"github.com/sluicefaas/sluice/pkg/job"
)

// TestEnvironmentFromElsewhere: in Kubernetes' form and in SlimFaas's, where the definition allows it.
func TestEnvironmentFromElsewhere(t *testing.T) {
	d := fibonacci(t, "overrides: {allow: [env, envFrom], reservedEnv: [DB_*]}")
	for env, want := range map[string]string{
		`{"name":"X","valueFrom":{"secretKeyRef":{"name":"s","key":"k","optional":true}}}`:                   `{"name":"X","valueFrom":{"secretKeyRef":{"key":"k","name":"s","optional":true}}}`,
		`{"Name":"X","Value":"","SecretRef":{"Name":"s","Key":"k"}}`:                                         `{"name":"X","valueFrom":{"secretKeyRef":{"key":"k","name":"s"}}}`,
		`{"Name":"X","ConfigMapRef":{"Name":"s","Key":"k"}}`:                                                 `{"name":"X","valueFrom":{"configMapKeyRef":{"key":"k","name":"s"}}}`,
		`{"name":"X","valueFrom":{"configMapKeyRef":{"name":"s","key":"k"}}}`:                                `{"name":"X","valueFrom":{"configMapKeyRef":{"key":"k","name":"s"}}}`,
		`{"Name":"X","FieldRef":{"FieldPath":"status.podIP"}}`:                                               `{"name":"X","valueFrom":{"fieldRef":{"fieldPath":"status.podIP"}}}`,
		`{"Name":"X","FieldRef":{"FieldPath":"metadata.labels['a.b/c']"}}`:                                   `{"name":"X","valueFrom":{"fieldRef":{"fieldPath":"metadata.labels['a.b/c']"}}}`,
		`{"Name":"X","ResourceFieldRef":{"ContainerName":"","Resource":"limits.cpu","Divisor":"1m"}}`:        `{"name":"X","valueFrom":{"resourceFieldRef":{"divisor":"1m","resource":"limits.cpu"}}}`,
		`{"Name":"X","ResourceFieldRef":{"ContainerName":"side","Resource":"requests.memory","Divisor":""}}`: `{"name":"X","valueFrom":{"resourceFieldRef":{"containerName":"side","resource":"requests.memory"}}}`,
	} {
		requireAt(t, requireQueued(t, d, `{"env":[`+env+`]}`).Spec, main+"env/3", want)
	}
	for env, want := range map[string]string{
		`{"name":"X","value":"1","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}}`:       "has more than one value",
		`{"name":"X","SecretRef":{"Name":"s","Key":"k"},"ConfigMapRef":{"Name":"s","Key":"k"}}`: "has more than one value",
		`{"name":"X","SecretRef":{"Name":"s"}}`:                                                 "refers to the key",
		`{"name":"X","SecretRef":{"Name":"S_","Key":"k"}}`:                                      "is no name of a Secret or ConfigMap",
		`{"name":"X","SecretRef":{"Name":"s","Key":"a/b"}}`:                                     `refers to the key "a/b" of "s"`,
		`{"name":"X","SecretRef":{"Name":"s","Key":".."}}`:                                      `refers to the key ".." of "s"`,
		`{"name":"X","FieldRef":{"FieldPath":"spec.containers"}}`:                               "is no field that a variable can have",
		`{"name":"X","FieldRef":{}}`:                                                            "has a FieldRef without a FieldPath",
		`{"name":"X","ResourceFieldRef":{"Resource":"limits.gpu"}}`:                             `has the Resource "limits.gpu"`,
		`{"name":"X","ResourceFieldRef":{"Resource":"limits.cpu","Divisor":"1Mi"}}`:             `has the Divisor "1Mi": one of 1m, 1 is right`,
		`{"name":"X","SecretRef":{"Name":"s","Key":"*"}}`:                                       `stands for the key "*"`,
		`{"name":"X*","SecretRef":{"Name":"s","Key":"k"}}`:                                      "is no name of a variable",
		`{"name":"1*","SecretRef":{"Name":"s","Key":"*"}}`:                                      `stands for the key "*"`,
		`{"name":"X*","FieldRef":{"FieldPath":"*"}}`:                                            "is no field",
	} {
		requireRejected(t, d, `{"env":[`+env+`]}`, job.ReasonInvalidRequest+": "+want)
	}
	// A whole Secret could have a reserved name, unless its prefix says that it has not.
	for name, reserved := range map[string]bool{"*": true, "D*": true, "DB_*": true, "DB_X*": true, "APP_*": false, "JOB_*": false} {
		body := `{"Environments":[{"Name":"` + name + `","Value":"","SecretRef":{"Name":"s","Key":"*"}}]}`
		if reserved {
			requireRejected(t, d, body, job.ReasonEnvNotAllowed+": "+"is reserved")
			continue
		}
		requireAt(t, requireQueued(t, d, body).Spec, main+"envFrom", `[{"prefix":"`+strings.TrimSuffix(name, "*")+`","secretRef":{"name":"s"}}]`)
	}
}

// TestOwnSourcesCount: for Kubernetes the last source of a name counts, and it has to be the definition's.
func TestOwnSourcesCount(t *testing.T) {
	d := definedBy(t, "overrides: {allow: [env, envFrom]}", strings.Replace(fibonacciTemplate, `"args":["10"]`, `"args":["10"],"envFrom":[{"secretRef":{"name":"own"}}]`, 1))
	requireAt(t, requireQueued(t, d, `{"env":[{"name":"*","configMapRef":{"name":"theirs","key":"*"}}]}`).Spec, main+"envFrom", `[{"configMapRef":{"name":"theirs"}},{"secretRef":{"name":"own"}}]`)
}

// TestVariableStaysInItsPlace: $(A) refers to one before it, and of two with one name the last counts.
func TestVariableStaysInItsPlace(t *testing.T) {
	d := definedBy(t, "", strings.Replace(fibonacciTemplate, `{"name":"B","value":"$(A)"}`, `{"name":"A","value":"second"},{"name":"B","value":"$(A)"}`, 1))
	requireAt(t, requireQueued(t, d, `{"env":[{"name":"A","value":"mine"}]}`).Spec, main+"env",
		`[{"name":"A","value":"a"},{"name":"A","value":"mine"},{"name":"B","value":"$(A)"},{"name":"DB_PASSWORD","valueFrom":{"secretKeyRef":{"key":"password","name":"db"}}}]`)
}

func TestLabelsOfTheDefinitionStay(t *testing.T) {
	d := fibonacci(t, "overrides: {allow: [labels]}")
	for _, name := range []string{"sluice/definition", "kubernetes.io/x", "app.kubernetes.io/managed-by", "batch.kubernetes.io/job-name", "kueue.x-k8s.io/queue-name", "node.k8s.io/a", "job-name", "controller-uid"} {
		requireRejected(t, d, `{"labels":{"`+name+`":"x"}}`, job.ReasonNotAllowed+": "+`labels: "`+name+`" is reserved`)
	}
	requireRejected(t, d, `{"labels":{"app":"other"}}`, job.ReasonNotAllowed+": "+`labels: "app" is "fibonacci" in the definition: leave it out`)
	requireRejected(t, d, `{"labels":{"team":"other"}}`, job.ReasonNotAllowed+": "+`labels: "team" is "math" in the definition`)
	requireQueued(t, d, `{"labels":{"app":"fibonacci","example.com/tenant":""}}`)
	bare := definedBy(t, "overrides: {allow: [labels]}", `{"spec":{"template":{"spec":{"containers":[{"name":"a","image":"b"}]}}}}`)
	run := requireQueued(t, bare, `{"labels":{"tenant":"x"}}`)
	requireAt(t, run.Spec, "metadata/labels", `{"tenant":"x"}`)
	requireAt(t, run.Spec, "spec/template/metadata/labels", `{"tenant":"x"}`)
}
