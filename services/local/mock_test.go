package local

import (
	"slices"
	"strings"
	"testing"

	"github.com/sluicefaas/sluice/pkg/function"
)

func mocks(t *testing.T, text, template string) ([]Workload, []Notice, error) {
	t.Helper()
	var m MockFunctions
	if err := m.UnmarshalText([]byte(text)); err != nil {
		return nil, nil, err
	}
	return m.workloads(template, "demo")
}

func TestMockFunctions(t *testing.T) {
	t.Parallel()
	const text = `{"functions":[
		{"Name":"fibonacci","NumberParallelRequest":1},
		{"name":"second","numberparallelrequest":"2","dependson":["fibonacci"],"DEFAULTVISIBILITY":"Private","configuration":{"DefaultSync":{"HttpTimeout":7}},
		 "replicasStartAsSoonAsOneFunctionRetrieveARequest":true,"Port":81},
		{"Name":"own","LocalURL":"http://10.1.2.3:99/","ReplicasMin":-1,"Colour":"blue"}],
		"Slimfaas":[{"Name":"slimfaas-1"}],"Extra":1}`
	if _, _, err := mocks(t, text, "http://{function_name}.{namespace}:8{pod_port}"); err == nil {
		t.Error("a function without a port was given one")
	}
	workloads, notices, err := mocks(t, text, "http://{function_name}.{namespace}:8080")
	if err != nil || len(workloads) != 3 {
		t.Fatal(workloads, err)
	}
	first, second, own := workloads[0], workloads[1], workloads[2]
	if first.URL != "fibonacci.demo:8080" || first.Function.NumberParallelRequest != 1 || first.Function.Kind != function.KindDeployment {
		t.Errorf("read %+v", first)
	}
	f := second.Function
	if f.NumberParallelRequest != 2 || !slices.Equal(f.DependsOn, []string{"fibonacci"}) || f.DefaultVisibility != function.Private ||
		f.Configuration.DefaultSync.HTTPTimeout != 7 || !f.WakeWithAny || second.Port != 81 {
		t.Errorf("read %+v", second)
	}
	if own.URL != "10.1.2.3:99" || len(own.Problems) != 2 {
		t.Errorf("read %+v", own)
	}
	var told []string
	for _, n := range notices {
		told = append(told, n.String())
	}
	all := strings.Join(told, "\n")
	expectContains(t, all, "--mock-functions: Extra: is ignored", "own: annotation sluice/ReplicasMin", "sluice/Colour")
	if len(notices) != 3 {
		t.Errorf("told %s", all)
	}
}

func TestMockFunctionsWithoutATemplate(t *testing.T) {
	t.Parallel()
	workloads, _, err := mocks(t, `{"Functions":[{"Name":"f"}]}`, "")
	if err != nil || workloads[0].URL != "f:8080" {
		t.Errorf("%v %v", workloads, err)
	}
	if none, _, err := mocks(t, " ", ""); err != nil || len(none) != 0 {
		t.Errorf("%v %v", none, err)
	}
}

func TestWrongMockFunctions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, template, want string }{
		{"x", "", "is no JSON"},
		{`[]`, "", "is no JSON such as"},
		{`{"Functions":{}}`, "", "Functions must be a list"},
		{`{"Functions":[{}]}`, "", "Functions[0]: Name is missing"},
		{`{"Functions":[{"Name":7}]}`, "", "Functions[0]: Name is 7: it must be a string"},
		{`{"Functions":[{"Name":"a.b"}]}`, "", `function "a.b" is no name for a function`},
		{`{"Functions":[{"Name":"a"},{"Name":"a"}]}`, "", `function "a" is there twice`},
		{`{"Functions":[{"Name":"a"}]}`, "http://{pod_ip}:80", "--base-function-url"},
		{`{"Functions":[{"Name":"a"}]}`, "http://{function_name}:{pod_port}", "{pod_port}"},
		{`{"Functions":[{"Name":"a","LocalURL":"https://x"}]}`, "", "without TLS"},
	} {
		_, _, err := mocks(t, c.text, c.template)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.text, err, c.want)
		}
	}
}

func FuzzMockFunctions(f *testing.F) {
	f.Add(`{"Functions":[{"Name":"fibonacci","NumberParallelRequest":1}],"Slimfaas":[{"Name":"x"}]}`, "http://{function_name}:80")
	f.Add(`{"Functions":[{"Name":"a","DependsOn":null,"Scale":{"ReplicaMax":3}}]}`, "")
	f.Fuzz(func(t *testing.T, text, template string) {
		workloads, _, err := mocks(t, text, template)
		for _, w := range workloads {
			if err != nil || w.URL == "" || w.Function.Name == "" {
				t.Errorf("%+v %v", w, err)
			}
		}
	})
}
