package gateway

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/job"
)

// serveLogs answers for the output of runs as the leading jobrunner does.
func (f *jobFixture) serveLogs(open func(context.Context, bus.LogRequest) (io.ReadCloser, error)) {
	f.t.Helper()
	f.t.Cleanup(f.serveUntil(open))
}

// serveUntil is the same until the jobrunner goes away.
func (f *jobFixture) serveUntil(open func(context.Context, bus.LogRequest) (io.ReadCloser, error)) (stop func()) {
	f.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := f.bus.ServeLogs(ctx, open); err != nil && ctx.Err() == nil {
			f.t.Error(err)
		}
	})
	eventually(f.t, "the logs to be served", func() bool {
		_, err := f.bus.OpenLog(f.t.Context(), bus.LogRequest{Definition: "probe", RunID: "probe"})
		return !errors.Is(err, bus.ErrNoJobrunner)
	})
	return func() { cancel(); serving.Wait() }
}

var errProbed = errors.New("somebody serves")

// running makes a run that runs in one pod.
func (f *jobFixture) running(name string) string {
	f.t.Helper()
	id := f.ask(name, "")
	f.moveTo(name, id, job.Running, job.ReasonActive)
	f.change(name, id, func(r *job.Run) {
		r.Pods = []job.Pod{{Name: "pod-1", Phase: "Running", Containers: []job.Container{{Name: "c"}}}}
	})
	return id
}

// pipe is output that a test writes, and whose end it learns.
type pipe struct {
	*io.PipeReader
	closed chan struct{}
	once   sync.Once
}

func newPipe() (*pipe, *io.PipeWriter) {
	r, w := io.Pipe()
	return &pipe{PipeReader: r, closed: make(chan struct{})}, w
}

func (p *pipe) Close() error {
	p.once.Do(func() { close(p.closed) })
	return p.PipeReader.Close()
}

// open sends a request and returns its answer, whose body is not read yet.
func (f *jobFixture) open(path string) (answer *http.Response, hangUp func()) {
	f.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	transport := &http.Transport{}
	answer = must(transport.RoundTrip(f.request("GET", path, "").WithContext(ctx)))(f.t)
	hangUp = func() {
		cancel()
		answer.Body.Close()
		transport.CloseIdleConnections()
	}
	f.t.Cleanup(hangUp)
	return answer, hangUp
}

// TestLiveLogs: what is asked for reaches the jobrunner, and its answer the caller, byte by byte.
func TestLiveLogs(t *testing.T) {
	f := startJobs(t)
	f.define(definition("a", job.Public))
	asked := make(chan bus.LogRequest, 10)
	text := strings.Repeat("one <script>\r\n\x00\xff", 100_000)
	f.serveLogs(func(_ context.Context, r bus.LogRequest) (io.ReadCloser, error) {
		if r.RunID != "probe" {
			asked <- r
		}
		return io.NopCloser(strings.NewReader(text)), nil
	})
	id := f.running("a")
	path := "/jobs/a/runs/" + id + "/logs"
	answer := f.send("GET", path, "")
	if answer.StatusCode != http.StatusOK || answer.err != nil || answer.body != text {
		t.Errorf("%s: %d bytes, %v", answer.Status, len(answer.body), answer.err)
	}
	if h := answer.Header; h.Get("Content-Type") != "text/plain; charset=utf-8" || h.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%v", h)
	}
	if r := <-asked; r != (bus.LogRequest{Definition: "a", RunID: id}) {
		t.Errorf("%+v", r)
	}
	f.send("GET", path+"?pod=pod-1&container=c&tailLines=7&follow=true", "")
	if r := <-asked; r != (bus.LogRequest{Definition: "a", RunID: id, Pod: "pod-1", Container: "c", TailLines: 7, Follow: true}) {
		t.Errorf("%+v", r)
	}
	for _, query := range []string{"pod=other-pod", "pod=" + strings.Repeat("x", 250)} { // it would be that of somebody else
		expectProblem(t, f.send("GET", path+"?"+query, ""), noOutput)
	}
	for _, query := range []string{"tailLines=x", "tailLines=-1", "tailLines=1000001", "follow=perhaps", "pod=../x", "pod=*", "container=A", "container=x%2Fy", "pod=" + strings.Repeat("x", 254)} {
		expectProblem(t, f.send("GET", path+"?"+query, ""), badRequest)
	}
	if len(asked) > 0 {
		t.Errorf("%+v was asked for", <-asked)
	}
}

