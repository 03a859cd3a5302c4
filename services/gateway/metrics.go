package gateway

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicefaas/sluice/pkg/upstream"
)

// Values of the label mode.
const (
	modeSync  = "sync"
	modeAsync = "async"
)

// metrics are the gateway's. The label function is always that of a function that exists, outcome a class of
// statuses or the name of a ProblemKind.
type metrics struct {
	calls    *prometheus.CounterVec
	duration *prometheus.HistogramVec
	held     *prometheus.HistogramVec
	// events has the label event, which is always that of an event that somebody subscribes to.
	events *prometheus.CounterVec
	// jobs has the label definition, as the jobrunner's metrics have, which is that of a job that exists, or unknownName.
	jobs *prometheus.CounterVec
}

func newMetrics(registry prometheus.Registerer) *metrics {
	m := &metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_calls_total", Help: "Calls that the gateway has answered, by how: the class of the function's status, or our own reason.",
		}, []string{"function", "mode", "outcome"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sluice_call_duration_seconds", Help: "From the arrival of a call to the end of its answer.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 9),
		}, []string{"function", "mode"}),
		held: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sluice_start_wait_seconds", Help: "How long calls were held because no replica was ready; calls that were not held are left out.",
			Buckets: prometheus.ExponentialBuckets(0.01, 2, 14),
		}, []string{"function"}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_events_total", Help: "Events that were published to functions that subscribe to them, by how: accepted, or our own reason.",
		}, []string{"event", "outcome"}),
		jobs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_job_requests_total", Help: "Requests for runs of jobs that the gateway has answered, by how: accepted, or our own reason.",
		}, []string{"definition", "outcome"}),
	}
	registry.MustRegister(m.calls, m.duration, m.held, m.events, m.jobs)
	return m
}

// accepted is the outcome of an async call that is queued.
const accepted = "accepted"

// acceptedSeries are the metrics of a function's accepted async calls: to look them up for each would cost more than to count.
type acceptedSeries struct {
	calls    prometheus.Counter
	duration prometheus.Observer
}

// queued counts an async call that was accepted.
func (m *metrics) queued(t *target, took time.Duration) {
	t.seriesOnce.Do(func() {
		t.series = acceptedSeries{m.calls.WithLabelValues(t.name, modeAsync, accepted), m.duration.WithLabelValues(t.name, modeAsync)}
	})
	t.series.calls.Inc()
	t.series.duration.Observe(took.Seconds())
}

// refused counts an async call that was not accepted, err being a Problem.
func (m *metrics) refused(t *target, err error, took time.Duration) {
	m.observe(t.name, modeAsync, outcomeOf(err), took)
}

// event counts an event that somebody subscribes to.
func (m *metrics) event(name, outcome string) { m.events.WithLabelValues(name, outcome).Inc() }

// unknownName stands for all jobs that do not exist: their names are made up by callers.
const unknownName = "unknown"

// jobRequest counts a request for a run of a job.
func (m *metrics) jobRequest(job, outcome string) { m.jobs.WithLabelValues(job, outcome).Inc() }

// forgetJob drops the series of a job that is gone.
func (m *metrics) forgetJob(job string) {
	m.jobs.DeletePartialMatch(prometheus.Labels{"definition": job})
}

// outcomeOf is the label of an error, which is a Problem.
func outcomeOf(err error) string {
	var p *Problem
	if errors.As(err, &p) {
		return p.name()
	}
	return "unknown"
}

// proxied counts a call that a function has answered, or has not.
func (m *metrics) proxied(function string, o upstream.Outcome, took time.Duration) {
	outcome := statusClass(o.Status)
	if o.Failure.Kind != upstream.None {
		outcome = failureProblem(function, o.Failure).name()
	}
	m.observe(function, modeSync, outcome, took)
}

func (m *metrics) observe(function, mode, outcome string, took time.Duration) {
	m.calls.WithLabelValues(function, mode, outcome).Inc()
	m.duration.WithLabelValues(function, mode).Observe(took.Seconds())
}

// forget drops the series of a function that is gone.
func (m *metrics) forget(function string) {
	of := prometheus.Labels{"function": function}
	m.calls.DeletePartialMatch(of)
	m.duration.DeletePartialMatch(of)
	m.held.DeletePartialMatch(of)
}

func statusClass(status int) string {
	switch {
	case status < 200:
		return "1xx"
	case status < 300:
		return "2xx"
	case status < 400:
		return "3xx"
	case status < 500:
		return "4xx"
	default:
		return "5xx"
	}
}
