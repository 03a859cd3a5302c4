package gateway

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sluicefaas/sluice/pkg/function"
)

// seen is a request as a function got it.
type seen struct {
	method, target, host, body string
	header                     http.Header
	length                     int64
}

// recorder answers "ok" and passes on what it gets.
func recorder() (http.HandlerFunc, <-chan seen) {
	requests := make(chan seen, 100)
	return func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		requests <- seen{r.Method, r.RequestURI, r.Host, string(body), r.Header.Clone(), r.ContentLength}
	}, requests
}

// verbs are the methods of HTTP, of WebDAV, and one that nobody has heard of; all but CONNECT reach functions.
var verbs = []string{"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "REPORT", "QUERY", "M-SEARCH", "x!#$"}

func TestEveryVerbInBothModes(t *testing.T) {
	f := start(t)
	handler, requests := recorder()
	f.serve("f", handler)
	for _, verb := range verbs {
		for _, body := range []string{"", "a body"} {
			if verb == http.MethodTrace && body != "" {
				continue // no client sends it (RFC 9110 §9.3.8)
			}
			if answer := f.send(verb, "/function/f/x", body); answer.StatusCode != http.StatusOK {
				t.Errorf("sync %s with %q: %s", verb, body, answer.Status)
				continue
			}
			if got := <-requests; got.method != verb || got.body != body {
				t.Errorf("sync %s with %q arrived as %s with %q", verb, body, got.method, got.body)
			}
			if answer := f.send(verb, "/async-function/f/x", body); answer.StatusCode != http.StatusAccepted || answer.body != "" {
				t.Errorf("async %s with %q: %s", verb, body, answer.Status)
				continue
			}
			if got := f.fetch("f", 1)[0]; got.Err != nil || got.Call.Method != verb || string(got.Call.Body) != body {
				t.Errorf("async %s with %q is queued as %+v, %v", verb, body, got.Call, got.Err)
			}
		}
	}
	if answer := f.send("HEAD", "/function/f/x", ""); answer.StatusCode != http.StatusOK || answer.body != "" || (<-requests).method != "HEAD" {
		t.Errorf("HEAD: %s", answer.Status)
	}
	for _, route := range []string{"/function/f/x", "/async-function/f/x"} {
		answer := f.raw("CONNECT " + route + " HTTP/1.1\r\nHost: a\r\n\r\n")
		expectProblem(t, answer, wrongMethod)
	}
}

// TestBodiesThatVerbsSeldomHave: GET and DELETE with one, in both codings, and one of no length.
func TestBodiesThatVerbsSeldomHave(t *testing.T) {
	f := start(t)
	handler, requests := recorder()
	f.serve("f", handler)
	for _, verb := range []string{"GET", "DELETE", "HEAD", "OPTIONS"} {
		for framing, want := range map[string]string{
			"Content-Length: 4\r\n\r\nbody":                            "body",
			"Content-Length: 0\r\n\r\n":                                "",
			"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n": "body",
		} {
			line := " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + framing
			conn, answers := dial(t, f.Addr())
			say(t, conn, verb+" /function/f/x"+line)
			answer := must(http.ReadResponse(answers, &http.Request{Method: verb}))(t)
			if got := <-requests; answer.StatusCode != http.StatusOK || got.body != want || got.method != verb {
				t.Errorf("sync %s, %q: %s, arrived as %+v", verb, framing, answer.Status, got)
			}
			conn, answers = dial(t, f.Addr())
			say(t, conn, verb+" /async-function/f/x"+line)
			answer = must(http.ReadResponse(answers, &http.Request{Method: verb}))(t)
			if answer.StatusCode != http.StatusAccepted {
				t.Fatalf("async %s, %q: %s", verb, framing, answer.Status)
			}
			if got := f.fetch("f", 1)[0]; string(got.Call.Body) != want || got.Call.Method != verb {
				t.Errorf("async %s, %q is queued as %+v", verb, framing, got.Call)
			}
		}
	}
}

func TestWake(t *testing.T) {
	f := start(t)
	f.put(state("sleeping"))
	private := state("hidden")
	private.Function.DefaultVisibility = function.Private
	f.put(private)
	wakes := make(chan string, 10)
	stop := must(f.bus.OnWake(func(name string) { wakes <- name }))(t)
	defer stop()
	for _, verb := range []string{"GET", "POST"} {
		if answer := f.send(verb, "/wake-function/sleeping", ""); answer.StatusCode != http.StatusNoContent {
			t.Errorf("%s: %s", verb, answer.Status)
		}
		if name := wait(t, "the wake", wakes); name != "sleeping" {
			t.Errorf("%q was woken", name)
		}
	}
	expectProblem(t, f.send("POST", "/wake-function/unknown", ""), unknownFunction)
	expectProblem(t, f.send("POST", "/wake-function/hidden", ""), unknownFunction)
	answer := f.send("PUT", "/wake-function/sleeping", "")
	expectProblem(t, answer, wrongMethod)
	if allow := answer.Header.Get("Allow"); !strings.Contains(allow, "GET") || !strings.Contains(allow, "POST") {
		t.Errorf("Allow: %q", allow)
	}
	f.nats.Stop()
	eventually(t, "the connection to be seen as lost", func() bool { return f.bus.Connected() != nil })
	expectProblem(t, f.send("POST", "/wake-function/sleeping", ""), silentQueue)
	f.nats.Start()
}

// TestStatusHasTheShapeOfSlimFaas: five keys in this order.
func TestStatusHasTheShapeOfSlimFaas(t *testing.T) {
	f := start(t)
	f.put(state("b", "127.0.0.1:1"))
	hidden := state("a")
	hidden.Function.DefaultVisibility, hidden.Function.Kind, hidden.Replicas = function.Private, function.KindStatefulSet, 2
	f.put(hidden)
	const a = `{"NumberReady":0,"NumberRequested":2,"PodType":"StatefulSet","Visibility":"Private","Name":"a"}`
	const b = `{"NumberReady":1,"NumberRequested":1,"PodType":"Deployment","Visibility":"Public","Name":"b"}`
	for path, want := range map[string]string{
		"/status-functions": "[" + a + "," + b + "]", "/status-function/a": a, "/status-function/b": b,
	} {
		if answer := f.inside("GET", path); strings.TrimSpace(answer.body) != want || !strings.HasPrefix(answer.Header.Get("Content-Type"), "application/json") {
			t.Errorf("%s: %s %s", path, answer.Status, answer.body)
		}
		if answer := f.inside("HEAD", path); answer.StatusCode != http.StatusOK {
			t.Errorf("HEAD %s: %s", path, answer.Status)
		}
		expectProblem(t, f.send("POST", path, ""), wrongMethod)
	}
	expectProblem(t, f.send("GET", "/status-function/c", ""), unknownFunction)
	expectProblem(t, f.send("GET", "/functions/c", ""), unknownFunction)
}

func TestDescription(t *testing.T) {
	f := start(t)
	f.put(state("b"))
	s := state("a", "127.0.0.1:1")
	s.Problems = []string{"annotation x is wrong"}
	f.put(s.Decide(function.Decision{Replicas: 1, Reason: "a call"}))
	for range 3 {
		f.send("POST", "/async-function/a", "x")
	}
	var one Description
	if err := json.Unmarshal([]byte(f.send("GET", "/functions/a", "").body), &one); err != nil {
		t.Fatal(err)
	}
	if one.Queued == nil || *one.Queued != 3 || one.Function.Name != "a" || one.Problems[0] != s.Problems[0] || one.Decisions[0].Reason != "a call" {
		t.Errorf("%+v", one)
	}
	var all []Description
	if err := json.Unmarshal([]byte(f.send("GET", "/functions", "").body), &all); err != nil || len(all) != 2 || all[0].Function.Name != "a" {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestEmptyListsAreLists(t *testing.T) {
	f := start(t)
	for _, path := range []string{"/status-functions", "/functions"} {
		if answer := f.send("GET", path, ""); strings.TrimSpace(answer.body) != "[]" {
			t.Errorf("%s: %q", path, answer.body)
		}
	}
}

// TestNothingIsKnownAtTheStart: before the bucket has been read, what is not there may be.
func TestNothingIsKnownAtTheStart(t *testing.T) {
	f := start(t)
	unread := New(Config{ExposeFunctions: true}, Deps{Bus: f.bus, Health: f.deps.Health, Logger: f.deps.Logger, Registry: emptyRegistry()})
	for _, path := range []string{"/function/f", "/async-function/f", "/wake-function/f", "/status-function/f", "/status-functions", "/functions", "/functions/f"} {
		answer := httptest.NewRecorder()
		unread.routes().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
		if answer.Code != http.StatusServiceUnavailable || answer.Header().Get("Retry-After") != "1" || !strings.Contains(answer.Body.String(), "starting") {
			t.Errorf("%s: %d %s", path, answer.Code, answer.Body)
		}
	}
}

func TestHealthAndReady(t *testing.T) {
	f := start(t)
	for _, path := range []string{"/health", "/ready"} {
		if answer := f.send("GET", path, ""); answer.StatusCode != http.StatusOK || !strings.Contains(answer.body, `"status":"ok"`) {
			t.Errorf("%s: %s %s", path, answer.Status, answer.body)
		}
		if answer := f.send("HEAD", path, ""); answer.StatusCode != http.StatusOK {
			t.Errorf("HEAD %s: %s", path, answer.Status)
		}
	}
	f.nats.Stop()
	eventually(t, "readiness to go", func() bool { return f.send("GET", "/ready", "").StatusCode == http.StatusServiceUnavailable })
	if answer := f.send("GET", "/health", ""); answer.StatusCode != http.StatusOK {
		t.Errorf("without NATS: %s", answer.Status)
	}
	f.nats.Start()
}

func TestUnknownRoutes(t *testing.T) {
	f := start(t)
	f.serve("f", func(http.ResponseWriter, *http.Request) { t.Error("the function was called") })
	for _, path := range []string{"/", "/function", "/function/", "/async-function/", "/metrics", "/Function/f", "//function/f", "/x/../function/f", "/%66unction/f", "/function%2Ff"} {
		expectProblem(t, f.raw("GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n"), unknownRoute)
	}
}
