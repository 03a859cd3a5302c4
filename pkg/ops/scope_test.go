package ops_test

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicefaas/sluice/pkg/ops"
)

func TestScopeTakesItsMetricsBack(t *testing.T) {
	registry := prometheus.NewRegistry()
	kept := prometheus.NewGauge(prometheus.GaugeOpts{Name: "kept", Help: "Stays."})
	registry.MustRegister(kept)
	for range 2 { // a second term registers the same names
		scope := ops.NewScope(registry)
		first := prometheus.NewGauge(prometheus.GaugeOpts{Name: "first", Help: "One."})
		scope.MustRegister(first, prometheus.NewGauge(prometheus.GaugeOpts{Name: "second", Help: "Two."}))
		if err := scope.Register(kept); err == nil {
			t.Error("a metric that is there already was registered again")
		}
		if got := names(t, registry); len(got) != 3 {
			t.Errorf("during the scope: %v", got)
		}
		if !scope.Unregister(first) || scope.Unregister(first) {
			t.Error("Unregister does not say whether there was something to unregister")
		}
		scope.Close()
		if got := names(t, registry); len(got) != 1 || got[0] != "kept" {
			t.Errorf("after the scope: %v", got)
		}
	}
}

func names(t *testing.T, registry *prometheus.Registry) (names []string) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		names = append(names, family.GetName())
	}
	return names
}
