package function_test

import (
	"reflect"
	"testing"

	"github.com/sluicefaas/sluice/pkg/function"
)

// standardBehavior is that of the contract.
func standardBehavior() function.Behavior {
	percent := function.ScalePolicy{Type: "Percent", Value: 100, PeriodSeconds: 15}
	return function.Behavior{
		ScaleUp:   function.ScaleRules{Policies: []function.ScalePolicy{percent, {Type: "Pods", Value: 4, PeriodSeconds: 15}}},
		ScaleDown: function.ScaleRules{StabilizationWindowSeconds: 300, Policies: []function.ScalePolicy{percent}},
	}
}

func TestScaleDefaults(t *testing.T) {
	f, problems := read(on("sluice/Scale", `{"Triggers":[{"MetricName":"queue_depth","Threshold":10}]}`))
	want := &function.Scale{ReplicaMax: 10_000, ScrapeIntervalMilliseconds: 5000, Behavior: standardBehavior(),
		Triggers: []function.Trigger{{MetricType: "AverageValue", MetricName: "queue_depth", Threshold: 10}}}
	if !reflect.DeepEqual(f.Scale, want) || len(problems) > 0 {
		t.Errorf("got %+v, %v", f.Scale, problems)
	}
}

func TestScaleIsReadInFull(t *testing.T) {
	f, problems := read(on("SlimFaas/Scale", `{"replicamax":20,"ScrapeIntervalMilliseconds":1000,"WakeFromZero":true,"Triggers":[
		{"MetricType":"value","MetricName":"rps","Query":" sum(rate(x[1m])) ","Threshold":0.5},
		{"MetricType":"AverageValue","MetricName":"queue_max","Query":"max_over_time(slimfaas_function_queue_ready_items{function=\"f\"}[30s])","Threshold":1e2}],
		"Behavior":{"ScaleUp":{"StabilizationWindowSeconds":3,"Policies":[]},"ScaleDown":{"Policies":[{"Type":"pods","Value":2},{"PeriodSeconds":30}]}}}`))
	want := &function.Scale{ReplicaMax: 20, ScrapeIntervalMilliseconds: 1000, WakeFromZero: true, Behavior: standardBehavior(), Triggers: []function.Trigger{
		{MetricType: "Value", MetricName: "rps", Query: "sum(rate(x[1m]))", Threshold: 0.5},
		{MetricType: "AverageValue", MetricName: "queue_depth", Threshold: 100},
	}}
	want.Behavior.ScaleUp.StabilizationWindowSeconds = 3
	want.Behavior.ScaleDown.Policies = []function.ScalePolicy{{Type: "Pods", Value: 2, PeriodSeconds: 15}, {Type: "Percent", Value: 100, PeriodSeconds: 30}}
	if !reflect.DeepEqual(f.Scale, want) || len(problems) > 0 {
		t.Errorf("got %+v, %v", f.Scale, problems)
	}
}

func TestScaleWithoutTriggers(t *testing.T) {
	for _, value := range []string{`{"ReplicaMax":10,"Triggers":[],"Behavior":{}}`, `{}`} {
		f, problems := read(on("sluice/Scale", value))
		if f.Scale != nil || len(problems) != 1 {
			t.Errorf("%s: got %+v, %v", value, f.Scale, problems)
		}
	}
}

func TestScaleMaxBelowMin(t *testing.T) {
	f, problems := read(on("sluice/ReplicasMin", "3", "sluice/Scale", `{"ReplicaMax":2,"Triggers":[{"MetricName":"queue_age","Threshold":1}]}`))
	requireProblems(t, "2 below 3", problems, `"2" at ReplicaMax is below ReplicasMin, 3, which holds`)
	if f.Scale == nil || f.Scale.ReplicaMax != 2 {
		t.Errorf("got %+v", f.Scale)
	}
}

