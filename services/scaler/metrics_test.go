package scaler

import (
	"fmt"
	"testing"

	"github.com/sluicefaas/sluice/pkg/function"
)

// values are the metrics of one function, by name.
func (f *fixture) values(name string) map[string]float64 {
	f.t.Helper()
	families, err := f.registry.Gather()
	if err != nil {
		f.t.Fatal(err)
	}
	values := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				if label.GetName() == "function" && label.GetValue() == name {
					values[family.GetName()] = metric.GetGauge().GetValue()
				}
			}
		}
	}
	return values
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	f := newFixture(t, deployed(spec("a", 0, 60), 0), deployed(spec("b", 1, 60), 1))
	c := f.caller("g", newest)
	f.startSynced()
	f.publish("a")
	f.publish("a")
	f.publish("stranger")
	c.busy("a", 1, 3)
	eventually(t, "the values are there", func() bool {
		v := f.values("a")
		return v["sluice_replicas_wanted"] == 1 && v["sluice_replicas_ready"] == 1 && v["sluice_queue_depth"] == 2 &&
			v["sluice_calls_in_flight"] == 3 && v["sluice_queue_oldest_age_seconds"] > 0
	})
	if v := f.values("b"); fmt.Sprint(v) != "map[sluice_calls_in_flight:0 sluice_queue_depth:0 sluice_queue_oldest_age_seconds:0 sluice_replicas_ready:1 sluice_replicas_wanted:1]" {
		t.Errorf("values of b are %v", v)
	}
	if v := f.values("stranger"); len(v) != 0 {
		t.Errorf("values of no function are %v", v)
	}
	f.cluster.remove("a")
	eventually(t, "they are dropped", func() bool { return len(f.values("a")) == 0 })
	never(t, 10*quick.tick, "they come back", func() bool { return len(f.values("a")) != 0 })
	f.cluster.change("a", func(w *function.Workload) { *w = deployed(spec("a", 0, 60), 0) })
	eventually(t, "it is back", func() bool { return f.values("a")["sluice_queue_depth"] == 2 })
}
