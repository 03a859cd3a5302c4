package jobrunner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/job"
)

// kept is the text that was kept of a part.
func (f *fixture) kept(part job.LogPart) string {
	f.t.Helper()
	r, err := f.bus.GetLog(f.t.Context(), part.Object)
	if err != nil {
		f.t.Fatal(err)
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	if err != nil {
		f.t.Fatal(err)
	}
	return string(text)
}

// writes sets what the newest pod of the run's Job has written.
func (f *fixture) writes(id, text string) {
	f.t.Helper()
	o := f.api.of(id)
	f.api.set(func() { f.api.outputs[outputKey{o.Pods[len(o.Pods)-1].Name, "main"}].text = text })
}

func lines(from, to int) string {
	var b strings.Builder
	for i := from; i <= to; i++ {
		fmt.Fprintf(&b, "line %d\n", i)
	}
	return b.String()
}

func TestOutputIsKept(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		save string
		end  job.Phase
		want string
		cut  bool
		logs job.Logs
	}{
		{save: "Always", end: job.Succeeded, want: lines(1, 50), logs: job.Logs{TailLines: 100, MaxBytes: 1 << 20}},
		{save: "OnFailure", end: job.Failed, want: lines(1, 50), logs: job.Logs{TailLines: 100, MaxBytes: 1 << 20}},
		{save: "OnFailure", end: job.Succeeded, logs: job.Logs{TailLines: 100, MaxBytes: 1 << 20}},
		{save: "Never", end: job.Failed, logs: job.Logs{TailLines: 100, MaxBytes: 1 << 20}},
		{save: "Always", end: job.Failed, want: lines(41, 50), cut: true, logs: job.Logs{TailLines: 10, MaxBytes: 1 << 20}},
		{save: "Always", end: job.Failed, want: lines(49, 50), cut: true, logs: job.Logs{TailLines: 100, MaxBytes: 20}},
	} {
		t.Run(fmt.Sprint(c.save, c.end, c.logs.TailLines, c.logs.MaxBytes), func(t *testing.T) {
			t.Parallel()
			c.logs.Save = c.save
			f := newFixture(t, definition("fib", 1, func(d *job.Definition) { d.Logs = c.logs }))
			f.startSynced()
			f.publish("fib", "r1", "")
			f.phase("fib", "r1", job.Running)
			f.writes("r1", lines(1, 50))
			f.api.end("r1", c.end)
			run := f.closed("fib", "r1", c.end)
			switch {
			case c.want == "" && len(run.Log) > 0:
				t.Errorf("it is kept: %+v", run.Log)
			case c.want != "" && (len(run.Log) != 1 || run.Log[0].Size != int64(len(c.want)) || run.Log[0].Truncated != c.cut):
				t.Errorf("the parts are %+v, want %d bytes, truncated %v", run.Log, len(c.want), c.cut)
			case c.want != "" && f.kept(run.Log[0]) != c.want:
				t.Errorf("kept is\n%s\nwant\n%s", f.kept(run.Log[0]), c.want)
			}
		})
	}
}

// TestOutputThatCannotBeRead does not keep the run from ending.
func TestOutputThatCannotBeRead(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 1))
	f.api.plan = func(job.Object) plan { return plan{end: job.Failed} }
	f.api.script = refuse("logs", errServer)
	r := f.startSynced()
	f.publish("fib", "r1", "")
	if run := f.closed("fib", "r1", job.Failed); len(run.Log) != 0 || run.Reason != "BackoffLimitExceeded" {
		t.Errorf("the record is %+v", run)
	}
	if n := f.api.count("logs"); n != captureTries {
		t.Errorf("the output was asked for %d times", n)
	}
	if len(r.logs.with("without a part of its output")) != 1 {
		t.Error("the log does not say so")
	}
}

// TestOutputOfPodsThatAreRestartedInPlace is followed: it goes with the pod when the back-off limit is hit.
func TestOutputOfPodsThatAreRestartedInPlace(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 1, func(d *job.Definition) { d.Template = template("", "OnFailure", "x") }))
	f.startSynced()
	f.publish("fib", "r1", "")
	f.phase("fib", "r1", job.Running)
	eventually(t, "it is followed", func() bool { return f.api.count("logs"+done) == 1 })
	o := f.api.of("r1")
	pod := o.Pods[0].Name
	// The container ends and is started again.
	f.api.set(func() {
		f.api.silenceLocked(pod, false)
		f.api.outputs[outputKey{pod, "main"}] = &outputScript{text: "second\n", ended: make(chan struct{})}
	})
	f.api.change("r1", func(o *object) { o.Pods[0].Containers[0].Restarts = 1 })
	eventually(t, "it is followed again", func() bool { return f.api.count("logs"+done) >= 2 })
	f.api.set(func() { f.api.silenceLocked(pod, true) })
	f.api.change("r1", func(o *object) {
		o.End, o.EndReason, o.Pods, o.Counts = job.Failed, "BackoffLimitExceeded", nil, job.Counts{Failed: 1}
	})
	run := f.closed("fib", "r1", job.Failed)
	if len(run.Log) != 1 || run.Log[0].Pod != pod || f.kept(run.Log[0]) != "output of r1\nsecond\n" {
		t.Errorf("the parts are %+v", run.Log)
	}
}

