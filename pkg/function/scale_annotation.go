package function

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// Bounds and defaults of the Scale annotation. Those of Behavior are those of Kubernetes' HorizontalPodAutoscaler.
const (
	leastScrape      = 1_000
	greatestScrape   = 300_000
	standardScrape   = 5_000
	maxMetricName    = 253
	maxQuery         = 16 << 10
	maxWindow        = 3600
	maxPeriod        = 1800
	standardPeriod   = 15
	standardPods     = 4
	standardPercent  = 100
	standardDownWait = 300
)

// readScale reads the annotation Scale. If anything in it is wrong, the last valid one holds as a whole: half a rule could ask for far
// more replicas than was meant.
func (r *reader) readScale() {
	last := r.kept().Scale
	r.readWhole(KeyScale, last == nil, func(d *document, holds string, text json.RawMessage) {
		part(d, &r.function.Scale, fallback[*Scale]{last, holds}, func(_ string, value json.RawMessage) {
			r.function.Scale = d.scale(value, &r.function)
		})("", text)
	})
}

func defaultScale() *Scale {
	percent := ScalePolicy{Type: PolicyPercent, Value: standardPercent, PeriodSeconds: standardPeriod}
	pods := ScalePolicy{Type: PolicyPods, Value: standardPods, PeriodSeconds: standardPeriod}
	return &Scale{
		ReplicaMax: MaxReplicas, ScrapeIntervalMilliseconds: standardScrape,
		Behavior: Behavior{
			ScaleUp:   ScaleRules{Policies: []ScalePolicy{percent, pods}},
			ScaleDown: ScaleRules{StabilizationWindowSeconds: standardDownWait, Policies: []ScalePolicy{percent}},
		},
	}
}

// scale returns nil for an annotation without triggers, which changes nothing.
func (d *document) scale(value json.RawMessage, f *Function) *Scale {
	s := defaultScale()
	d.object("", value, []entry{
		{"ReplicaMax", d.number(&s.ReplicaMax, 1, MaxReplicas)},
		{"ScrapeIntervalMilliseconds", d.number(&s.ScrapeIntervalMilliseconds, leastScrape, greatestScrape)},
		{"Triggers", d.triggers(&s.Triggers, f.Name)},
		{"WakeFromZero", d.flag(&s.WakeFromZero)},
		{"Behavior", func(path string, value json.RawMessage) {
			d.object(path, value, []entry{{"ScaleUp", d.scaleRules(&s.Behavior.ScaleUp)}, {"ScaleDown", d.scaleRules(&s.Behavior.ScaleDown)}})
		}},
	})
	switch {
	case d.refused:
	case len(s.Triggers) == 0:
		d.report("", string(value), "has no Triggers: load does not change the count")
		return nil
	case s.ReplicaMax < f.ReplicasMin:
		d.report("ReplicaMax", strconv.Itoa(s.ReplicaMax), fmt.Sprintf("is below ReplicasMin, %d, which holds", f.ReplicasMin))
	}
	return s
}

func (d *document) triggers(target *[]Trigger, function string) func(string, json.RawMessage) {
	return func(path string, value json.RawMessage) {
		d.list(path, value, func(path string, value json.RawMessage) {
			*target = append(*target, d.trigger(path, value, function))
		})
	}
}

func (d *document) trigger(path string, value json.RawMessage, function string) Trigger {
	t := Trigger{MetricType: MetricAverageValue}
	d.object(path, value, []entry{
		{"MetricType", d.word(&t.MetricType, MetricAverageValue, MetricValue)},
		{"MetricName", d.text(&t.MetricName, maxMetricName)},
		{"Query", d.text(&t.Query, maxQuery)},
		{"Threshold", d.threshold(&t.Threshold)},
	})
	if figure := figureOf(t.Query, function); figure != "" {
		t.MetricName, t.Query = figure, ""
	}
	switch {
	case d.refused:
	case t.Threshold == 0:
		d.refuse(path, string(value), "has no Threshold")
	case t.Query == "" && !slices.Contains(figures, t.MetricName):
		d.refuse(path, string(value), "has neither a Query nor one of Sluice's own figures as MetricName: "+either(figures))
	}
	return t
}

func (d *document) threshold(target *float64) func(string, json.RawMessage) {
	return func(path string, value json.RawMessage) {
		var threshold float64
		if err := json.Unmarshal(value, &threshold); err != nil || threshold <= 0 || math.IsInf(threshold, 0) {
			d.refuse(path, string(value), "is not a number above 0")
			return
		}
		*target = threshold
	}
}

func (d *document) scaleRules(target *ScaleRules) func(string, json.RawMessage) {
	return func(path string, value json.RawMessage) {
		d.object(path, value, []entry{
			{"StabilizationWindowSeconds", d.number(&target.StabilizationWindowSeconds, 0, maxWindow)},
			{"Policies", d.policies(&target.Policies)},
		})
	}
}

// policies reads a list that replaces the default one; an empty one does not.
func (d *document) policies(target *[]ScalePolicy) func(string, json.RawMessage) {
	return func(path string, value json.RawMessage) {
		var policies []ScalePolicy
		d.list(path, value, func(path string, value json.RawMessage) {
			p := ScalePolicy{Type: PolicyPercent, Value: standardPercent, PeriodSeconds: standardPeriod}
			d.object(path, value, []entry{
				{"Type", d.word(&p.Type, PolicyPercent, PolicyPods)},
				{"Value", d.number(&p.Value, 1, MaxReplicas)},
				{"PeriodSeconds", d.number(&p.PeriodSeconds, 1, maxPeriod)},
			})
			policies = append(policies, p)
		})
		if len(policies) > 0 {
			*target = policies
		}
	}
}
