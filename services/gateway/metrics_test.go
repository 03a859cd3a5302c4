package gateway

import (
	"fmt"
	"net/http"
	"testing"
)

// series returns the metrics of a family whose label has the value, all if label is empty: the counters' values.
func (f *fixture) series(t testing.TB, family, label, value string) (counts []float64) {
	t.Helper()
	for _, gathered := range must(f.registry.Gather())(t) {
		if gathered.GetName() != family {
			continue
		}
		for _, metric := range gathered.GetMetric() {
			fits := label == ""
			for _, pair := range metric.GetLabel() {
				fits = fits || pair.GetName() == label && pair.GetValue() == value
			}
			if fits {
				counts = append(counts, metric.GetCounter().GetValue())
			}
		}
	}
	return counts
}

// value sums counters.
func (f *fixture) value(t testing.TB, family, label, value string) (sum float64) {
	t.Helper()
	for _, count := range f.series(t, family, label, value) {
		sum += count
	}
	return sum
}

// TestLabelsAreBounded: what callers make up is no label (row 24).
func TestLabelsAreBounded(t *testing.T) {
	f := start(t)
	f.serve("f", func(http.ResponseWriter, *http.Request) {})
	for i := range 20 {
		for _, route := range []string{"/function/", "/async-function/", "/wake-function/", "/status-function/"} {
			f.send(fmt.Sprintf("VERB%d", i), fmt.Sprintf("%srandom-%d/%d", route, i, i), "")
		}
		f.send(fmt.Sprintf("VERB%d", i), fmt.Sprintf("/function/f/%d?%d", i, i), "")
	}
	for _, family := range []string{"sluice_calls_total", "sluice_call_duration_seconds"} {
		if all := f.series(t, family, "", ""); len(all) != 1 {
			t.Errorf("%s: %v", family, all)
		}
	}
	f.held("f", 0)
	if n := f.value(t, "sluice_calls_total", "outcome", "2xx"); n != 20 {
		t.Errorf("%v calls are counted", n)
	}
}

// TestSeriesGoWithTheirFunction: otherwise functions that come and go would leave theirs behind.
func TestSeriesGoWithTheirFunction(t *testing.T) {
	f := start(t)
	f.serve("f", func(http.ResponseWriter, *http.Request) {})
	f.send("GET", "/function/f", "")
	f.send("POST", "/async-function/f", "")
	if n := len(f.series(t, "sluice_calls_total", "function", "f")); n != 2 {
		t.Fatalf("%d series", n)
	}
	if err := f.store.Delete(t.Context(), "f"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the series to go", func() bool { return len(f.series(t, "sluice_calls_total", "function", "f")) == 0 })
	expectProblem(t, f.send("GET", "/function/f", ""), unknownFunction)
}