// TestFollowLogs: each piece comes when it is printed, and the answer ends with the run.
func TestFollowLogs(t *testing.T) {
	f := startJobs(t)
	f.define(definition("a", job.Public))
	output, printer := newPipe()
	f.serveLogs(func(_ context.Context, r bus.LogRequest) (io.ReadCloser, error) {
		if r.RunID == "probe" {
			return nil, errProbed
		}
		return output, nil
	})
	id := f.running("a")
	answer, _ := f.open("/jobs/a/runs/" + id + "/logs?follow=true")
	lines := bufio.NewReader(answer.Body)
	for _, line := range []string{"one\n", "two\n", strings.Repeat("x", 100_000) + "\n"} {
		if _, err := io.WriteString(printer, line); err != nil {
			t.Fatal(err)
		}
		if got, err := lines.ReadString('\n'); err != nil || got != line {
			t.Fatalf("%.100q, %v", got, err)
		}
	}
	_, _ = io.WriteString(printer, "no end of line")
	_ = printer.Close()
	f.moveTo("a", id, job.Succeeded, job.ReasonCompletionsReached)
	if rest, err := io.ReadAll(lines); err != nil || string(rest) != "no end of line" {
		t.Errorf("%q, %v", rest, err)
	}
}

// TestFollowEndsWithTheRun: although the jobrunner does not say that the output has ended.
func TestFollowEndsWithTheRun(t *testing.T) {
	t.Parallel()
	f := startJobs(t)
	f.define(definition("a", job.Public))
	output, printer := newPipe()
	f.serveLogs(func(_ context.Context, r bus.LogRequest) (io.ReadCloser, error) {
		if r.RunID == "probe" {
			return nil, errProbed
		}
		return output, nil
	})
	id := f.running("a")
	answer, _ := f.open("/jobs/a/runs/" + id + "/logs?follow=true")
	if _, err := io.WriteString(printer, "printed\n"); err != nil {
		t.Fatal(err)
	}
	f.moveTo("a", id, job.Cancelled, job.ReasonUserRequested)
	if text, err := io.ReadAll(answer.Body); err != nil || string(text) != "printed\n" {
		t.Errorf("%q, %v", text, err)
	}
	wait(t, "the jobrunner to be told", output.closed)
	eventually(t, "nobody to read", func() bool { return f.readers.Load() == 0 && len(f.jobs.runs.waiting) == 0 })
}

// TestFollowEndsWithItsCaller, and with the gateway; what was cut then does not look whole.
func TestFollowEndsWithItsCaller(t *testing.T) {
	t.Parallel()
	f := startJobs(t)
	f.define(definition("a", job.Public))
	outputs := make(chan *pipe, 10)
	f.serveLogs(func(_ context.Context, r bus.LogRequest) (io.ReadCloser, error) {
		if r.RunID == "probe" {
			return nil, errProbed
		}
		output, printer := newPipe()
		go func() { _, _ = io.WriteString(printer, "printed\n") }()
		outputs <- output
		return output, nil
	})
	path := "/jobs/a/runs/" + f.running("a") + "/logs?follow=true"
	answer, hangUp := f.open(path)
	if line, err := bufio.NewReader(answer.Body).ReadString('\n'); err != nil || line != "printed\n" {
		t.Fatalf("%q, %v", line, err)
	}
	hangUp()
	wait(t, "the jobrunner to be told", (<-outputs).closed)
	answer, _ = f.open(path)
	if line, err := bufio.NewReader(answer.Body).ReadString('\n'); err != nil || line != "printed\n" {
		t.Fatalf("%q, %v", line, err)
	}
	f.stopTaking()
	if rest, err := io.ReadAll(answer.Body); err == nil {
		t.Errorf("%q looks whole", rest)
	}
	wait(t, "the jobrunner to be told", (<-outputs).closed)
	if err := wait(t, "Run to return", f.ended); err != nil {
		t.Error(err)
	}
}

