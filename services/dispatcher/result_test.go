package dispatcher

import (
	"bytes"
	"net/http"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
)

// ask publishes a call whose caller waits for its end.
func (r *rig) ask(name string) (id string, result <-chan bus.Result) {
	r.t.Helper()
	token, result, stop, err := r.bus.AwaitResult()
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(stop)
	id, err = r.bus.PublishCall(r.t.Context(), bus.Call{Function: name, Method: "POST", Path: "/", ResultTo: token})
	if err != nil {
		r.t.Fatal(err)
	}
	return id, result
}

func (r *rig) result(result <-chan bus.Result) bus.Result {
	r.t.Helper()
	select {
	case got := <-result:
		return got
	case <-time.After(patience):
		r.t.Fatal("no result")
		return bus.Result{}
	}
}

// Who waits for a call is told how it ended, and not before that.
func TestResultOfEachEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	long := bytes.Repeat([]byte("x"), 200<<10)
	handlers := map[string]http.HandlerFunc{
		"answers": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Answer", "1")
			w.Header().Set("Nats-Rollup", "all")
			w.Header().Set("Connection", "X-Hop")
			w.Header().Set("X-Hop", "1")
			w.WriteHeader(201)
			_, _ = w.Write(long)
		},
		"huge": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Answer", "1")
			_, _ = w.Write(bytes.Repeat(long, 10))
		},
		"retried":  script(answer(500), answer(204)),
		"refuses":  func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no such thing", 404) },
		"breaks":   aborted,
		"callback": answer(202),
	}
	results, ids := map[string]<-chan bus.Result{}, map[string]string{}
	for name, handle := range handlers {
		delays := []int{0}
		if name == "breaks" {
			delays = nil
		}
		r.put(spec(name, retries(delays...)), newBackend(t, nil, handle))
		ids[name], results[name] = r.ask(name)
	}
	ids["unknown"], results["unknown"] = r.ask("unknown")
	r.dispatch(func(c *Config) { c.UnknownGrace = 10 * time.Millisecond })
	r.awaitOpen("callback", ids["callback"])
	select {
	case got := <-results["callback"]:
		t.Errorf("a result before the callback: %+v", got)
	case <-time.After(50 * time.Millisecond):
	}
	r.callback("callback", ids["callback"], "success")
	want := map[string]bus.Result{
		"answers":  {Status: 201, Body: long},
		"huge":     {Status: 200, Truncated: true},
		"retried":  {Status: 204},
		"refuses":  {Status: 404, Body: []byte("no such thing\n"), Reason: "status", Detail: "the function answered 404 Not Found"},
		"breaks":   {Reason: "broken"},
		"callback": {Status: 202},
		"unknown":  {Reason: "unknown_function", Detail: "no function has the name unknown"},
	}
	for name, want := range want {
		got := r.result(results[name])
		if got.ID != ids[name] || got.Status != want.Status || !bytes.Equal(got.Body, want.Body) || got.Truncated != want.Truncated || got.Reason != want.Reason ||
			want.Detail != "" && got.Detail != want.Detail || (want.Reason == "") != (got.Detail == "") {
			got.Body = got.Body[:min(len(got.Body), 50)]
			t.Errorf("%s: %+v", name, got)
		}
		if name == "answers" && (got.Header.Get("X-Answer") != "1" || got.Header.Get("X-Hop") != "" || got.Header.Get("Nats-Rollup") != "all") {
			t.Errorf("header %v", got.Header)
		}
		if depth := r.depth(name); depth != 0 {
			t.Errorf("%s: the result came while the call was queued", name)
		}
	}
}

// A caller who has gone, or never was there, changes nothing.
func TestResultForNobody(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := newBackend(t, nil, answer(200))
	r.put(spec("f"), b)
	for _, token := range []string{"abc.1", "*.>", "x"} {
		if _, err := r.bus.PublishCall(t.Context(), bus.Call{Function: "f", Method: "POST", Path: "/", ResultTo: token}); err != nil {
			t.Fatal(err)
		}
	}
	s := r.dispatch()
	r.awaitEmpty("f")
	if b.count() != 3 {
		t.Errorf("%d attempts", b.count())
	}
	if lines := s.log.with("result"); len(lines) > 0 {
		t.Errorf("log %v", lines)
	}
}
