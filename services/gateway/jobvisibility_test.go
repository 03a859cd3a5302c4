package gateway

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/sluicefaas/sluice/pkg/job"
)

// hide makes a private job with a run called run-1 that runs, has kept output, and is not to be seen.
func (f *jobFixture) hide() {
	f.t.Helper()
	f.define(definition("hidden", job.Private))
	request := must(http.NewRequestWithContext(f.t.Context(), "POST", "http://"+f.InsideAddr()+"/job/hidden", strings.NewReader(`{"runId":"run-1"}`)))(f.t)
	f.accepted(f.do(request))
	f.moveTo("hidden", "run-1", job.Running, job.ReasonActive)
	part := f.keep("pod-1", "c", "a secret\n")
	f.change("hidden", "run-1", func(r *job.Run) { r.Log = []job.LogPart{part} })
}

// untouched checks that nobody has asked for or changed anything of the hidden job.
func (f *jobFixture) untouched() {
	f.t.Helper()
	if run := f.record("hidden", "run-1"); run.Ending != nil || run.Phase != job.Running {
		f.t.Errorf("%+v", run)
	}
	if queued := f.queue("hidden"); len(queued) != 1 {
		f.t.Errorf("%+v are queued", queued)
	}
	if got := f.value(f.t, "sluice_job_requests_total", "definition", "hidden"); got != 1 {
		f.t.Errorf("%v requests are counted", got)
	}
}

// TestRow1HeadersDoNotOpenPrivateJobs: whatever a caller from outside says of himself, a private job is answered as if it were not there, by every route.
func TestRow1HeadersDoNotOpenPrivateJobs(t *testing.T) {
	f := startJobs(t)
	f.isInsider(podAddress)
	f.hide()
	for i, header := range tellingWho {
		for _, route := range jobRoutes {
			if strings.HasPrefix(route, "HEAD") {
				continue
			}
			ask := func(name string) result {
				return f.raw(fmt.Sprintf(route, name) + " HTTP/1.1\r\nHost: " + []string{"a", podAddress, f.InsideAddr()}[i%3] + "\r\n" + header + "\r\nContent-Length: 0\r\n\r\n")
			}
			hidden := ask("hidden")
			expectProblem(t, hidden, unknownJob)
			sameAnswer(t, route+" with "+header, hidden, ask("nobody"))
		}
		for _, list := range []string{"/jobs", "/jobs/status", "/status-jobs"} {
			if answer := f.raw("GET " + list + " HTTP/1.1\r\nHost: a\r\n" + header + "\r\n\r\n"); strings.TrimSpace(answer.body) != "[]" {
				t.Errorf("%s with %s: %s", list, header, answer.body)
			}
		}
	}
	f.untouched()
}

// TestPrivateJobsAreNotTold: neither by a body that is wrong, nor by a run that is not there, nor by what the request would be refused for.
func TestPrivateJobsAreNotTold(t *testing.T) {
	f := startJobs(t)
	f.hide()
	for _, body := range []string{"{", `{"image":"evil"}`, `{"runId":"*"}`, `{"runId":"run-1"}`, strings.Repeat("x", job.MaxBody+1)} {
		hidden, unknown := f.send("POST", "/job/hidden", body), f.send("POST", "/job/nobody", body)
		expectProblem(t, hidden, unknownJob)
		sameAnswer(t, body[:min(len(body), 20)], hidden, unknown)
	}
	for _, route := range []string{"GET /jobs/%s/runs/other", "DELETE /job/%s/other", "DELETE /job/%s/*", "GET /jobs/%s/runs/*/logs", "GET /jobs/%s/runs/run-1/logs?pod=x"} {
		ask := func(name string) result {
			return f.raw(fmt.Sprintf(route, name) + " HTTP/1.1\r\nHost: a\r\n\r\n")
		}
		hidden := ask("hidden")
		expectProblem(t, hidden, unknownJob)
		sameAnswer(t, route, hidden, ask("nobody"))
	}
	f.untouched()
}

