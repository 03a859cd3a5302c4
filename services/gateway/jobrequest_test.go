package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/job"
)

// TestRequestForARun: the answer, the message and the record are there, and belong together.
func TestRequestForARun(t *testing.T) {
	f := startJobs(t)
	f.define(definition("fibonacci", job.Public))
	answer := f.send("POST", "/job/fibonacci", `{"Args":["42"],"Image":"example/batch:2"}`)
	id := f.accepted(answer)
	if want := fmt.Sprintf(`{"Id":"%s","runId":"%s","status":"Queued"}`, id, id); strings.TrimSpace(answer.body) != want || answer.Header.Get("Location") != "/jobs/fibonacci/runs/"+id {
		t.Errorf("%s %v, want %s", answer.body, answer.Header, want)
	}
	queued := f.queue("fibonacci")
	if len(queued) != 1 {
		t.Fatalf("%d requests are queued", len(queued))
	}
	if m := queued[0]; m.RunID != id || m.Path != "" || m.Requester != "127.0.0.1" || string(m.Body) != `{"Args":["42"],"Image":"example/batch:2"}` {
		t.Errorf("%+v", m)
	}
	run := f.record("fibonacci", id)
	if run.Phase != job.Queued || run.Sequence != queued[0].Sequence || run.Sequence == 0 || run.SpecHash != job.RequestHash(queued[0]) || run.Requester != "127.0.0.1" || run.Generation != "g1" {
		t.Errorf("%+v", run)
	}
	if spec := string(run.Spec); !strings.Contains(spec, `"args":["42"]`) || !strings.Contains(spec, "example/batch:2") {
		t.Errorf("%s", spec)
	}
	if answer := f.send("GET", answer.Header.Get("Location"), ""); answer.StatusCode != http.StatusOK {
		t.Errorf("%s", answer.Status)
	}
}

// TestRequestOfAnyContentType: what it is said to be does not count, nor how long it is said to be.
func TestRequestOfAnyContentType(t *testing.T) {
	f := startJobs(t)
	f.define(definition("a", job.Public))
	for _, kind := range []string{"", "application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "nonsense"} {
		for _, body := range []string{"", " \r\n", "{}", ` {"ARGS" : ["1"]}`} {
			request := f.request("POST", "/job/a", body)
			if kind != "" {
				request.Header.Set("Content-Type", kind)
			}
			f.accepted(f.do(request))
			request = f.request("POST", "/job/a", body)
			request.ContentLength = -1
			f.accepted(f.do(request))
		}
	}
	if queued := f.queue("a"); len(queued) != 48 {
		t.Errorf("%d requests are queued", len(queued))
	}
}

