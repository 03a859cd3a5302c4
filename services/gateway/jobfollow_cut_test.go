package gateway

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/job"
)

// end ends a run of which so much was kept.
func (f *jobFixture) end(id string, parts ...job.LogPart) {
	f.t.Helper()
	f.change("a", id, func(r *job.Run) { r.Log = parts })
	f.moveTo("a", id, job.Succeeded, job.ReasonCompletionsReached)
}

// keepEnd is what is kept of output that is longer.
func (f *jobFixture) keepEnd(pod, text string) job.LogPart {
	f.t.Helper()
	part := f.keep(pod, "c", text)
	part.Truncated = true
	return part
}

// TestFollowToTheEndThatWasKept: what was kept of a long output is its end. It is not taken for the rest of what was read.
func TestFollowToTheEndThatWasKept(t *testing.T) {
	t.Parallel()
	f := startJobs(t)
	f.define(definition("a", job.Public))
	var c cluster
	stop := f.serveUntil(c.open)
	followers, runs := map[string]follower{}, map[string]string{}
	for _, pod := range []string{"prefix", "tail", "all"} {
		runs[pod] = f.ask("a", "")
		c.start(pod).change("x\nx\nx\n", false)
		f.pods(runs[pod], pod+" Running")
		followers[pod] = f.follow(t, runs[pod], "")
		followers[pod].expect("x\nx\nx\n")
	}
	stop()
	f.end(runs["prefix"], f.keepEnd("prefix", "x\nx\n"))
	f.end(runs["tail"], f.keepEnd("tail", "y\n"))
	f.end(runs["all"], f.keep("all", "c", "x\nx\nx\n"))
	followers["prefix"].expectCut()
	followers["tail"].expectCut()
	followers["all"].expectEnd("")
}

// TestFollowOfSilentOutput: when nothing has come for long after the end of the run, all has, whatever was kept.
func TestFollowOfSilentOutput(t *testing.T) {
	t.Parallel()
	f := startJobs(t)
	f.define(definition("a", job.Public))
	var c cluster
	f.serveLogs(c.open)
	id := f.ask("a", "")
	c.start("pod-1").change("1\n2\n3\n", false)
	f.pods(id, "pod-1 Running")
	follower := f.follow(t, id, "")
	follower.expect("1\n2\n3\n")
	f.end(id, f.keepEnd("pod-1", "3\n"))
	follower.expectEnd("")
}

// TestFollowSaysWhatIsMissing of output of which nothing was read before its pod was over.
func TestFollowSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	f := startJobs(t)
	f.define(definition("a", job.Public))
	var c cluster
	stop := f.serveUntil(func(ctx context.Context, r bus.LogRequest) (io.ReadCloser, error) {
		if r.Follow && r.Pod == "counted" {
			return nil, bus.ErrNoLog
		}
		return c.open(ctx, r)
	})
	unread, counted := f.ask("a", ""), f.ask("a", "")
	c.start("pod-1").change("within a line", true)
	c.start("counted").change("1\n2\n3\n", false)
	f.pods(unread, "pod-1 Failed")
	f.pods(counted, "counted Running")
	followers := []follower{f.follow(t, unread, ""), f.follow(t, counted, "&tailLines=1")}
	followers[0].expect("within a line")
	stop()
	f.pods(unread, "pod-1 Failed", "pod-2 Failed", "pod-3 Succeeded")
	f.end(unread, f.keep("pod-1", "c", "within a line"), f.keepEnd("pod-2", "2\n"), f.keepEnd("pod-3", "3\n"))
	f.end(counted, f.keepEnd("counted", "2\n3\n"))
	followers[0].expectEnd("\n(older lines are missing)\n2\n(older lines are missing)\n3\n")
	followers[1].expectEnd("(older lines are missing)\n2\n3\n")
}

