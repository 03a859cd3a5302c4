package gateway

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/job"
)

// printout is what one start of a container prints.
type printout struct {
	mu    sync.Mutex
	text  string
	ended bool
	grown chan struct{}
}

func (p *printout) change(text string, end bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text, p.ended = p.text+text, end
	if p.grown != nil {
		close(p.grown)
		p.grown = nil
	}
}

// look returns what there is from an offset on, or what to wait for.
func (p *printout) look(offset int) (text string, ended bool, grown <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.grown == nil {
		p.grown = make(chan struct{})
	}
	return p.text[offset:], p.ended, p.grown
}

// printoutReader reads a printout, to its present or real end.
type printoutReader struct {
	*printout
	follow bool
	offset int
	closed chan struct{}
	once   sync.Once
}

func (r *printoutReader) Read(p []byte) (int, error) {
	for {
		text, ended, grown := r.look(r.offset)
		if text != "" {
			n := copy(p, text)
			r.offset += n
			return n, nil
		}
		if ended || !r.follow {
			return 0, io.EOF
		}
		select {
		case <-grown:
		case <-r.closed:
			return 0, io.ErrClosedPipe
		}
	}
}

func (r *printoutReader) Close() error { r.once.Do(func() { close(r.closed) }); return nil }

// startReader is a printout that has a number.
type startReader struct {
	*printoutReader
	start int
}

func (r startReader) Start() int { return r.start }

// cluster has what the pods of one run print, each start of each by itself.
type cluster struct {
	mu     sync.Mutex
	starts map[string][]*printout
	// early is told of each request for a start that has not been, if there is room.
	early chan int
}

func (c *cluster) start(pod string) *printout {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := &printout{}
	if c.starts == nil {
		c.starts = map[string][]*printout{}
	}
	c.starts[pod] = append(c.starts[pod], p)
	return p
}

func (c *cluster) open(_ context.Context, r bus.LogRequest) (io.ReadCloser, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	starts := c.starts[r.Pod]
	if r.Start > len(starts) {
		select {
		case c.early <- r.Start:
		default:
		}
	}
	if len(starts) == 0 || r.Start > len(starts) || r.Container != "c" {
		return nil, bus.ErrNoLog
	}
	return startReader{&printoutReader{printout: starts[len(starts)-1], follow: r.Follow, closed: make(chan struct{})}, len(starts)}, nil
}

// pods sets the pods of a run: each word is a name and a phase.
func (f *jobFixture) pods(id string, pods ...string) {
	f.t.Helper()
	f.change("a", id, func(r *job.Run) {
		if r.Pods = nil; r.Phase == job.Queued {
			*r = r.Move(time.Now(), job.Running, job.ReasonActive, "")
		}
		for _, pod := range pods {
			name, phase, _ := strings.Cut(pod, " ")
			r.Pods = append(r.Pods, job.Pod{Name: name, Phase: phase, Containers: []job.Container{{Name: "init", Init: true}, {Name: "c"}}})
		}
	})
}

// follower reads an answer that goes on.
type follower struct {
	t    *testing.T
	body *bufio.Reader
}

func (f *jobFixture) follow(t *testing.T, id, query string) follower {
	t.Helper()
	answer, _ := f.open("/jobs/a/runs/" + id + "/logs?follow=true" + query) // returns with the head
	if answer.StatusCode != http.StatusOK {
		t.Fatal(answer.Status)
	}
	return follower{t, bufio.NewReader(answer.Body)}
}

// expect reads text.
func (f follower) expect(want string) {
	f.t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(f.body, got); err != nil || string(got) != want {
		f.t.Fatalf("got %d bytes of %d: %.100q, %v", n, len(want), got, err)
	}
}

// expectEnd reads the last of it, which is whole.
func (f follower) expectEnd(want string) {
	f.t.Helper()
	if got, err := io.ReadAll(f.body); err != nil || string(got) != want {
		f.t.Fatalf("at the end %.200q, %v, want %.200q", got, err, want)
	}
}

// expectCut reads to where it breaks off.
func (f follower) expectCut() {
	f.t.Helper()
	if got, err := io.ReadAll(f.body); err == nil {
		f.t.Fatalf("%.200q looks whole", got)
	}
}