// TestRequestPath: what follows the name is the job's, as it was sent.
func TestRequestPath(t *testing.T) {
	f := startJobs(t)
	f.define(definition("a", job.Public))
	for sent, want := range map[string]string{
		"": "", "/": "", "/x": "/x", "/x/y/": "/x/y/", "/x%2Fy%20z": "/x%2Fy%20z", "//x": "//x", "/../b": "/../b", "/x?y=1": "/x", "?y=1": "", "/ü": "/%C3%BC",
		"/" + strings.Repeat("x", 8000): "/" + strings.Repeat("x", 8000),
	} {
		answer := f.raw("POST /job/a" + strings.ReplaceAll(sent, "ü", "%C3%BC") + " HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
		id := f.accepted(answer)
		if got := f.record("a", id).Path; got != want {
			t.Errorf("%.100q arrived as %.100q", sent, got)
		}
		queued := f.queue("a")
		if got := queued[len(queued)-1]; got.RunID != id || got.Path != want {
			t.Errorf("%.100q is queued as %.200v", sent, got)
		}
	}
	expectProblem(t, f.send("POST", "/job/a/"+strings.Repeat("x", 9000), ""), refusedJob)
}

// TestRefusedRequests: each with its status, and nothing is queued or recorded.
func TestRefusedRequests(t *testing.T) {
	f := startJobs(t)
	f.define(definition("a", job.Public))
	for _, body := range []string{"null", "[]", `"text"`, "42", "{", `{"args":["1"]`, `{} {}`, "hello", "\x00", "{\"args\":[\"\xff\"]}", "a=b"} {
		expectProblem(t, f.send("POST", "/job/a", body), badRequest)
	}
	for body, want := range map[string]Problem{
		`{"image":"evil/batch:1"}`:                  {Reason: "ImageNotAllowed", Field: "image"},
		`{"resources":{"requests":{"cpu":"1"}}}`:    {Reason: "ResourcesExceeded", Field: "resources.requests.cpu"},
		`{"env":[{"name":"JOB_NAME","value":"x"}]}`: {Reason: "EnvNotAllowed"},
		`{"args":"1"}`:            {Reason: "InvalidRequest", Field: "args"},
		`{"runId":"Not_A_Label"}`: {Reason: "InvalidRequest", Field: "runId"},
		`{"RUNID":"*"}`:           {Reason: "InvalidRequest", Field: "runId"},
		`{"runId":">"}`:           {Reason: "InvalidRequest", Field: "runId"},
		`{"runId":""}`:            {Reason: "InvalidRequest", Field: "runId"},
		`{"runId":7}`:             {Reason: "InvalidRequest", Field: "runId"},
		`{"command":["sh"]}`:      {Reason: "NotAllowed", Field: "command"},
		`{"args":["` + strings.Repeat("x", 200_000) + `"]}`: {Reason: "TooLarge", Field: "args"},
	} {
		p := expectProblem(t, f.send("POST", "/job/a", body), refusedJob)
		if p.Reason != want.Reason || want.Field != "" && p.Field != want.Field || p.Field == "" || p.Message == "" || !strings.HasPrefix(p.Detail, p.Field+": ") {
			t.Errorf("%.100s: %+v", body, p)
		}
	}
	expectProblem(t, f.send("POST", "/job/a", `{"args":["`+strings.Repeat("x", job.MaxBody)+`"]}`), largeBody)
	for _, key := range []string{"", "a b", strings.Repeat("x", 257), "\"x"} {
		request := f.request("POST", "/job/a", "")
		request.Header["Idempotency-Key"] = []string{key}
		expectProblem(t, f.do(request), badRequest)
	}
	if queued := f.queue("a"); len(queued) > 0 {
		t.Errorf("%+v are queued", queued)
	}
	if page := read[readPage](t, f.send("GET", "/jobs/a/runs", "")); len(page.Runs) > 0 {
		t.Errorf("%+v", page)
	}
}

// keyed sends a request with an Idempotency-Key.
func (f *jobFixture) keyed(path, key, body string) result {
	f.t.Helper()
	request := f.request("POST", path, body)
	request.Header.Set("Idempotency-Key", key)
	return f.do(request)
}

// TestOneKeyIsOneRun: a hundred at once with one key are one run with one message, and all get the same answer.
func TestOneKeyIsOneRun(t *testing.T) {
	f := startJobs(t)
	f.define(definition("a", job.Public))
	f.define(definition("b", job.Public))
	ids := make([]string, 100)
	var senders sync.WaitGroup
	for i := range ids {
		senders.Go(func() {
			answer := f.keyed("/job/a", "the-key", `{"args":["1"]}`)
			var got queuedJob
			if err := json.Unmarshal([]byte(answer.body), &got); err != nil || answer.StatusCode != http.StatusAccepted {
				t.Errorf("%s %s: %v", answer.Status, answer.body, err)
			}
			ids[i] = got.RunID
		})
	}
	senders.Wait()
	for _, id := range ids {
		if id != ids[0] || id == "" {
			t.Errorf("%s, %s", id, ids[0])
		}
	}
	if queued := f.queue("a"); len(queued) != 1 || queued[0].RunID != ids[0] {
		t.Errorf("%+v are queued", queued)
	}
	if page := read[readPage](t, f.send("GET", "/jobs/a/runs", "")); len(page.Runs) != 1 {
		t.Errorf("%+v", page)
	}
	if id := f.accepted(f.keyed("/job/b", "the-key", "")); id == ids[0] {
		t.Error("a key of another job is the same run") // row 20
	}
	for _, other := range []result{f.keyed("/job/a", "the-key", `{"args":["2"]}`), f.keyed("/job/a/path", "the-key", `{"args":["1"]}`)} {
		expectProblem(t, other, reusedKey)
	}
	f.accepted(f.keyed("/job/a", "the-key", ` { "Args" : ["1"] } `)) // the same request
}

// TestTwoRequestsAtOnceWithOneId: one of them is a run with its own message, the other is told that it is none.
func TestTwoRequestsAtOnceWithOneID(t *testing.T) {
	f := startJobs(t)
	f.define(definition("a", job.Public))
	for round := range 20 {
		id := fmt.Sprintf("round-%d", round)
		answers := make([]result, 2)
		var senders sync.WaitGroup
		for i := range answers {
			senders.Go(func() { answers[i] = f.send("POST", "/job/a", fmt.Sprintf(`{"runId":"%s","args":["%d"]}`, id, i)) })
		}
		senders.Wait()
		run := f.record("a", id)
		var hashes []string
		for _, m := range f.queue("a") {
			if m.RunID == id {
				hashes = append(hashes, job.RequestHash(m))
			}
		}
		if !strings.Contains(strings.Join(hashes, " "), run.SpecHash) {
			t.Errorf("the record is of %s, queued are %v: nothing would ever start it", run.SpecHash, hashes)
		}
		won := 0
		for i, answer := range answers {
			m := job.Message{Definition: "a", RunID: id, Body: fmt.Appendf(nil, `{"args":["%d"]}`, i)}
			if answer.StatusCode == http.StatusAccepted {
				won++
			}
			if (job.RequestHash(m) == run.SpecHash) != (answer.StatusCode == http.StatusAccepted) {
				t.Errorf("request %d: %s %s, the record is of %s", i, answer.Status, answer.body, run.SpecHash)
			}
		}
		if won != 1 {
			t.Errorf("%d requests were accepted", won)
		}
	}
}

// TestH3DuplicateOutsideTheWindow: long after the first request was taken out of the queue, the same one is the same run and queues nothing, and another one
// is refused. A stream that is made anew gives no id twice.
func TestH3DuplicateOutsideTheWindow(t *testing.T) {
	f := startJobs(t)
	f.define(definition("a", job.Public))
	chosen := f.ask("a", `{"runId":"nightly","args":["1"]}`)
	keyed := f.accepted(f.keyed("/job/a", "k", `{"args":["1"]}`))
	other := f.ask("a", "")
	f.remakeStream()
	for _, id := range []string{chosen, keyed, other} {
		f.moveTo("a", id, job.Succeeded, job.ReasonCompletionsReached)
	}
	if id := f.ask("a", `{"runId":"nightly","args":["1"]}`); id != "nightly" || chosen != id {
		t.Errorf("%s", id)
	}
	if id := f.accepted(f.keyed("/job/a", "k", `{"args":["1"]}`)); id != keyed {
		t.Errorf("%s, want %s", id, keyed)
	}
	expectProblem(t, f.send("POST", "/job/a", `{"runId":"nightly","args":["2"]}`), reusedKey)
	expectProblem(t, f.keyed("/job/a", "k", `{"args":["2"]}`), reusedKey)
	if queued := f.queue("a"); len(queued) > 0 {
		t.Errorf("%+v are queued", queued)
	}
	for range 3 { // the sequences of the first three
		if id := f.ask("a", ""); id == other || f.record("a", id).Phase != job.Queued {
			t.Errorf("%s is an old run", id)
		}
	}
}

// remakeStream makes the stream of requests anew: it remembers no id, and counts from 1 again.
func (f *jobFixture) remakeStream() {
	f.t.Helper()
	conn := must(nats.Connect(f.nats.URL()))(f.t)
	defer conn.Close()
	js := must(jetstream.New(conn))(f.t)
	if err := js.DeleteStream(f.t.Context(), f.bus.JobsStream()); err != nil {
		f.t.Fatal(err)
	}
	if err := f.bus.EnsureJobs(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
}

// TestJobrunnerIsFaster: the record that it has made already is not touched.
func TestJobrunnerIsFaster(t *testing.T) {
	f := startJobs(t)
	d := f.define(definition("a", job.Public))
	m := job.Message{Definition: "a", RunID: "first", Body: []byte(`{"args":["1"],"runId":"first"}`)}
	run := job.Accept(d, m, time.Now()).Move(time.Now(), job.Running, job.ReasonActive, "")
	f.sees(must(f.records.Put(t.Context(), run, 0))(t))
	answer := f.send("POST", "/job/a", string(m.Body))
	if !strings.Contains(answer.body, `"status":"Running"`) || f.accepted(answer) != "first" {
		t.Errorf("%s", answer.body)
	}
	if f.record("a", "first").Phase != job.Running || len(f.queue("a")) > 0 {
		t.Error("the run was begun anew")
	}
}

// TestFullJobQueue: who asks is told so at once, and it concerns nobody else.
func TestFullJobQueue(t *testing.T) {
	f := startJobs(t, func(o *options) { o.settings.JobQueueLimit = 3 })
	f.define(definition("a", job.Public))
	f.define(definition("b", job.Public))
	for range 3 {
		f.ask("a", "")
	}
	expectProblem(t, f.send("POST", "/job/a", ""), fullQueue)
	if page := read[readPage](t, f.send("GET", "/jobs/a/runs", "")); len(page.Runs) != 3 {
		t.Errorf("a request that was refused has a record: %+v", page)
	}
	f.ask("b", "")
}

// TestJobsWithoutNATS: 503 within the patience, and nothing is said to be accepted.
func TestJobsWithoutNATS(t *testing.T) {
	t.Parallel()
	f := startJobs(t, func(o *options) { o.settings.PublishPatience = time.Second })
	f.define(definition("a", job.Public))
	id := f.ask("a", "")
	f.nats.Stop()
	for _, route := range []string{"POST /job/a", "DELETE /job/a/" + id, "GET /jobs/a/runs/" + id, "GET /jobs/a/runs/" + id + "/logs"} {
		method, path, _ := strings.Cut(route, " ")
		expectProblem(t, f.send(method, path, ""), silentQueue)
	}
	expectProblem(t, f.keyed("/job/a", "k", ""), silentQueue)
	for _, path := range []string{"/job/a", "/jobs/a/runs", "/jobs", "/jobs/status"} { // as they were
		if answer := f.send("GET", path, ""); answer.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", path, answer.Status)
		}
	}
}

// TestNamesOfJobs: other spellings mean the same job, and the fallback stands for all that there is not.
func TestNamesOfJobs(t *testing.T) {
	f := startJobs(t)
	d := definition("my-job", job.Public)
	d.Aliases = []string{"my_job"}
	f.define(d)
	for _, name := range []string{"my-job", "MY-JOB", "my_job", "My_Job"} {
		answer := f.send("POST", "/job/"+name, "")
		if id := f.accepted(answer); answer.Header.Get("Location") != "/jobs/my-job/runs/"+id || len(read[[]slimFaasRun](t, f.send("GET", "/job/"+name, ""))) == 0 {
			t.Errorf("%s: %v", name, answer.Header)
		}
	}
	expectProblem(t, f.send("POST", "/job/nobody", ""), unknownJob)
	fallback := definition("default", job.Public)
	fallback.Fallback = true
	f.define(fallback)
	answer := f.send("POST", "/job/nobody", "")
	if id := f.accepted(answer); answer.Header.Get("Location") != "/jobs/default/runs/"+id {
		t.Errorf("%v", answer.Header)
	}
	for _, name := range []string{"%2e%2e", "a.b", "a%2Fb", "*", ">", "a%20b", strings.Repeat("x", 64), "-", "%00"} {
		expectProblem(t, f.raw("POST /job/"+name+" HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"), unknownJob)
	}
}

// TestRow15JobHeaders: headers with which SlimFaas' own parts speak to each other mean nothing from outside, nor do ours of NATS.
func TestRow15JobHeaders(t *testing.T) {
	f := startJobs(t)
	f.define(definition("a", job.Public))
	request := f.request("POST", "/job/a", "")
	for _, name := range []string{"X-SlimFaas-Job", "X-SlimFaas-Job-Name", "X-Slimfaas-Job-Id", bus.HeaderJobRunID, "Job-Requester", "Nats-Msg-Id", "Sluice-Path"} {
		request.Header.Set(name, "chosen")
	}
	id := f.accepted(f.do(request))
	queued := f.queue("a")
	if m := queued[0]; id == "chosen" || m.RunID != id || m.Requester != "127.0.0.1" || m.Path != "" {
		t.Errorf("%+v", m)
	}
}

// TestOtherMethodsOfJobs are refused, whether the job is there or not.
func TestOtherMethodsOfJobs(t *testing.T) {
	f := startJobs(t)
	f.define(definition("a", job.Public))
	for _, name := range []string{"a", "nobody"} {
		for _, route := range []string{
			"PUT /job/%s", "PATCH /job/%s", "DELETE /job/%s", "PUT /job/%s/x", "PATCH /job/%s/x", "POST /jobs/%s/runs", "PUT /jobs/%s/runs/x", "POST /jobs/%s/runs/x/logs",
		} {
			method, path, _ := strings.Cut(fmt.Sprintf(route, name), " ")
			expectProblem(t, f.send(method, path, ""), wrongMethod)
		}
	}
	expectProblem(t, f.send("POST", "/jobs/status", ""), wrongMethod)
}

// TestJobMetrics: requests are counted by the job, and all that do not exist together.
func TestJobMetrics(t *testing.T) {
	f := startJobs(t)
	f.define(definition("a", job.Public))
	f.define(definition("hidden", job.Private))
	f.ask("a", "")
	f.send("POST", "/job/a", "x")
	for i := range 20 {
		f.send("POST", fmt.Sprintf("/job/random-%d", i), "")
	}
	f.send("POST", "/job/hidden", "")
	const family = "sluice_job_requests_total"
	for name, want := range map[string]float64{"a": 2, "unknown": 21, "hidden": 0} {
		if got := f.value(t, family, "definition", name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	for outcome, want := range map[string]float64{"accepted": 1, "bad-request": 1, "job-not-found": 21} {
		if got := f.value(t, family, "outcome", outcome); got != want {
			t.Errorf("%s: %v", outcome, got)
		}
	}
	f.undefine("a")
	if got := f.series(t, family, "definition", "a"); len(got) > 0 {
		t.Errorf("%v are left", got)
	}
}