// TestFollowOfLessThanWasRead: live output that has become shorter is tried for a while, and is no end.
func TestFollowOfLessThanWasRead(t *testing.T) {
	t.Parallel()
	f := startJobs(t)
	f.define(definition("a", job.Public))
	var before, after cluster
	stop := f.serveUntil(before.open)
	before.start("pod-1").change("1\n2\n", false)
	after.start("pod-1").change("1\n", true)
	id := f.ask("a", "")
	f.pods(id, "pod-1 Running")
	output := must(f.followOutput(t.Context(), askedRun{runKey{"a", id}, f.jobs.records.Load()}, logRequest{follow: true}))(t).(*followedOutput)
	defer output.Close()
	if _, err := io.ReadFull(output, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	stop()
	f.serveLogs(after.open)
	output.failures = followTries - 1 // that it was cut is the next one
	if text, err := io.ReadAll(output); !errors.Is(err, errCut) || len(text) > 0 {
		t.Errorf("%q, %v", text, err)
	}
}

// TestFollowOfAnotherOutput: a node that has dropped the beginning does not bring it back. It is not waited for, nor until another output is as long.
func TestFollowOfAnotherOutput(t *testing.T) {
	t.Parallel()
	f := startJobs(t)
	f.define(definition("a", job.Public))
	var before, after cluster
	stop := f.serveUntil(before.open)
	before.start("pod-1").change("1\n2\n3\n", false)
	after.start("pod-1").change("3\n", false)
	running, ends := f.ask("a", ""), f.ask("a", "")
	f.pods(running, "pod-1 Running")
	f.pods(ends, "pod-1 Running")
	followers := []follower{f.follow(t, running, ""), f.follow(t, ends, "")}
	for _, follower := range followers {
		follower.expect("1\n2\n3\n")
	}
	stop()
	kept := f.keep("pod-1", "c", "1\n2\n3\n4\n")
	var opened atomic.Int64
	f.serveLogs(func(ctx context.Context, r bus.LogRequest) (io.ReadCloser, error) {
		switch r.RunID {
		case running:
			opened.Add(1)
		case ends:
			f.end(ends, kept)
		}
		return after.open(ctx, r)
	})
	followers[0].expectCut()
	if n := opened.Load(); n != 1 {
		t.Errorf("it was opened %d times", n)
	}
	followers[1].expectEnd("4\n")
}

// TestFollowMissesNoStart of a container: neither the rest of one nor a whole one is dropped in silence. Who comes new begins with the newest one.
func TestFollowMissesNoStart(t *testing.T) {
	t.Parallel()
	f := startJobs(t)
	f.define(definition("a", job.Public))
	var c cluster
	stop := f.serveUntil(c.open)
	id := f.ask("a", "")
	c.start("pod-1").change("1\n", true)
	c.start("pod-2").change("1\n", false)
	f.pods(id, "pod-1 Running")
	ended := f.follow(t, id, "")
	ended.expect("1\n")
	other := f.ask("a", "")
	f.pods(other, "pod-2 Running")
	cut := f.follow(t, other, "")
	cut.expect("1\n")
	stop()
	c.start("pod-1").change("2\n", true)
	c.start("pod-1").change("3\n", false)
	c.start("pod-2").change("1\n2\n", false)
	f.serveLogs(c.open)
	ended.expectCut()
	cut.expectCut()
	f.follow(t, id, "").expect("3\n")
}

// TestFollowPassesAPodWithoutOutput soon: the next one runs.
func TestFollowPassesAPodWithoutOutput(t *testing.T) {
	t.Parallel()
	f := startJobs(t)
	f.define(definition("a", job.Public))
	var c cluster
	var asked atomic.Int64
	f.serveLogs(func(ctx context.Context, r bus.LogRequest) (io.ReadCloser, error) {
		if r.Pod == "pod-1" {
			asked.Add(1)
		}
		return c.open(ctx, r)
	})
	id := f.ask("a", "")
	c.start("pod-2").change("2\n", false)
	f.pods(id, "pod-1 Failed", "pod-2 Running")
	f.follow(t, id, "").expect("2\n")
	if n := asked.Load(); n < 2 || n > passTries+2 { // begin asks as well
		t.Errorf("it was asked for %d times", n)
	}
}

// TestFollowOfARunThatIsGone with a pod, or with its record, in the middle of its output.
func TestFollowOfARunThatIsGone(t *testing.T) {
	t.Parallel()
	f := startJobs(t)
	f.define(definition("a", job.Public))
	var c cluster
	stop := f.serveUntil(c.open)
	c.start("pod-1").change("1\n", false)
	pod, record := f.ask("a", ""), f.ask("a", "")
	var followers []follower
	for _, id := range []string{pod, record} {
		f.pods(id, "pod-1 Running")
		followers = append(followers, f.follow(t, id, ""))
		followers[len(followers)-1].expect("1\n")
	}
	f.pods(pod, "pod-2 Running")
	_, revision, err := f.records.Get(t.Context(), "a", record)
	if err == nil {
		err = f.records.Remove(t.Context(), "a", record, revision)
	}
	if err != nil {
		t.Fatal(err)
	}
	stop()
	for _, follower := range followers {
		follower.expectCut()
	}
}

// TestFollowOfTheMainContainer: kubelets sort what they report by name, and webhooks add containers.
func TestFollowOfTheMainContainer(t *testing.T) {
	t.Parallel()
	f := startJobs(t)
	f.define(definition("a", job.Public))
	var c cluster
	f.serveLogs(c.open)
	id := f.ask("a", "")
	c.start("pod-1").change("1\n", true)
	f.change("a", id, func(r *job.Run) {
		*r = r.Move(time.Now(), job.Running, job.ReasonActive, "")
		r.Pods = []job.Pod{{Name: "pod-1", Phase: "Running", Containers: []job.Container{{Name: "agent"}, {Name: "c"}, {Name: "proxy"}}}}
	})
	follower := f.follow(t, id, "")
	follower.expect("1\n")
	f.change("a", id, func(r *job.Run) { r.Pods[0].Phase = "Succeeded" })
	f.end(id, f.keep("pod-1", "agent", "no\n"), f.keep("pod-1", "c", "1\n"), f.keep("gone", "agent", "no\n"), f.keep("gone", "c", "2\n"))
	follower.expectEnd("2\n")
	if body := f.send("GET", "/jobs/a/runs/"+id, "").body; !strings.Contains(body, `"container":"c"`) {
		t.Errorf("%s", body)
	}
}
