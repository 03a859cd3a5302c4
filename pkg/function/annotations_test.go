package function_test

import (
	"strings"
	"testing"

	"github.com/sluicefaas/sluice/pkg/function"
)

// on is the annotations of a function with the pairs of key and value added.
func on(pairs ...string) map[string]string {
	annotations := map[string]string{"sluice/Function": "true"}
	for i := 0; i < len(pairs); i += 2 {
		annotations[pairs[i]] = pairs[i+1]
	}
	return annotations
}

func read(annotations map[string]string) (function.Function, []function.Problem) {
	f, _, problems := function.FromAnnotations("f", function.KindDeployment, function.Annotations{Workload: annotations}, nil)
	return f, problems
}

func TestDefaultsAreThoseOfTheContract(t *testing.T) {
	f, problems := read(on())
	if len(problems) > 0 {
		t.Fatalf("problems of a function without more annotations: %v", problems)
	}
	if f.Name != "f" || f.Kind != "Deployment" || f.ReplicasMin != 0 || f.ReplicasAtStart != 1 ||
		f.TimeoutSecondBeforeSetReplicasMin != 300 || f.NumberParallelRequest != 10 ||
		f.NumberParallelRequestPerPod != 0 || f.DefaultVisibility != function.Public || f.DefaultTrust != function.Trusted || f.WakeWithAny ||
		f.DependsOn != nil || f.Schedule != nil || f.Scale != nil || f.PathVisibility != nil || f.SubscribeEvents != nil || f.Protocol != "" {
		t.Fatalf("unexpected defaults: %+v", f)
	}
}

func TestAnnotationValues(t *testing.T) {
	f, problems := read(on("SlimFaas/ReplicasMin", " 2 ", "sluice/ReplicasAtStart", "3",
		"sluice/TimeoutSecondBeforeSetReplicasMin", "0", "SlimFaas/NumberParallelRequest", "40",
		"sluice/NumberParallelRequestPerPod", "4", "SlimFaas/DefaultVisibility", "private\n",
		"sluice/LocalCommand", "x", "SlimFaas/LocalURL", "y", "sluice/Port", "http", "other.io/ReplicasMin", "z"))
	if len(problems) > 0 {
		t.Fatalf("problems: %v", problems)
	}
	if f.ReplicasMin != 2 || f.ReplicasAtStart != 3 || f.TimeoutSecondBeforeSetReplicasMin != 0 ||
		f.NumberParallelRequest != 40 || f.NumberParallelRequestPerPod != 4 || f.DefaultVisibility != function.Private {
		t.Fatalf("values were not taken: %+v", f)
	}
}

func TestProblemsSayWhatWouldBeRight(t *testing.T) {
	for _, c := range []struct{ key, value, want string }{
		{"sluice/ReplicasMin", "-1", `annotation sluice/ReplicasMin: "-1" is not a whole number from 0 to 10000; the default 0 holds`},
		{"SlimFaas/ReplicasMin", "two", `annotation SlimFaas/ReplicasMin: "two" is not a whole number from 0 to 10000; the default 0 holds`},
		{"sluice/ReplicasAtStart", "0", `annotation sluice/ReplicasAtStart: "0" is not a whole number from 1 to 10000; the default 1 holds`},
		{"sluice/NumberParallelRequestPerPod", "", `annotation sluice/NumberParallelRequestPerPod: "" is not a whole number from 1 to 100000; there is no limit per replica`},
		{"sluice/DefaultVisibility", "Secret", `annotation sluice/DefaultVisibility: "Secret" is neither "Public" nor "Private"; the default Public holds`},
		{"SlimFaas/DefaultTrusted", "maybe", `annotation SlimFaas/DefaultTrusted: "maybe" is neither "Trusted" nor "Untrusted"; the default Trusted holds`},
		{"sluice/ReplicasStartAsSoonAsOneFunctionRetrieveARequest", "1", `annotation sluice/ReplicasStartAsSoonAsOneFunctionRetrieveARequest: "1" is neither "true" nor "false"; the default false holds`},
		{"sluice/Protocol", "h3", `annotation sluice/Protocol: "h3" is neither "http" nor "h2c"; the default http holds`},
		{"sluice/DependOn", "a", `annotation sluice/DependOn: "a" is ignored: the key is unknown, did you mean sluice/DependsOn?`},
		{"sluice/Replicasmin", "1", `annotation sluice/Replicasmin: "1" is ignored: the key is unknown, did you mean sluice/ReplicasMin?`},
		{"SlimFaas/ReplicaAtStart", "1", `annotation SlimFaas/ReplicaAtStart: "1" is ignored: the key is unknown, did you mean SlimFaas/ReplicasAtStart?`},
		{"sluice/Colour", "red", `annotation sluice/Colour: "red" is ignored: the key is unknown`},
	} {
		f, problems := read(on(c.key, c.value))
		if len(problems) != 1 || problems[0].Error() != c.want {
			t.Errorf("%s=%q: got %v\nwant %s", c.key, c.value, problems, c.want)
		}
		if want := function.Defaults("f", function.KindDeployment); !equal(f, want) {
			t.Errorf("%s=%q: the default does not hold: %+v", c.key, c.value, f)
		}
	}
}