// TestFollowFromTheRequest to the end of the run, over its pods. How many lines to begin with says nothing where there are none yet.
func TestFollowFromTheRequest(t *testing.T) {
	t.Parallel()
	f := startJobs(t)
	f.define(definition("a", job.Public))
	var c cluster
	f.serveLogs(c.open)
	id := f.ask("a", "")
	followers := []follower{f.follow(t, id, ""), f.follow(t, id, "&tailLines=1"), f.follow(t, id, "&container=c")}
	f.pods(id, "pod-1 Pending")
	first := c.start("pod-1")
	first.change("one\ntwo\n", false)
	f.pods(id, "pod-1 Running")
	for _, follower := range followers {
		follower.expect("one\ntwo\n")
	}
	first.change("failed", true)
	f.pods(id, "pod-1 Failed")
	second := c.start("pod-2")
	f.pods(id, "pod-1 Failed", "pod-2 Running")
	for _, follower := range followers {
		follower.expect("failed")
	}
	late := f.follow(t, id, "")
	late.expect("one\ntwo\nfailed")
	second.change("three\n", false)
	for _, follower := range append(followers, late) {
		follower.expect("three\n")
	}
	second.change("four\n", true)
	f.pods(id, "pod-1 Failed", "pod-2 Succeeded")
	f.moveTo("a", id, job.Succeeded, job.ReasonCompletionsReached)
	for _, follower := range append(followers, late) {
		follower.expectEnd("four\n")
	}
	eventually(t, "nobody to read", func() bool { return f.readers.Load() == 0 && len(f.jobs.runs.waiting) == 0 })
}

// TestFollowFromTheLastLines of the present pod.
func TestFollowFromTheLastLines(t *testing.T) {
	t.Parallel()
	f := startJobs(t)
	f.define(definition("a", job.Public))
	var c cluster
	stop := f.serveUntil(c.open)
	id := f.ask("a", "")
	c.start("pod-1").change("failed\n", true)
	out := c.start("pod-2")
	out.change("1\n2\n3\n4", false)
	f.pods(id, "pod-1 Failed", "pod-2 Running")
	followers := map[string]follower{"4": f.follow(t, id, "&tailLines=1"), "3\n4": f.follow(t, id, "&tailLines=2"), "1\n2\n3\n4": f.follow(t, id, "&tailLines=9")}
	for last, follower := range followers {
		follower.expect(last)
	}
	stop()
	out.change(" and\n5\n", false)
	f.serveLogs(c.open)
	for _, follower := range followers {
		follower.expect(" and\n5\n")
	}
	out.change("", true)
	f.pods(id, "pod-1 Failed", "pod-2 Succeeded")
	f.moveTo("a", id, job.Succeeded, job.ReasonCompletionsReached)
	for _, follower := range followers {
		follower.expectEnd("")
	}
}

// TestFollowAcrossJobrunners: not a byte is lost, or comes twice.
func TestFollowAcrossJobrunners(t *testing.T) {
	t.Parallel()
	f := startJobs(t)
	f.define(definition("a", job.Public))
	var c cluster
	id := f.ask("a", "")
	out := c.start("pod-1")
	f.pods(id, "pod-1 Running")
	follower := f.follow(t, id, "") // although nobody leads
	for i := range 4 {
		text := strings.Repeat(fmt.Sprintf("line of part %d\n", i), 20_000)
		out.change(text, false)
		for _, half := range []string{text[:len(text)/2+i], text[len(text)/2+i:]} { // the jobrunner goes away in the middle
			stop := f.serveUntil(c.open)
			follower.expect(half)
			stop()
		}
	}
	f.serveLogs(c.open)
	out.change("end\n", true)
	f.pods(id, "pod-1 Succeeded")
	follower.expect("end\n")
	f.moveTo("a", id, job.Succeeded, job.ReasonCompletionsReached)
	follower.expectEnd("")
}

// TestFollowContainerThatIsStartedAgain in its pod: the output of each start comes, also where it is the same.
func TestFollowContainerThatIsStartedAgain(t *testing.T) {
	t.Parallel()
	f := startJobs(t)
	f.define(definition("a", job.Public))
	c := cluster{early: make(chan int)}
	f.serveLogs(c.open)
	id := f.ask("a", "")
	c.start("pod-1").change("same\n", true)
	f.pods(id, "pod-1 Running")
	follower := f.follow(t, id, "")
	for i := range 3 {
		follower.expect("same\n")
		if start := wait(t, "the next start to be asked for", c.early); start != i+2 {
			t.Errorf("start %d is asked for", start)
		}
		c.start("pod-1").change("same\n", true)
	}
	follower.expect("same\n")
	f.change("a", id, func(r *job.Run) {
		r.Pods[0].Phase, r.Pods[0].Containers[1].Restarts = "Succeeded", 4
		r.Log = []job.LogPart{f.keep("pod-1", "c", "the last one, which nobody has seen\n")}
	})
	f.moveTo("a", id, job.Succeeded, job.ReasonCompletionsReached)
	follower.expectEnd("the last one, which nobody has seen\n")
}