// TestRow2SpellingsOfPrivateJobs: no spelling of a name or a route gets round it.
func TestRow2SpellingsOfPrivateJobs(t *testing.T) {
	f := startJobs(t)
	open := definition("open", job.Public)
	f.define(open)
	f.hide()
	names := []string{
		"hidden", "HIDDEN", "%68idden", "hidden%00", "hidden%20", "hidden.", "./hidden", "open/../hidden", "open/..%2fhidden", "%2e%2e/hidden", "/hidden", "hidden;x", "hidden%2f", "hidden%3f", "x/../hidden", "h%69dden",
		"open/runs/../../hidden", "..%2Fhidden", "hidden\\", "%2568idden",
	}
	for _, name := range names {
		for _, host := range []string{"", "http://a", "http://" + f.InsideAddr()} {
			for _, route := range jobRoutes {
				if strings.HasPrefix(route, "HEAD") {
					continue
				}
				method, path, _ := strings.Cut(fmt.Sprintf(route, name), " ")
				answer := f.raw(method + " " + host + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Forwarded-For: 127.0.0.1\r\nContent-Length: 0\r\n\r\n")
				ofOpen := strings.HasPrefix(path, "/job/open/") && method == "POST" // what follows is its own path
				if answer.StatusCode < 400 && !ofOpen || strings.Contains(answer.body, "secret") || strings.Contains(answer.body, `"hidden"`) && answer.StatusCode < 400 {
					t.Errorf("%s %s: %s %s", method, path, answer.Status, answer.body)
				}
			}
		}
	}
	f.untouched()
}

// TestRow1InsidersOfJobs: whose TCP peer is known, or who comes by the inside listener, has every route, and not any more when he is gone.
func TestRow1InsidersOfJobs(t *testing.T) {
	f := startJobs(t)
	f.hide()
	routes := []string{"GET /job/hidden", "GET /jobs/hidden/runs", "GET /jobs/hidden/runs/run-1", "POST /job/hidden", "DELETE /job/hidden/run-1", "DELETE /jobs/hidden/runs/run-1"}
	check := func(inside bool, send func(method, path string) result) {
		t.Helper()
		for _, route := range routes {
			method, path, _ := strings.Cut(route, " ")
			if answer := send(method, path); inside != (answer.StatusCode < 300) || !inside && answer.StatusCode != http.StatusNotFound {
				t.Errorf("%s with inside %v: %s", route, inside, answer.Status)
			}
		}
		for _, list := range []string{"/jobs", "/jobs/status", "/status-jobs"} {
			if answer := send("GET", list); strings.Contains(answer.body, "hidden") != inside {
				t.Errorf("%s with inside %v: %s", list, inside, answer.body)
			}
		}
	}
	outside := func(method, path string) result { return f.send(method, path, "") }
	check(false, outside)
	check(true, f.inside)
	f.isInsider("127.0.0.1")
	check(true, outside)
	bucket := must(f.bus.OpenInside(t.Context()))(t)
	loopback := netip.MustParseAddr("127.0.0.1")
	must(bucket.Delete(t.Context(), loopback))(t)
	eventually(t, "the address to be forgotten", func() bool { return !f.insiders.has(loopback) })
	check(false, outside)
}

// TestVisibilityIsThatOfNow: a job that becomes private takes its runs with it.
func TestVisibilityIsThatOfNow(t *testing.T) {
	f := startJobs(t)
	f.define(definition("a", job.Public))
	id := f.ask("a", "")
	f.define(definition("a", job.Private))
	for _, route := range []string{"POST /job/a", "GET /job/a", "GET /jobs/a/runs/" + id, "DELETE /job/a/" + id, "GET /jobs/a/runs/" + id + "/logs"} {
		method, path, _ := strings.Cut(route, " ")
		expectProblem(t, f.send(method, path, ""), unknownJob)
	}
	f.define(definition("a", job.Public))
	if answer := f.send("GET", "/jobs/a/runs/"+id, ""); answer.StatusCode != http.StatusOK {
		t.Errorf("%s", answer.Status)
	}
}

// TestRequesterIsTheCaller: behind a trusted proxy it is the one that the proxy names, and nobody can make himself another.
func TestRequesterIsTheCaller(t *testing.T) {
	f := startJobs(t, func(o *options) { o.config.TrustedProxies = ranges(t, "127.0.0.0/8") })
	f.define(definition("a", job.Public))
	for header, want := range map[string]string{"203.0.113.5": "203.0.113.5", "10.0.0.1, 203.0.113.6": "203.0.113.6", "nonsense": "", "::ffff:203.0.113.7": "203.0.113.7"} {
		request := f.request("POST", "/job/a", "")
		request.Header.Set("X-Forwarded-For", header)
		id := f.accepted(f.do(request))
		if got := f.record("a", id).Requester; got != want {
			t.Errorf("%q: %q", header, got)
		}
	}
}
