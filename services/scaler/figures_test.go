package scaler

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/autoscale"
	"github.com/sluicefaas/sluice/pkg/function"
)

// monitor is a Prometheus server, as far as its HTTP API for instant queries goes.
type monitor struct {
	*httptest.Server
	mu      sync.Mutex
	results map[string]string // guarded by mu: the field data of the answer, by query
	asked   map[string]int    // guarded by mu
	answer  http.HandlerFunc  // guarded by mu: instead of results
}

func newMonitor(t *testing.T) *monitor {
	m := &monitor{results: map[string]string{}, asked: map[string]int{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /base/api/v1/query", m.serve)
	m.Server = httptest.NewServer(mux)
	t.Cleanup(m.Close)
	return m
}

func (m *monitor) serve(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	query := r.FormValue("query")
	m.asked[query]++
	answer, result := m.answer, m.results[query]
	m.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch {
	case answer != nil:
		answer(w, r)
	case result == "":
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"status":"error","errorType":"bad_data","error":"invalid parameter \"query\": 1:2: parse error"}`)
	default:
		fmt.Fprintf(w, `{"status":"success","data":%s}`, result)
	}
}

func (m *monitor) set(query, result string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.results[query] = result
}

func (m *monitor) answers(answer http.HandlerFunc) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.answer = answer
}

func (m *monitor) times(query string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.asked[query]
}

func scalar(value string) string {
	return fmt.Sprintf(`{"resultType":"scalar","result":[1.5,%q]}`, value)
}

func vector(values ...string) string {
	var samples []string
	for i, value := range values {
		samples = append(samples, fmt.Sprintf(`{"metric":{"pod":"p%d"},"value":[1.5,%q]}`, i, value))
	}
	return `{"resultType":"vector","result":[` + strings.Join(samples, ",") + `]}`
}

// scales gives a workload triggers of the kind AverageValue, whose figures are read with each tick of a test.
func scales(w function.Workload, triggers ...function.Trigger) function.Workload {
	w.Function.Scale = &function.Scale{ReplicaMax: 10, ScrapeIntervalMilliseconds: 20, Triggers: triggers}
	for i := range triggers {
		triggers[i].MetricType = function.MetricAverageValue
	}
	return w
}

func figure(name string, threshold float64) function.Trigger {
	return function.Trigger{MetricName: name, Threshold: threshold}
}

func query(text string, threshold float64) function.Trigger {
	return function.Trigger{MetricName: "load", Query: text, Threshold: threshold}
}

func (f *fixture) hasReplicas(name string, count int) {
	f.t.Helper()
	eventually(f.t, fmt.Sprintf("%s has %d replicas", name, count), func() bool { return len(f.reader.replicas(name)) == count })
}

func (f *fixture) problems(name string) []string {
	state, _ := f.reader.get(name)
	return state.Problems
}

func (f *fixture) hasProblem(name, words string) {
	f.t.Helper()
	eventually(f.t, fmt.Sprintf("the problem %q is shown, not %q", words, f.problems(name)), func() bool {
		return slices.ContainsFunc(f.problems(name), func(p string) bool { return strings.Contains(p, words) })
	})
}

func TestQueueDepthScales(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scales(deployed(spec("a", 0, 300), 0), figure(function.FigureQueueDepth, 2))).startSynced().trusted()
	for range 5 {
		f.publish("a")
	}
	f.hasReplicas("a", 3)
	state, _ := f.reader.get("a")
	if reason := state.Decisions[len(state.Decisions)-1].Reason; !strings.Contains(reason, "queue_depth is 5 (AverageValue, threshold 2): 3 replicas") && !strings.Contains(reason, "3 replicas to start") {
		t.Errorf("the reason is %q", reason)
	}
}

func TestOldestAgeScales(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scales(deployed(spec("a", 0, 300), 1), figure(function.FigureOldestAge, 0.3))).startSynced().trusted()
	f.publish("a")
	eventually(t, "there are three replicas, and more later", func() bool { return len(f.reader.replicas("a")) >= 3 })
}

// From N to fewer under load: the replicas that are too many leave, the one with the fewest calls first, and end when their calls have.
func TestFewerUnderLoadWithTheHandShake(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scales(deployed(spec("a", 0, 300), 1), figure(function.FigureInFlight, 2)))
	g, d := f.caller("g", newest), f.caller("d", newest)
	g.busy("a", 1, 4)
	d.busy("a", 1, 3)
	f.startSynced().trusted()
	f.hasReplicas("a", 4)
	// Three calls are left: two replicas are enough. The third has two of them, the second one.
	g.at(0)
	g.heard()
	d.sends("a", map[int]int{3: 2})
	d.heard()
	g.sends("a", map[int]int{2: 1})
	eventually(t, "two leave", func() bool { return slices.Equal(f.reader.replicas("a"), []string{"a-2", "a-3"}) })
	lowered := func() bool {
		return slices.ContainsFunc(f.cluster.of("a"), func(c setCall) bool { return c.count == 2 })
	}
	never(t, 200*time.Millisecond, "it is lowered although a sender has an older revision", lowered)
	g.sends("a", map[int]int{1: 1})
	g.at(newest)
	g.heard()
	never(t, 200*time.Millisecond, "it is lowered although a call is in flight on one that leaves", lowered)
	g.sends("a", map[int]int{2: 1})
	eventually(t, "it is lowered", lowered)
	if victims := f.cluster.of("a")[len(f.cluster.of("a"))-1].victims; !slices.Equal(victims, []string{"a-1", "a-4"}) {
		t.Errorf("the victims are %v", victims)
	}
	f.hasReplicas("a", 2)
}

func TestPrometheusQueryScales(t *testing.T) {
	t.Parallel()
	m := newMonitor(t)
	f := newFixture(t, scales(deployed(spec("a", 0, 300), 1), query("sum(load)", 10)))
	f.uses(m)
	m.set("sum(load)", scalar("35"))
	f.caller("g", newest).busy("a", 1, 1)
	f.startSynced()
	f.hasReplicas("a", 4)
	m.set("sum(load)", vector("10", "2.5", "0"))
	f.hasReplicas("a", 2)
	state, _ := f.reader.get("a")
	if reason := state.Decisions[len(state.Decisions)-1].Reason; reason != "load is 12.5 (AverageValue, threshold 10): down to 2" {
		t.Errorf("the reason is %q", reason)
	}
	for problem, result := range map[string]string{
		"annotation Scale: trigger load: the answer to its query has no data": vector(),
		"the Prometheus server does not answer its query: bad_data: invalid":  "",
		"the answer to its query is a matrix":                                 `{"resultType":"matrix","result":[]}`,
		"its value is not a number":                                           scalar("NaN"),
		"its value is infinite":                                               vector("+Inf", "1"),
		"its value is negative":                                               scalar("-1"),
	} {
		m.set("sum(load)", result)
		f.hasProblem("a", problem)
	}
	if got := len(f.reader.replicas("a")); got != 2 {
		t.Errorf("%d replicas without a valid figure", got)
	}
	m.set("sum(load)", scalar("20"))
	eventually(t, "no problem is left", func() bool { return len(f.problems("a")) == 0 })
	if lines := f.logs.with("a trigger's figure cannot be read", `"function":"a"`); len(lines) == 0 {
		t.Error("no line tells of the problems")
	}
}

// uses configures the server.
func (f *fixture) uses(m *monitor) {
	f.t.Helper()
	if err := f.config.PrometheusURL.UnmarshalText([]byte(m.URL + "/base")); err != nil {
		f.t.Fatal(err)
	}
}

// Row 9 of the bugs of others: every read has a limit. Row 10: no redirect leads elsewhere.
func TestRow9AndRow10PrometheusAnswersAreLimited(t *testing.T) {
	t.Parallel()
	m := newMonitor(t)
	f := newFixture(t, scales(deployed(spec("a", 1, 300), 2), query("q", 10)))
	f.uses(m)
	f.timing.query = 300 * time.Millisecond
	hung := make(chan struct{})
	t.Cleanup(func() { close(hung) })
	f.startSynced()
	for _, c := range []struct {
		problem string
		answer  http.HandlerFunc
	}{
		{"the answer is longer than 1048576 bytes", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.Copy(w, io.LimitReader(endless{}, 100<<20)) // the reader goes away
		}},
		{"the server redirects: set --prometheus-url to where it is", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/latest", http.StatusFound)
		}},
		{"context deadline exceeded", func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-hung:
			case <-r.Context().Done():
			}
		}},
		{"does not answer its query", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }},
	} {
		m.answers(c.answer)
		f.hasProblem("a", c.problem)
	}
	m.answers(nil)
	m.Close()
	f.hasProblem("a", "connection refused")
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestQueryWithoutServerIsAProblem(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scales(deployed(spec("a", 1, 300), 2), query("q", 10), figure("queue_dept", 1))).startSynced()
	f.hasProblem("a", "annotation Scale: trigger load: it has a Query, but there is no Prometheus server to ask: set --prometheus-url")
	f.trusted()
	f.hasProblem("a", "trigger queue_dept: it has no Query, and is none of queue_depth, queue_age and calls_inflight")
}

// One question for each trigger and interval, none for functions that sleep, and no more than some at a time.
func TestQuestionsAreFew(t *testing.T) {
	t.Parallel()
	m := newMonitor(t)
	var workloads []function.Workload
	for i := range 3 * maxQuestions {
		w := scales(deployed(spec(fmt.Sprintf("a%d", i), 1, 300), 1), query(fmt.Sprintf("q%d", i), 10))
		w.Function.Scale.ScrapeIntervalMilliseconds = 3_600_000
		workloads = append(workloads, w)
	}
	workloads = append(workloads, scales(deployed(spec("asleep", 0, 300), 0), query("asleep", 10)))
	f := newFixture(t, workloads...)
	f.uses(m)
	var mu sync.Mutex
	running, most := 0, 0
	carryOn := make(chan struct{})
	m.answers(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		running++
		most = max(most, running)
		mu.Unlock()
		<-carryOn
		mu.Lock()
		running--
		mu.Unlock()
		fmt.Fprintf(w, `{"status":"success","data":%s}`, scalar("1"))
	})
	f.startSynced()
	eventually(t, "the first are asked", func() bool { mu.Lock(); defer mu.Unlock(); return running == maxQuestions })
	f.wake("a1")
	close(carryOn)
	for i := range 3 * maxQuestions {
		eventually(t, "each is asked", func() bool { return m.times(fmt.Sprintf("q%d", i)) == 1 })
	}
	never(t, 200*time.Millisecond, "one is asked again", func() bool { return m.times("q1") > 1 || m.times("asleep") > 0 })
	mu.Lock()
	defer mu.Unlock()
	if most > maxQuestions {
		t.Errorf("%d questions at a time", most)
	}
}

// While NATS is away our own figures are unknown, those of the Prometheus server are not.
func TestOutageHoldsOwnFigures(t *testing.T) {
	t.Parallel()
	m := newMonitor(t)
	m.set("q", scalar("1"))
	f := newFixture(t, scales(deployed(spec("a", 0, 300), 1), figure(function.FigureInFlight, 1), query("q", 10)))
	f.timing.fresh = 300 * time.Millisecond
	f.uses(m)
	c := f.caller("g", newest)
	c.busy("a", 1, 3)
	f.startSynced()
	f.hasReplicas("a", 3)
	f.server.Stop()
	c.busy("a", 1, 1)
	eventually(t, "nothing is trusted", func() (away bool) {
		f.inside(func(now time.Time) { away = !f.scaler.trusted(now) })
		return away
	})
	m.set("q", scalar("45"))
	eventually(t, "the valid figure raises it", func() bool { calls := f.cluster.of("a"); return calls[len(calls)-1].count == 5 })
	m.set("q", scalar("1"))
	never(t, 300*time.Millisecond, "it is lowered", func() bool { calls := f.cluster.of("a"); return calls[len(calls)-1].count < 5 })
	f.server.Start()
	f.hasReplicas("a", 1)
}

// A trigger that changes while it is asked gets no answer that was meant for another.
func TestAnswerToAnOldQueryIsDropped(t *testing.T) {
	t.Parallel()
	s, now := quietScaler(), time.Now()
	s.questions = newQuestions(PrometheusURL{address: "http://127.0.0.1:1"})
	w := scales(deployed(spec("a", 0, 300), 1), query("old", 1))
	s.observe(w, now)
	asked := s.questions.due
	w = scales(deployed(spec("a", 0, 300), 1), query("new", 1))
	s.observe(w, now)
	s.onAnswer(asked[0], readingOf(50), now)
	if f := s.functions["a"]; len(f.answers) != 1 || !f.answers["new"].asking || f.state.Replicas != 1 {
		t.Errorf("the answers are %+v, %d replicas", f.answers, f.state.Replicas)
	}
	s.forget("a")
	s.onAnswer(s.questions.due[1], readingOf(50), now)
}

func readingOf(value float64) autoscale.Reading { return autoscale.Reading{Value: value} }