func TestScaleProblems(t *testing.T) {
	const end = "; the annotation has no effect"
	trigger := func(text string) string { return `{"Triggers":[` + text + `]}` }
	for _, c := range []struct{ value, want string }{
		{`{"ReplicaMax":0}`, `"0" at ReplicaMax is not a whole number from 1 to 10000`},
		{`{"ReplicaMax":10001}`, `"10001" at ReplicaMax is not a whole number from 1 to 10000`},
		{`{"ReplicaMax":"3"}`, `"\"3\"" at ReplicaMax is not a whole number from 1 to 10000`},
		{`{"ScrapeIntervalMilliseconds":999}`, `"999" at ScrapeIntervalMilliseconds is not a whole number from 1000 to 300000`},
		{`{"ScrapeIntervalMilliseconds":300001}`, `"300001" at ScrapeIntervalMilliseconds is not a whole number from 1000 to 300000`},
		{`{"WakeFromZero":"yes"}`, `"\"yes\"" at WakeFromZero is neither true nor false`},
		{`{"Triggers":{}}`, `"{}" at Triggers is not a list of at most 100`},
		{trigger(`null`), `"null" at Triggers[0] has no Threshold`},
		{trigger(`{"Query":"x"}`), `"{\"Query\":\"x\"}" at Triggers[0] has no Threshold`},
		{trigger(`{"Query":"x","Threshold":0}`), `"0" at Triggers[0].Threshold is not a number above 0`},
		{trigger(`{"Query":"x","Threshold":-1}`), `"-1" at Triggers[0].Threshold is not a number above 0`},
		{trigger(`{"Query":"x","Threshold":1e999}`), `"1e999" at Triggers[0].Threshold is not a number above 0`},
		{trigger(`{"Query":"x","Threshold":"1"}`), `"\"1\"" at Triggers[0].Threshold is not a number above 0`},
		{trigger(`{"MetricType":"Average","Query":"x","Threshold":1}`), `"\"Average\"" at Triggers[0].MetricType is not "AverageValue" or "Value"`},
		{trigger(`{"MetricName":"x","Threshold":1}`),
			`"{\"MetricName\":\"x\",\"Threshold\":1}" at Triggers[0] has neither a Query nor one of Sluice's own figures as MetricName: "queue_depth" or "queue_age" or "calls_inflight"`},
		{`{"Behavior":{"ScaleUp":{"StabilizationWindowSeconds":3601}}}`, `"3601" at Behavior.ScaleUp.StabilizationWindowSeconds is not a whole number from 0 to 3600`},
		{`{"Behavior":{"ScaleDown":{"Policies":[{"Type":"Replicas"}]}}}`, `"\"Replicas\"" at Behavior.ScaleDown.Policies[0].Type is not "Percent" or "Pods"`},
		{`{"Behavior":{"ScaleDown":{"Policies":[{"Value":0}]}}}`, `"0" at Behavior.ScaleDown.Policies[0].Value is not a whole number from 1 to 10000`},
		{`{"Behavior":{"ScaleDown":{"Policies":[{"PeriodSeconds":1801}]}}}`, `"1801" at Behavior.ScaleDown.Policies[0].PeriodSeconds is not a whole number from 1 to 1800`},
	} {
		f, problems := read(on("sluice/Scale", c.value))
		if f.Scale != nil {
			t.Errorf("%s: got %+v", c.value, f.Scale)
		}
		requireProblems(t, c.value, problems, c.want+end)
	}
}

// TestFigureOfSlimFaas: what its users scale on is known here without a Prometheus server.
func TestFigureOfSlimFaas(t *testing.T) {
	const ready = "slimfaas_function_queue_ready_items"
	for query, want := range map[string]string{
		ready:                                                       "queue_depth",
		ready + `{function="f"}`:                                    "queue_depth",
		ready + ` { function = "f" , } `:                            "queue_depth",
		ready + `{}`:                                                "queue_depth",
		`sum(` + ready + `{function="${app}"})`:                     "queue_depth",
		`max( ` + ready + `{function="f"} )`:                        "queue_depth",
		`max_over_time(` + ready + `{function="f"}[30s])`:           "queue_depth",
		`sum(max_over_time(` + ready + `{function="f"}[1m]))`:       "queue_depth",
		`slimfaas_function_queue_in_flight_items{function="f"}`:     "calls_inflight",
		`slimfaas_function_queue_retry_pending_items{function="f"}`: "",
		ready + `{function="other"}`:                                "",
		ready + `{function=~"f.*"}`:                                 "",
		ready + `{job="x"}`:                                         "",
		ready + `{function="f"} / 100`:                              "",
		`rate(` + ready + `{function="f"}[1m])`:                     "",
		`sum(` + ready + `{function="f"}) + sum(` + ready + `)`:     "",
		`sum(rate(http_requests_total{function="f"}[1m]))`:          "",
		`my_slimfaas_function_queue_ready_items{function="f"}`:      "",
		"": "",
		`slimfaas_function_queue_ready_items_total{function="f"} and other`: "",
	} {
		if got := function.FigureOf(query, "f"); got != want {
			t.Errorf("%s: got %q, want %q", query, got, want)
		}
	}
}
