package scaler

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sluicefaas/sluice/pkg/autoscale"
	"github.com/sluicefaas/sluice/pkg/function"
)

// maxQuestions bounds the questions to the Prometheus server that are under way at a time.
const maxQuestions = 8

// questions are those to the Prometheus server, which is nil if none is configured. The goroutine of Run owns them.
type questions struct {
	server *prometheusServer
	// due are waiting for their turn, running counts those under way.
	due     []question
	running int
}

// question is one query of one function.
type question struct {
	f     *tracked
	query string
}

// answer is what the server said about a query, at a time; askedAt is when it was asked last.
type answer struct {
	reading     autoscale.Reading
	at, askedAt time.Time
	asking      bool
}

func newQuestions(url PrometheusURL) questions {
	if url.address == "" {
		return questions{}
	}
	return questions{server: newPrometheusServer(url)}
}

func (q *questions) close() {
	if q.server != nil {
		q.server.close()
	}
}

// hasFigure reports whether the function scales by one of our own figures.
func (f *tracked) hasFigure(name string) bool {
	scale := f.workload.Function.Scale
	return scale != nil && slices.ContainsFunc(scale.Triggers, func(t function.Trigger) bool { return t.Query == "" && t.MetricName == name })
}

// readings are the newest figures of the triggers of f, in their order.
func (s *Scaler) readings(f *tracked, depth int64, inFlight int, now time.Time) []autoscale.Reading {
	scale := f.workload.Function.Scale
	if scale == nil {
		return nil
	}
	readings := make([]autoscale.Reading, 0, len(scale.Triggers))
	for _, trigger := range scale.Triggers {
		if trigger.Query != "" {
			readings = append(readings, s.answered(f, trigger.Query, now))
		} else {
			readings = append(readings, s.ownFigure(f, trigger.MetricName, autoscale.Signals{Depth: depth, InFlight: inFlight}, now))
		}
	}
	return readings
}

// ownFigure reads one of our own figures. None is known while NATS is away.
func (s *Scaler) ownFigure(f *tracked, name string, signals autoscale.Signals, now time.Time) autoscale.Reading {
	if !s.trusted(now) {
		return autoscale.Reading{Problem: unknownYet}
	}
	switch name {
	case function.FigureQueueDepth:
		return autoscale.Reading{Value: float64(signals.Depth)}
	case function.FigureInFlight:
		return autoscale.Reading{Value: float64(signals.InFlight)}
	case function.FigureOldestAge:
		return s.oldestAge(f, signals.Depth, now)
	}
	return autoscale.Reading{Problem: fmt.Sprintf("it has no Query, and is none of %s, %s and %s", function.FigureQueueDepth, function.FigureOldestAge, function.FigureInFlight)}
}

// unknownYet is the problem of a figure that is to come: it is none for people.
const unknownYet = "not known yet"

func (s *Scaler) oldestAge(f *tracked, depth int64, now time.Time) autoscale.Reading {
	switch {
	case depth == 0:
		return autoscale.Reading{}
	case f.oldestAt.IsZero() || now.Sub(f.oldestAt) > s.timing.fresh:
		return autoscale.Reading{Problem: unknownYet}
	}
	return autoscale.Reading{Value: max(now.Sub(f.oldest).Seconds(), 0)}
}

// answered is the newest answer to a query, if it is not too old to mean anything.
func (s *Scaler) answered(f *tracked, query string, now time.Time) autoscale.Reading {
	if s.questions.server == nil {
		return autoscale.Reading{Problem: "it has a Query, but there is no Prometheus server to ask: set --prometheus-url"}
	}
	a := f.answers[query]
	if a.at.IsZero() || now.Sub(a.at) > 2*f.workload.Function.Scale.ScrapeInterval()+s.timing.query+s.timing.tick {
		return autoscale.Reading{Problem: unknownYet}
	}
	return a.reading
}

// triggerProblems are the sentences about figures that cannot be used.
func (s *Scaler) triggerProblems(f *tracked) []string {
	scale := f.workload.Function.Scale
	if scale == nil {
		return nil
	}
	var problems []string
	for i, reading := range f.readings {
		if problem := reading.Check(); problem != "" && problem != unknownYet {
			problems = append(problems, fmt.Sprintf("annotation Scale: trigger %s: %s", scale.Triggers[i].MetricName, problem))
		}
	}
	return problems
}

// askFigures has those queries asked that are due.
func (s *Scaler) askFigures(f *tracked, signals autoscale.Signals, now time.Time) {
	signals.Replicas = f.state.Replicas
	if s.questions.server == nil || !autoscale.Triggered(f.workload.Function, signals) {
		return
	}
	scale := f.workload.Function.Scale
	for _, trigger := range scale.Triggers {
		a := f.answers[trigger.Query]
		if trigger.Query == "" || a.asking || now.Sub(a.askedAt) < scale.ScrapeInterval()-s.timing.tick/2 {
			continue
		}
		a.asking, a.askedAt = true, now
		if f.answers == nil {
			f.answers = map[string]answer{}
		}
		f.answers[trigger.Query] = a
		s.questions.due = append(s.questions.due, question{f: f, query: trigger.Query})
	}
}

// startQuestions lets a helper each ask what is due, some at a time.
func (s *Scaler) startQuestions(ctx context.Context) {
	q := &s.questions
	for len(q.due) > 0 && q.running < maxQuestions {
		next := q.due[0]
		q.due = q.due[1:]
		q.running++
		s.helpers.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, s.timing.query)
			defer cancel()
			reading := q.server.ask(ctx, next.query)
			s.do(func(now time.Time) { s.onAnswer(next, reading, now) })
		})
	}
}

// onAnswer takes the answer to a question. One that nobody is waiting for any more is dropped.
func (s *Scaler) onAnswer(asked question, reading autoscale.Reading, now time.Time) {
	s.questions.running--
	f := asked.f
	a := f.answers[asked.query]
	if !f.present || !a.asking {
		return
	}
	if problem := reading.Check(); problem != "" && problem != a.reading.Check() {
		s.deps.Logger.Warn().Str("function", f.name).Str("query", asked.query).Str("problem", problem).Msg("a trigger's figure cannot be read: the function is not scaled down by triggers")
	}
	a.reading, a.at, a.asking = reading, now, false
	f.answers[asked.query] = a
	s.evaluate(f, now)
}