// TestBrokenLogs: half of the output does not look like all of it.
func TestBrokenLogs(t *testing.T) {
	f := startJobs(t)
	f.define(definition("a", job.Public))
	f.serveLogs(func(_ context.Context, r bus.LogRequest) (io.ReadCloser, error) {
		if r.RunID == "probe" {
			return nil, errProbed
		}
		return io.NopCloser(io.MultiReader(strings.NewReader("half"), iotest.ErrReader(io.ErrUnexpectedEOF))), nil
	})
	if answer := f.send("GET", "/jobs/a/runs/"+f.running("a")+"/logs", ""); answer.err == nil {
		t.Errorf("%s %q", answer.Status, answer.body)
	}
}

// TestSlowReader: one who reads nothing holds up nobody else.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	f := startJobs(t)
	f.define(definition("a", job.Public))
	text := strings.Repeat("x", 32<<20)
	f.serveLogs(func(_ context.Context, r bus.LogRequest) (io.ReadCloser, error) {
		if r.RunID == "probe" {
			return nil, errProbed
		}
		return io.NopCloser(strings.NewReader(text)), nil
	})
	path := "/jobs/a/runs/" + f.running("a") + "/logs"
	f.open(path) // nobody reads its body
	if answer := f.send("GET", path, ""); answer.err != nil || len(answer.body) != len(text) {
		t.Errorf("%s: %d bytes, %v", answer.Status, len(answer.body), answer.err)
	}
	eventually(t, "the slow one to be dropped", func() bool { return f.readers.Load() == 0 })
}

