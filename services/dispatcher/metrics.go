package dispatcher

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the dispatcher's. The label function is always that of a function that exists.
type metrics struct {
	attempts *prometheus.CounterVec
	duration *prometheus.HistogramVec
	calls    *prometheus.CounterVec
	queued   *prometheus.HistogramVec
	dead     *prometheus.CounterVec
	events   *prometheus.CounterVec
}

// unknownFunction is the label for calls of functions that do not exist.
const unknownFunction = "unknown"

func newMetrics(registry prometheus.Registerer) *metrics {
	m := &metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_attempts_total", Help: "Attempts to call a function for a queued call, by what came of them.",
		}, []string{"function", "outcome"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sluice_attempt_duration_seconds", Help: "From the send of an attempt to the end of its answer.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 9),
		}, []string{"function"}),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_queued_calls_ended_total", Help: "Queued calls that have ended, by how.",
		}, []string{"function", "outcome"}),
		queued: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sluice_queued_call_duration_seconds", Help: "From the acceptance of a queued call to its end.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 12),
		}, []string{"function"}),
		dead: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_dead_calls_total", Help: "Queued calls that were given up, by the reason.",
		}, []string{"function", "reason"}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_events_distributed_total", Help: "Events that were published, by what came of them: queued, no_subscriber; and refused for each function whose queue took none.",
		}, []string{"outcome"}),
	}
	registry.MustRegister(m.attempts, m.duration, m.calls, m.queued, m.dead, m.events)
	return m
}

func attemptLabel(result outcome) string {
	switch {
	case result.verdict == acknowledge:
		return "success"
	case result.reason == "status":
		return "error_status"
	}
	return result.reason
}

// ended counts a call that is out of the queue.
func (m *metrics) ended(function string, result outcome, after time.Duration) {
	if result.verdict == bury {
		m.calls.WithLabelValues(function, "dead").Inc()
		m.dead.WithLabelValues(function, result.reason).Inc()
	} else {
		m.calls.WithLabelValues(function, "success").Inc()
	}
	m.queued.WithLabelValues(function).Observe(after.Seconds())
}

func (m *metrics) forget(function string) {
	labels := prometheus.Labels{"function": function}
	m.attempts.DeletePartialMatch(labels)
	m.duration.DeletePartialMatch(labels)
	m.calls.DeletePartialMatch(labels)
	m.queued.DeletePartialMatch(labels)
	m.dead.DeletePartialMatch(labels)
}