// TestFollowToWhatWasKept: what was not read before the run was over is read from there.
func TestFollowToWhatWasKept(t *testing.T) {
	t.Parallel()
	f := startJobs(t)
	f.define(definition("a", job.Public))
	var c cluster
	stop := f.serveUntil(c.open)
	followers, runs := map[string]follower{}, map[string]string{}
	for _, pod := range []string{"unseen", "cut", "lost", "other"} {
		id := f.ask("a", "")
		if runs[pod] = id; pod == "unseen" {
			followers[pod] = f.follow(t, id, "&tailLines=1")
			continue
		}
		c.start(pod).change("1\n2\n", false)
		f.pods(id, pod+" Running")
		followers[pod] = f.follow(t, id, "")
		followers[pod].expect("1\n2\n")
	}
	stop()
	asked := make(chan string, 1000)
	f.serveLogs(func(_ context.Context, r bus.LogRequest) (io.ReadCloser, error) {
		asked <- r.Pod
		return nil, bus.ErrNoLog
	})
	for again := map[string]bool{}; len(again) < 3; { // it was noticed that the output was cut
		if pod := wait(t, "them to ask again", asked); pod != "" {
			again[pod] = true
		}
	}
	init, second := f.keep("unseen", "init", "no\n"), f.keep("pod-2", "c", "3\n")
	for pod, parts := range map[string][]job.LogPart{
		"unseen": {init, f.keep("unseen", "c", "1\n2\n"), second}, "cut": {f.keep("cut", "c", "1\n2\n3\n"), second}, "lost": nil, "other": {f.keep("other", "c", "2\n3\n4\n5\n")},
	} {
		f.pods(runs[pod], pod+" Failed", "pod-2 Succeeded")
		f.change("a", runs[pod], func(r *job.Run) { r.Log = parts })
		f.moveTo("a", runs[pod], job.Succeeded, job.ReasonCompletionsReached)
	}
	followers["unseen"].expectEnd("1\n2\n3\n")
	followers["cut"].expectEnd("3\n3\n")
	followers["lost"].expectCut()
	followers["other"].expectCut()
}

// TestFollowWithoutOutput ends with the run, or its record.
func TestFollowWithoutOutput(t *testing.T) {
	t.Parallel()
	f := startJobs(t)
	f.define(definition("a", job.Public))
	f.serveLogs(new(cluster).open)
	cancelled, rejected, removed, failed := f.ask("a", ""), f.ask("a", ""), f.ask("a", ""), f.ask("a", "")
	var followers []follower
	for _, id := range []string{cancelled, rejected, removed, failed} {
		followers = append(followers, f.follow(t, id, ""))
	}
	f.pods(failed, "pod-1 Running")
	expectProblem(t, f.send("GET", "/jobs/a/runs/"+failed+"/logs?follow=true&container=other", ""), noOutput)
	f.moveTo("a", cancelled, job.Cancelled, job.ReasonUserRequested)
	f.moveTo("a", rejected, job.Rejected, "ImageNotAllowed")
	f.moveTo("a", failed, job.Failed, "BackoffLimitExceeded")
	_, revision, err := f.records.Get(t.Context(), "a", removed)
	if err == nil {
		err = f.records.Remove(t.Context(), "a", removed, revision)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, follower := range followers {
		follower.expectEnd("")
	}
	expectProblem(t, f.send("GET", "/jobs/a/runs/"+cancelled+"/logs?follow=true", ""), noOutput)
}

// TestFollowOfAQueuedRunEnds with the caller, and with the gateway.
func TestFollowOfAQueuedRunEnds(t *testing.T) {
	t.Parallel()
	f := startJobs(t)
	f.define(definition("a", job.Public))
	id := f.ask("a", "")
	_, hangUp := f.open("/jobs/a/runs/" + id + "/logs?follow=true")
	hangUp()
	eventually(t, "nobody to read", func() bool { return f.readers.Load() == 0 })
	follower := f.follow(t, id, "")
	f.stopTaking()
	follower.expectCut()
	if err := wait(t, "Run to return", f.ended); err != nil {
		t.Error(err)
	}
}
