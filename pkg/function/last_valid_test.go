package function_test

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/sluicefaas/sluice/pkg/function"
)

// readAfter reads the annotations of a function that was last until then.
func readAfter(last function.Function, annotations map[string]string) (function.Function, []function.Problem) {
	f, _, problems := function.FromAnnotations("f", function.KindDeployment, function.Annotations{Workload: annotations}, &last)
	return f, problems
}

// TestInvalidValueKeepsTheLastValidOne: of each annotation, a valid value, then an invalid one.
func TestInvalidValueKeepsTheLastValidOne(t *testing.T) {
	for _, c := range []struct{ key, valid, invalid, want string }{
		{"ReplicasMin", "3", "many", `"many" is not a whole number from 0 to 10000; the last valid value 3 holds`},
		{"ReplicasMin", "0", "-1", `"-1" is not a whole number from 0 to 10000; the default 0 holds`},
		{"NumberParallelRequestPerPod", "7", "0", `"0" is not a whole number from 1 to 100000; the last valid value 7 holds`},
		{"DefaultVisibility", "Private", "Secret", `"Secret" is neither "Public" nor "Private"; the last valid value Private holds`},
		{"DefaultTrust", "false", "no", `"no" is neither "Trusted" nor "Untrusted"; the last valid value Untrusted holds`},
		{"ReplicasStartAsSoonAsOneFunctionRetrieveARequest", "true", "", `"" is neither "true" nor "false"; the last valid value true holds`},
		{"Protocol", "kubernetes.io/h2c", "grpc", `"grpc" is neither "http" nor "h2c"; the last valid value h2c holds`},
		{"DependsOn", "a,b", "a,B", `"B" is no name of a workload: it must have 1 to 63 characters, of a-z, 0-9 and '-', with a letter or digit at both ends; the last valid list holds`},
		{"PathsStartWithVisibility", "Private:/a", "Publik:/b", `"Publik:/b" begins with neither "Public:" nor "Private:"; the last valid list holds`},
		{"SubscribeEvents", "a", "a b", `"a b" is no event: it must have 1 to 63 characters, of letters, digits, '-' and '_'; the last valid list holds`},
		{"Schedule", `{"TimeZoneID":"UTC"}`, `{"TimeZoneID":"UTC+1"}`,
			`"{\"TimeZoneID\":\"UTC+1\"}" cannot be kept to: time zone "UTC+1" is not in the IANA database, whose names are such as Europe/Paris; the last valid annotation holds`},
		{"Scale", `{"Triggers":[{"MetricName":"queue_depth","Threshold":1}]}`, `{"ReplicaMax":"ten"}`,
			`"\"ten\"" at ReplicaMax is not a whole number from 1 to 10000; the last valid annotation holds`},
		{"Configuration", `{"DefaultSync":{"HttpTimeout":5}}`, `{`, `"{" is no valid JSON; the last valid values hold`},
		{"Configuration", `{"DefaultSync":{"HttpTimeout":5}}`, `{"DefaultSync":{"HttpTimeout":0}}`,
			`"0" at DefaultSync.HttpTimeout is not a whole number from 1 to 86400; the last valid value 5 holds`},
		{"Configuration", `{"DefaultAsync":{"TimeoutRetries":[1]}}`, `{"DefaultAsync":7}`, `"7" at DefaultAsync is not a JSON object; the last valid values hold`},
	} {
		valid, problems := read(on("sluice/"+c.key, c.valid))
		requireProblems(t, c.valid, problems)
		got, problems := readAfter(valid, on("sluice/"+c.key, c.invalid))
		if !equal(got, valid) {
			t.Errorf("%s: after %s, %s leaves %+v", c.key, c.valid, c.invalid, got)
		}
		requireProblems(t, c.invalid, problems, c.want)
		removed, problems := readAfter(got, on())
		if !equal(removed, function.Defaults("f", function.KindDeployment)) || len(problems) > 0 {
			t.Errorf("%s: removed, it leaves %+v, %v", c.key, removed, problems)
		}
	}
}

// TestConfigurationKeepsPartByPart: the parts that are right are taken, those that are not there are the default.
func TestConfigurationKeepsPartByPart(t *testing.T) {
	last, _ := read(on("sluice/Configuration", `{"DefaultSync":{"HttpTimeout":5},"DefaultAsync":{"HttpTimeout":6,"TimeoutRetries":[1]},"DefaultPublish":{"HttpTimeout":7}}`))
	got, problems := readAfter(last, on("sluice/Configuration", `{"DefaultAsync":{"HttpTimeout":8,"TimeoutRetries":1},"DefaultPublish":{}}`))
	want := function.Defaults("f", function.KindDeployment)
	want.Configuration.DefaultAsync.HTTPTimeout, want.Configuration.DefaultAsync.TimeoutRetries = 8, []int{1}
	if !equal(got, want) {
		t.Errorf("got %+v", got.Configuration)
	}
	requireProblems(t, "parts", problems, `"1" at DefaultAsync.TimeoutRetries is not a list of at most 100 whole numbers from 0 to 86400; the last valid value [1] holds`)
}

