package function_test

import (
	"testing"

	"github.com/sluicefaas/sluice/pkg/function"
)

func TestChoices(t *testing.T) {
	for _, c := range []struct {
		key, value string
		want       func(*function.Function)
	}{
		{"DefaultVisibility", "PRIVATE", func(f *function.Function) { f.DefaultVisibility = function.Private }},
		{"DefaultVisibility", "public", func(*function.Function) {}},
		{"DefaultTrust", "untrusted", func(f *function.Function) { f.DefaultTrust = function.Untrusted }},
		{"DefaultTrusted", "False", func(f *function.Function) { f.DefaultTrust = function.Untrusted }},
		{"DefaultTrusted", "Trusted", func(*function.Function) {}},
		{"DefaultTrust", "TRUE", func(*function.Function) {}},
		{"ReplicasStartAsSoonAsOneFunctionRetrieveARequest", "TRUE", func(f *function.Function) { f.WakeWithAny = true }},
		{"ReplicasStartAsSoonAsOneFunctionRetrieveARequest", "False", func(*function.Function) {}},
		{"Protocol", "H2C", func(f *function.Function) { f.Protocol = function.ProtocolH2C }},
		{"Protocol", "kubernetes.io/h2c", func(f *function.Function) { f.Protocol = function.ProtocolH2C }},
		{"Protocol", "http", func(*function.Function) {}},
	} {
		want := function.Defaults("f", function.KindDeployment)
		c.want(&want)
		for _, prefix := range []string{"sluice/", "SlimFaas/"} {
			if got, problems := read(on(prefix+c.key, c.value)); !equal(got, want) || len(problems) > 0 {
				t.Errorf("%s%s=%s: got %+v, %v", prefix, c.key, c.value, got, problems)
			}
		}
	}
}

// TestTwoSpellingsOfTrust: DefaultTrust wins over DefaultTrusted in the same place, and the workload's own over the template's.
func TestTwoSpellingsOfTrust(t *testing.T) {
	for i, c := range []struct {
		workload, template map[string]string
		want               function.Trust
	}{
		{on("sluice/DefaultTrust", "Trusted", "sluice/DefaultTrusted", "Untrusted"), nil, function.Trusted},
		{on("SlimFaas/DefaultTrust", "Trusted", "sluice/DefaultTrusted", "Untrusted"), nil, function.Untrusted},
		{on("SlimFaas/DefaultTrusted", "Untrusted"), map[string]string{"sluice/DefaultTrust": "Trusted"}, function.Untrusted},
		{on(), map[string]string{"SlimFaas/DefaultTrusted": "Untrusted"}, function.Untrusted},
	} {
		f, _, problems := function.FromAnnotations("f", function.KindDeployment, function.Annotations{Workload: c.workload, Template: c.template}, nil)
		if f.DefaultTrust != c.want || len(problems) > 0 {
			t.Errorf("%d: got %s, %v", i, f.DefaultTrust, problems)
		}
	}
}
