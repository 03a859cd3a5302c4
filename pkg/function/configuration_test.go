package function_test

import (
	"reflect"
	"testing"

	"github.com/sluicefaas/sluice/pkg/function"
)

func equal(a, b function.Function) bool { return reflect.DeepEqual(a, b) }

func TestConfigurationIsReadOnTopOfItsDefaults(t *testing.T) {
	f, problems := read(on("sluice/Configuration", `{"defaultsync":{"HTTPTIMEOUT":5},
		"DefaultAsync":{"TimeoutRetries":[],"HttpStatusRetries":[404, 599]},"DefaultPublish":null}`))
	if len(problems) > 0 {
		t.Fatalf("problems: %v", problems)
	}
	want := function.Configuration{
		DefaultSync:    function.Policy{HTTPTimeout: 5},
		DefaultAsync:   function.Policy{HTTPTimeout: 120, TimeoutRetries: []int{}, HTTPStatusRetries: []int{404, 599}},
		DefaultPublish: function.Policy{HTTPTimeout: 120, TimeoutRetries: []int{2, 4, 8}, HTTPStatusRetries: []int{500, 502, 503}},
	}
	if !reflect.DeepEqual(f.Configuration, want) {
		t.Fatalf("got %+v\nwant %+v", f.Configuration, want)
	}
}

func TestConfigurationProblems(t *testing.T) {
	for _, c := range []struct{ value, want string }{
		{`{"DefaultSync":`, `"{\"DefaultSync\":" is no valid JSON; the defaults hold`},
		{`[1]`, `"[1]" is not a JSON object; the defaults hold`},
		{`{"DefaultSync":3}`, `"3" at DefaultSync is not a JSON object; the defaults hold`},
		{`{"Sync":{}}`, `"Sync" is ignored: unknown key, known are DefaultSync, DefaultAsync, DefaultPublish`},
		{`{"DefaultAsync":{"Timeout":1}}`, `"DefaultAsync.Timeout" is ignored: unknown key, known are HttpTimeout, TimeoutRetries, HttpStatusRetries`},
		{`{"DefaultAsync":{"HttpTimeout":"1"}}`, `"\"1\"" at DefaultAsync.HttpTimeout is not a whole number from 1 to 86400; the default 120 holds`},
		{`{"defaultasync":{"httptimeout":0}}`, `"0" at DefaultAsync.HttpTimeout is not a whole number from 1 to 86400; the default 120 holds`},
		{`{"DefaultAsync":{"TimeoutRetries":[-1]}}`, `"[-1]" at DefaultAsync.TimeoutRetries is not a list of at most 100 whole numbers from 0 to 86400; the default [2,4,8] holds`},
		{`{"DefaultPublish":{"HttpStatusRetries":[302]}}`, `"[302]" at DefaultPublish.HttpStatusRetries is not a list of at most 100 whole numbers from 400 to 599; the default [500,502,503] holds`},
		{`{"DefaultAsync":{"TimeoutRetries":[null]}}`, `"[null]" at DefaultAsync.TimeoutRetries is not a list of at most 100 whole numbers from 0 to 86400; the default [2,4,8] holds`},
		{`{"DefaultSync":{"TimeoutRetries":[1]}}`, `"[1]" at DefaultSync.TimeoutRetries is ignored: a sync call has one attempt`},
		{`{"DefaultSync":{"HttpTimeout":120,"httpTimeout":9}}`, `"DefaultSync.httpTimeout" is ignored: HttpTimeout is there twice`},
	} {
		f, problems := read(on("SlimFaas/Configuration", c.value))
		if want := "annotation SlimFaas/Configuration: " + c.want; len(problems) != 1 || problems[0].Error() != want {
			t.Errorf("%s: got %v\nwant %s", c.value, problems, want)
		}
		if want := function.Defaults("f", function.KindDeployment); !equal(f, want) {
			t.Errorf("%s: the defaults do not hold: %+v", c.value, f.Configuration)
		}
	}
}

func TestConfigurationKeepsWhatIsRightBesideWhatIsWrong(t *testing.T) {
	f, problems := read(on("sluice/Configuration", `{"DefaultAsync":{"HttpTimeout":7,"TimeoutRetries":"often"},"x":1}`))
	if f.Configuration.DefaultAsync.HTTPTimeout != 7 || len(f.Configuration.DefaultAsync.TimeoutRetries) != 3 || len(problems) != 2 {
		t.Fatalf("got %+v, %v", f.Configuration, problems)
	}
}