// TestOutputOfAPodThatIsStillThere is read once, although it was followed.
func TestOutputOfAPodThatIsStillThere(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 1, func(d *job.Definition) { d.Template = template("", "OnFailure", "x") }))
	f.startSynced()
	f.publish("fib", "r1", "")
	f.phase("fib", "r1", job.Running)
	eventually(t, "it is followed", func() bool { return f.api.count("logs") == 1 })
	f.api.end("r1", job.Failed)
	if run := f.closed("fib", "r1", job.Failed); len(run.Log) != 1 || f.kept(run.Log[0]) != "output of r1\n" {
		t.Errorf("the parts are %+v", run.Log)
	}
}

// TestOutputWhileNATSIsAway is kept when it is back, however often it could not be.
func TestOutputWhileNATSIsAway(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 1))
	f.patience = time.Second
	f.startSynced()
	f.publish("fib", "r1", "")
	f.phase("fib", "r1", job.Running)
	f.drained()
	f.server.Stop()
	f.api.end("r1", job.Failed)
	eventually(t, "it is tried more than enough times", func() bool { return f.api.count("logs") > captureTries })
	f.server.Start()
	if run := f.closed("fib", "r1", job.Failed); len(run.Log) != 1 || f.kept(run.Log[0]) != "output of r1\n" {
		t.Errorf("the parts are %+v", run.Log)
	}
}

// TestLiveOutput serves the output of a run that is not over, and of its own pods alone.
func TestLiveOutput(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 2))
	f.startSynced()
	read := func(request bus.LogRequest) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), long)
		defer cancel()
		r, err := f.openLog(ctx, request)
		if err != nil {
			return "", err
		}
		defer r.Close()
		text, err := io.ReadAll(r)
		return string(text), err
	}
	if _, err := read(bus.LogRequest{Definition: "fib", RunID: "r1"}); !errors.Is(err, bus.ErrNoLog) {
		t.Errorf("the output of a run that is not there: %v", err)
	}
	for _, id := range []string{"r1", "r2"} {
		f.publish("fib", id, "")
		f.phase("fib", id, job.Running)
	}
	f.writes("r1", lines(1, 9))
	other := f.api.of("r2").Pods[0].Name
	for _, c := range []struct {
		request bus.LogRequest
		want    string
	}{
		{bus.LogRequest{}, lines(1, 9)},
		{bus.LogRequest{TailLines: 2}, lines(8, 9)},
		{bus.LogRequest{Container: "main", Pod: f.api.of("r1").Pods[0].Name}, lines(1, 9)},
	} {
		c.request.Definition, c.request.RunID = "fib", "r1"
		if got, err := read(c.request); err != nil || got != c.want {
			t.Errorf("%+v: %q, %v", c.request, got, err)
		}
	}
	for _, request := range []bus.LogRequest{{Pod: other}, {Container: "side"}, {Pod: "kube-apiserver"}} {
		request.Definition, request.RunID = "fib", "r1"
		if _, err := read(request); !errors.Is(err, bus.ErrNoLog) {
			t.Errorf("%+v: %v", request, err)
		}
	}

	before := f.api.count("logs")
	followed := make(chan string, 1)
	go func() {
		text, _ := read(bus.LogRequest{Definition: "fib", RunID: "r1", Follow: true})
		followed <- text
	}()
	eventually(t, "it is read", func() bool { return f.api.count("logs") > before })
	select {
	case text := <-followed:
		t.Fatalf("it ended before the container did: %q", text)
	case <-time.After(200 * time.Millisecond):
	}
	f.api.end("r1", job.Succeeded)
	select {
	case text := <-followed:
		if text != lines(1, 9) {
			t.Errorf("followed is %q", text)
		}
	case <-time.After(long):
		t.Fatal("it does not end with its container")
	}
	f.closed("fib", "r1", job.Succeeded)
	eventually(t, "the run is over for readers too", func() bool {
		_, err := read(bus.LogRequest{Definition: "fib", RunID: "r1"})
		return errors.Is(err, bus.ErrNoLog)
	})
}