func TestOrderOfPrefixesAndPlaces(t *testing.T) {
	places := []struct {
		key      string
		template bool
	}{{"sluice/ReplicasMin", false}, {"SlimFaas/ReplicasMin", false}, {"sluice/ReplicasMin", true}, {"SlimFaas/ReplicasMin", true}}
	for first := range places {
		workload, template := map[string]string{}, map[string]string{"SlimFaas/Function": "TRUE"}
		for i := first; i < len(places); i++ {
			target := workload
			if places[i].template {
				target = template
			}
			target[places[i].key] = string(rune('1' + i))
		}
		f, isFunction, problems := function.FromAnnotations("f", function.KindStatefulSet, function.Annotations{Workload: workload, Template: template}, nil)
		if !isFunction || len(problems) > 0 || f.ReplicasMin != first+1 {
			t.Errorf("place %d does not win: %d (%v)", first, f.ReplicasMin, problems)
		}
	}
}

func TestWhatIsAFunction(t *testing.T) {
	for _, c := range []struct {
		name, key, value string
		isFunction       bool
		problem          string
	}{
		{"f", "sluice/Function", " True ", true, ""},
		{"f", "SlimFaas/Function", "true", true, ""},
		{"f", "SlimFaas/Function", "False", false, ""},
		{"f", "SlimFaas/ReplicasMin", "1", false, ""},
		{"f", "sluice/Function", "yes", false, `"yes" is neither "true" nor "false"`},
		{"f", "sluice/function", "true", false, "did you mean sluice/Function?"},
		{"My.Func", "sluice/Function", "true", false, `"My.Func" is no name for a function: it must have 1 to 63 characters`},
	} {
		_, isFunction, problems := function.FromAnnotations(c.name, function.KindDeployment, function.Annotations{Workload: map[string]string{c.key: c.value}}, nil)
		if isFunction != c.isFunction {
			t.Errorf("%+v: isFunction is %v", c, isFunction)
		}
		if c.problem == "" && len(problems) > 0 || c.problem != "" && (len(problems) != 1 || !strings.Contains(problems[0].String(), c.problem)) {
			t.Errorf("%+v: problems %v", c, problems)
		}
	}
}

func TestProblemRepeatsNoLongValue(t *testing.T) {
	_, problems := read(on("sluice/ReplicasMin", strings.Repeat("é", 1000)))
	if len(problems) != 1 || len(problems[0].String()) > 300 {
		t.Fatalf("the sentence is as long as the value: %v", problems)
	}
}

func TestValidName(t *testing.T) {
	for _, name := range []string{"a", "fibonacci1", "0", "a-b", strings.Repeat("a", 63)} {
		if err := function.ValidName(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", "-a", "a-", "A", "a.b", "a_b", "a/b", "..", "é", "a b", "a\n", "*", ">", strings.Repeat("a", 64)} {
		if function.ValidName(name) == nil {
			t.Errorf("%q is accepted", name)
		}
	}
	want := `name "a.b" is no DNS label: it must have 1 to 63 characters, of a-z, 0-9 and '-', with a letter or digit at both ends`
	if err := function.ValidName("a.b"); err.Error() != want {
		t.Errorf("got %v", err)
	}
}
