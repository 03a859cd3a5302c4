package scaler

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicefaas/sluice/pkg/autoscale"
)

// metrics are the scaler's, one value for each function; only functions that exist have one.
type metrics struct {
	registry                            prometheus.Registerer
	wanted, ready, depth, age, inFlight *prometheus.GaugeVec
}

func newMetrics(registry prometheus.Registerer) *metrics {
	gauge := func(name, help string) *prometheus.GaugeVec {
		vec := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{"function"})
		registry.MustRegister(vec)
		return vec
	}
	return &metrics{
		registry: registry,
		wanted:   gauge("sluice_replicas_wanted", "Replicas that the function should have."),
		ready:    gauge("sluice_replicas_ready", "Replicas that can be called."),
		depth:    gauge("sluice_queue_depth", "Calls in the function's queue: waiting, running or waiting for a retry."),
		age:      gauge("sluice_queue_oldest_age_seconds", "How long the oldest call in the function's queue has been there."),
		inFlight: gauge("sluice_calls_in_flight", "Calls, sync and async, that run or are held for a replica."),
	}
}

// observe sets the values of f. Those of its queue stay as they are while it cannot be read.
func (m *metrics) observe(f *tracked, signals autoscale.Signals, depthKnown bool) {
	m.wanted.WithLabelValues(f.name).Set(float64(f.state.Replicas))
	m.ready.WithLabelValues(f.name).Set(float64(len(f.state.Endpoints)))
	m.inFlight.WithLabelValues(f.name).Set(float64(signals.InFlight))
	depth, age := m.depth.WithLabelValues(f.name), m.age.WithLabelValues(f.name)
	if !depthKnown {
		return
	}
	depth.Set(float64(signals.Depth))
	if signals.Depth == 0 {
		age.Set(0)
	}
}

func (m *metrics) forget(name string) {
	for _, vec := range m.all() {
		vec.DeleteLabelValues(name)
	}
}

// unregister makes room for the next Scaler of the process. Who leads no more has nothing to say of functions.
func (m *metrics) unregister() {
	for _, vec := range m.all() {
		m.registry.Unregister(vec)
	}
}

func (m *metrics) all() []*prometheus.GaugeVec {
	return []*prometheus.GaugeVec{m.wanted, m.ready, m.depth, m.age, m.inFlight}
}