// samples are values, valid and not, of every annotation that a specification is made of.
var samples = map[string][]string{
	"ReplicasMin":                                      {"0", "3", "x", "-1"},
	"ReplicasAtStart":                                  {"2", "0"},
	"TimeoutSecondBeforeSetReplicasMin":                {"20", "soon"},
	"NumberParallelRequest":                            {"40", ""},
	"NumberParallelRequestPerPod":                      {"4", "0"},
	"ReplicasStartAsSoonAsOneFunctionRetrieveARequest": {"true", "yes"},
	"DependsOn":                                        {"a,b", "a,B", "f", `["c"]`, `[`, "A"},
	"DefaultVisibility":                                {"Private", "public", "none"},
	"DefaultTrust":                                     {"Untrusted", "x"},
	"DefaultTrusted":                                   {"false", "x"},
	"Protocol":                                         {"h2c", "http", "x"},
	"PathsStartWithVisibility":                         {"Private:/a", "Privat:/a,Public:/b", "Private:", `[1]`},
	"SubscribeEvents":                                  {"a,Private:b", "x:a,b", "a.b", `["c"]`},
	"Schedule": {`{"Culture":"de-DE","Default":{"WakeUp":["07:00"]}}`, `{"TimeZoneID":"Mars"}`, `{"Default":{"WakeUp":["7"]}}`, `{}`, `[`,
		`{"TimeZoneID":"UTC","Default":{"ScaleDownTimeout":[{"Time":"00:00","Value":1}]}}`},
	"Scale": {`{"Triggers":[{"MetricName":"queue_age","Threshold":2}]}`, `{"ReplicaMax":0,"Triggers":[{"Query":"x","Threshold":2}]}`, `{}`, `3`,
		`{"ReplicaMax":1,"Triggers":[{"Query":"slimfaas_function_queue_ready_items","Threshold":2}],"Other":1}`},
	"Configuration": {`{"DefaultSync":{"HttpTimeout":5}}`, `{"DefaultAsync":{"HttpTimeout":0,"TimeoutRetries":[9]}}`, `{"DefaultAsync":[]}`, `{`,
		`{"DefaultPublish":{"HttpStatusRetries":[404],"TimeoutRetries":[-1],"HttpTimeout":9}}`},
}

func randomAnnotations(random *rand.Rand) map[string]string {
	annotations := on()
	for key, values := range samples {
		if i := random.IntN(2 * len(values)); i < len(values) {
			annotations["sluice/"+key] = values[i]
		}
	}
	return annotations
}

// TestReadingTwiceIsAFixedPoint: with its own answer as last, a reading answers the same, sentences too, whatever was before.
func TestReadingTwiceIsAFixedPoint(t *testing.T) {
	for seed := range uint64(700) {
		random := rand.New(rand.NewPCG(seed, 7))
		before, _ := read(randomAnnotations(random))
		annotations := randomAnnotations(random)
		for _, last := range []*function.Function{nil, &before} {
			requireFixedPoint(t, annotations, last)
		}
	}
}

func requireFixedPoint(t *testing.T, annotations map[string]string, last *function.Function) {
	t.Helper()
	all := function.Annotations{Workload: annotations}
	first, isFunction, problems := function.FromAnnotations("f", function.KindDeployment, all, last)
	if !isFunction {
		return
	}
	again, _, same := function.FromAnnotations("f", function.KindDeployment, all, &first)
	if !equal(first, again) || !reflect.DeepEqual(problems, same) {
		t.Fatalf("%v after %+v:\nfirst %+v\n%v\nthen  %+v\n%v", annotations, last, first, problems, again, same)
	}
	requireInRange(t, first)
}

// TestFunctionTravelsAsJSON: what the scaler publishes is what the others read.
func TestFunctionTravelsAsJSON(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 8))
		f, _ := read(randomAnnotations(random))
		text, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		var back function.Function
		if err := json.Unmarshal(text, &back); err != nil || !equal(f, back) {
			t.Fatalf("%s\nbecame %+v, %v", text, back, err)
		}
	}
}