// TestLateReaderGetsAll: the end of the run cuts nothing off that was printed before, however late it is read.
func TestLateReaderGetsAll(t *testing.T) {
	t.Parallel()
	f := startJobs(t)
	f.define(definition("a", job.Public))
	text := strings.Repeat("x", 32<<20)
	f.serveLogs(func(_ context.Context, r bus.LogRequest) (io.ReadCloser, error) {
		if r.RunID == "probe" {
			return nil, errProbed
		}
		return io.NopCloser(strings.NewReader(text)), nil
	})
	id := f.running("a")
	answer, _ := f.open("/jobs/a/runs/" + id + "/logs")
	f.moveTo("a", id, job.Succeeded, job.ReasonCompletionsReached)
	<-time.After(2*lastOutput + time.Second)
	if got, err := io.ReadAll(answer.Body); err != nil || len(got) != len(text) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// TestNoOutput: no jobrunner, no pod yet, nothing kept.
func TestNoOutput(t *testing.T) {
	f := startJobs(t)
	f.define(definition("a", job.Public))
	id := f.ask("a", "")
	path := "/jobs/a/runs/" + id + "/logs"
	expectProblem(t, f.send("GET", path, ""), noOutput) // nobody leads
	f.serveLogs(func(_ context.Context, r bus.LogRequest) (io.ReadCloser, error) {
		if r.RunID == "probe" {
			return nil, errProbed
		}
		return nil, bus.ErrNoLog
	})
	expectProblem(t, f.send("GET", path, ""), noOutput)
	f.moveTo("a", id, job.Failed, job.ReasonStartDeadlineExceeded)
	expectProblem(t, f.send("GET", path, ""), noOutput)
	f.change("a", id, func(r *job.Run) { r.Log = []job.LogPart{{Pod: "p", Container: "c", Object: "gone"}} })
	expectProblem(t, f.send("GET", path, ""), noOutput)
	f.readers.Add(maxLogs)
	expectProblem(t, f.send("GET", path, ""), fullStreams)
	if n := f.readers.Add(-maxLogs); n != 0 {
		t.Errorf("%d read", n)
	}
}

// keep stores a part of the output of a run.
func (f *jobFixture) keep(pod, container, text string) job.LogPart {
	f.t.Helper()
	name := pod + "/" + container
	size := must(f.bus.PutLog(f.t.Context(), name, strings.NewReader(text), 10<<20))(f.t)
	return job.LogPart{Pod: pod, Container: container, Object: name, Size: size}
}

// TestKeptLogs: the parts of a run that is over, with a title before each if there are several.
func TestKeptLogs(t *testing.T) {
	f := startJobs(t)
	f.define(definition("a", job.Public))
	id := f.ask("a", "")
	parts := []job.LogPart{f.keep("p-1", "c", "1\n2\n3\n"), f.keep("p-1", "sidecar", "no end"), f.keep("p-2", "c", "4\n5\n")}
	parts[2].Truncated = true
	f.moveTo("a", id, job.Succeeded, job.ReasonCompletionsReached)
	f.change("a", id, func(r *job.Run) { r.Log = parts })
	for query, want := range map[string]string{
		"":                                   "==> p-1 c <==\n1\n2\n3\n\n==> p-1 sidecar <==\nno end\n==> p-2 c <==\n(older lines are missing)\n4\n5\n",
		"?pod=p-2":                           "4\n5\n",
		"?pod=p-1&container=c":               "1\n2\n3\n",
		"?container=sidecar&follow=true":     "no end",
		"?tailLines=1":                       "==> p-1 c <==\n3\n\n==> p-1 sidecar <==\nno end\n==> p-2 c <==\n(older lines are missing)\n5\n",
		"?pod=p-1&container=c&tailLines=2":   "2\n3\n",
		"?pod=p-1&container=c&tailLines=100": "1\n2\n3\n",
		"?container=c":                       "==> p-1 c <==\n1\n2\n3\n\n==> p-2 c <==\n(older lines are missing)\n4\n5\n",
	} {
		answer := f.send("GET", "/jobs/a/runs/"+id+"/logs"+query, "")
		if answer.StatusCode != http.StatusOK || answer.err != nil || answer.body != want {
			t.Errorf("%s: %s %q, %v, want %q", query, answer.Status, answer.body, answer.err, want)
		}
	}
	for _, query := range []string{"?pod=p-3", "?pod=p-2&container=sidecar", "?container=x"} {
		expectProblem(t, f.send("GET", "/jobs/a/runs/"+id+"/logs"+query, ""), noOutput)
	}
	if err := f.bus.DeleteLog(t.Context(), parts[1].Object); err != nil {
		t.Fatal(err)
	}
	if answer := f.send("GET", "/jobs/a/runs/"+id+"/logs", ""); answer.err == nil {
		t.Errorf("a part is gone, and the rest looks whole: %q", answer.body)
	}
}

// TestLogsOfARunThatEndsMeanwhile: its pods are gone, and its output was kept a moment ago.
func TestLogsOfARunThatEndsMeanwhile(t *testing.T) {
	f := startJobs(t)
	f.define(definition("a", job.Public))
	id := f.running("a")
	part := f.keep("pod-1", "c", "kept\n")
	f.serveLogs(func(_ context.Context, r bus.LogRequest) (io.ReadCloser, error) {
		if r.RunID == "probe" {
			return nil, errProbed
		}
		f.change("a", id, func(r *job.Run) {
			r.Log = []job.LogPart{part}
			*r = r.Move(time.Now(), job.Succeeded, job.ReasonCompletionsReached, "")
		})
		return nil, bus.ErrNoLog
	})
	if answer := f.send("GET", "/jobs/a/runs/"+id+"/logs?follow=true", ""); answer.body != "kept\n" {
		t.Errorf("%s %q", answer.Status, answer.body)
	}
}
