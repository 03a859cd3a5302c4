package jobrunner

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicefaas/sluice/pkg/job"
)

// metrics are the jobrunner's. The label definition is always that of a definition that there is, or of which there are records.
type metrics struct {
	registry       prometheus.Registerer
	runs           *prometheus.GaugeVec
	depth, oldest  *prometheus.GaugeVec
	used, most     *prometheus.GaugeVec
	creates        *prometheus.CounterVec
	redelivered    prometheus.Counter
	duration, wait *prometheus.HistogramVec
	dead           *prometheus.CounterVec
	// shown are the labels that runs has.
	shown map[[2]string]struct{}
}

func newMetrics(registry prometheus.Registerer) *metrics {
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &metrics{
		registry: registry,
		runs:     gauge("sluice_job_runs", "Runs that there are records of, by phase.", "definition", "phase"),
		depth:    gauge("sluice_job_queue_depth", "Requests in the job's queue.", "definition"),
		oldest:   gauge("sluice_job_queue_oldest_seconds", "How long the oldest request has been in the job's queue.", "definition"),
		used:     gauge("sluice_job_slots_used", "Jobs that are not over.", "definition"),
		most:     gauge("sluice_job_slots_max", "Jobs that may be unfinished at a time.", "definition"),
		creates:  counter("sluice_job_creates_total", "Attempts to create a Job, by what came of them: created, exists, quota, invalid, error.", "outcome"),
		redelivered: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_job_redelivered_total", Help: "Requests that came again although they were known already.",
		}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sluice_job_run_duration_seconds", Help: "From the start of a run's first pod to the end of its Job.",
			Buckets: prometheus.ExponentialBuckets(0.1, 4, 10),
		}, []string{"definition"}),
		wait: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sluice_job_wait_seconds", Help: "How long a run waited before its Job was created, by what for: queue, slot, dependency, quota.",
			Buckets: prometheus.ExponentialBuckets(0.01, 4, 10),
		}, []string{"gate"}),
		dead:  counter("sluice_job_dead_total", "Requests that were given up, by the reason.", "reason"),
		shown: map[[2]string]struct{}{},
	}
	registry.MustRegister(m.all()...)
	return m
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.runs, m.depth, m.oldest, m.used, m.most, m.creates, m.redelivered, m.duration, m.wait, m.dead}
}

// unregister makes room for the next Runner of the process.
func (m *metrics) unregister() {
	for _, collector := range m.all() {
		m.registry.Unregister(collector)
	}
}

// deadReasons bound the label: a reason that is none of them is that of a rejected request.
var deadReasons = map[string]bool{reasonUnknownJob: true, job.ReasonBadMessage: true, reasonConflict: true, job.ReasonInvalidSpec: true}

func (m *metrics) buried(reason string) {
	if !deadReasons[reason] {
		reason = "rejected"
	}
	m.dead.WithLabelValues(reason).Inc()
}

// moved counts what a new record says.
func (m *metrics) moved(before, after job.Run) {
	switch {
	case before.Phase == after.Phase:
	case after.Phase == job.Creating:
		for gate, waited := range waits(before, after) {
			m.wait.WithLabelValues(gate).Observe(waited.Seconds())
		}
	case after.Phase.Final() && !after.StartedAt.IsZero():
		m.duration.WithLabelValues(after.Definition).Observe(max(0, after.FinishedAt.Sub(after.StartedAt).Seconds()))
	}
}

// gates are what runs wait for, by the reason that they show.
var gates = map[string]string{
	job.ReasonAccepted: "queue", job.ReasonConcurrencyLimit: "slot", job.ReasonJobQuotaExceeded: "quota",
	job.ReasonDependencyNotReady: "dependency", job.ReasonDependencyNotFound: "dependency",
}

// waits are how long the run has waited for what.
func waits(before, after job.Run) map[string]time.Duration {
	waited := map[string]time.Duration{}
	for i, move := range before.Moves {
		until := after.UpdatedAt
		if i+1 < len(before.Moves) {
			until = before.Moves[i+1].At
		}
		if gate := gates[move.Reason]; gate != "" {
			waited[gate] += max(0, until.Sub(move.At))
		}
	}
	return waited
}

// observeMetrics brings the gauges up to date, now and then: there may be many.
func (r *Runner) observeMetrics(now time.Time) {
	if now.Before(r.metricsAt) {
		return
	}
	r.metricsAt = now.Add(r.timing.metrics)
	counts := map[string]*[9]int{}
	for name, b := range r.shelf {
		copied := b.counts
		counts[name] = &copied
	}
	for _, t := range r.tracked {
		if !t.known {
			continue
		}
		if counts[t.definition] == nil {
			counts[t.definition] = &[9]int{}
		}
		counts[t.definition][shelve(t.run).phase]++
	}
	r.metrics.showRuns(counts)
	r.observeQueues()
}

// showRuns sets how many runs there are of each definition and phase.
func (m *metrics) showRuns(counts map[string]*[9]int) {
	before := m.shown
	m.shown = map[[2]string]struct{}{}
	for name, byPhase := range counts {
		for i, count := range byPhase {
			if count > 0 {
				labels := [2]string{name, string(phases[i])}
				m.runs.WithLabelValues(labels[:]...).Set(float64(count))
				m.shown[labels] = struct{}{}
			}
		}
	}
	for labels := range before {
		if _, still := m.shown[labels]; !still {
			m.runs.DeleteLabelValues(labels[:]...)
		}
	}
}

func (r *Runner) observeQueues() {
	depths := map[string]uint64{}
	for _, q := range r.queues.all {
		depths[q.definition] += q.depth
	}
	for name, d := range r.catalog.active {
		r.metrics.most.WithLabelValues(name).Set(float64(min(d.Parallel, r.slots.most)))
		r.metrics.used.WithLabelValues(name).Set(float64(r.slots.used[name]))
		r.metrics.depth.WithLabelValues(name).Set(float64(depths[name]))
		if depths[name] == 0 {
			r.metrics.oldest.WithLabelValues(name).Set(0)
		}
	}
}

// forget drops those of a definition that is gone.
func (m *metrics) forget(definition string) {
	labels := prometheus.Labels{"definition": definition}
	for _, vec := range []*prometheus.GaugeVec{m.depth, m.oldest, m.used, m.most} {
		vec.DeletePartialMatch(labels)
	}
	m.duration.DeletePartialMatch(labels)
}

// oldestLookups bounds how many queues have the age of their oldest request read each tick.
const oldestLookups = 32

// readAges reads how long the oldest request of some queues has waited, as far as it gets in half a tick.
func (r *Runner) readAges(ctx context.Context, depths map[string]uint64) {
	ctx, cancel := context.WithTimeout(ctx, r.timing.tick/2)
	defer cancel()
	looked := 0
	for name := range depths {
		if looked++; looked > oldestLookups || ctx.Err() != nil {
			return
		}
		if at, ok, err := r.deps.Bus.OldestJob(ctx, name); err == nil && ok {
			r.do(func(now time.Time) { r.observeAge(name, now.Sub(at)) })
		}
	}
}

func (r *Runner) observeAge(queue string, age time.Duration) {
	if q := r.queues.all[queue]; q != nil && q.definition != "" {
		r.metrics.oldest.WithLabelValues(q.definition).Set(max(0, age.Seconds()))
	}
}
