package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// output is a pod's that a test writes.
func testOutput(t interface {
	Fatal(args ...any)
	Cleanup(func())
}, folder string, limit int64) *podOutput {
	root, err := os.OpenRoot(folder)
	if err != nil {
		t.Fatal(err)
	}
	o := newPodOutput(root, "p", limit)
	if err := o.resume(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.close(); _ = root.Close() })
	return o
}

func readLog(t interface{ Fatal(args ...any) }, o *podOutput, tail int) string {
	log, err := openPodLog(context.Background(), o, tail, false)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	text, err := io.ReadAll(log)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Whatever is written in whatever pieces: what is kept is the end of it, at most the limit and at least half of it, and a tail is the last lines of that.
func TestKeptOutputIsTheEndOfWhatWasWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		limit := rapid.Int64Range(20, 200).Draw(rt, "limit")
		o := testOutput(rt, t.TempDir(), limit)
		var written strings.Builder
		for _, piece := range rapid.SliceOfN(rapid.StringMatching(`[a-z\n]{0,9}`), 0, 60).Draw(rt, "pieces") {
			_, _ = o.Write([]byte(piece))
			written.WriteString(piece)
		}
		kept := readLog(rt, o, 0)
		if !strings.HasSuffix(written.String(), kept) || int64(len(kept)) > limit || len(kept) < min(int(limit)/2-9, written.Len()) {
			rt.Fatalf("kept %d of %d bytes, limit %d: %q of %q", len(kept), written.Len(), limit, kept, written.String())
		}
		lines := strings.SplitAfter(kept, "\n")
		if lines[len(lines)-1] == "" {
			lines = lines[:len(lines)-1]
		}
		tail := rapid.IntRange(1, 12).Draw(rt, "tail")
		if want := strings.Join(lines[max(len(lines)-tail, 0):], ""); readLog(rt, o, tail) != want {
			rt.Fatalf("the last %d lines of %q are %q, want %q", tail, kept, readLog(rt, o, tail), want)
		}
	})
}

// Those who follow get everything, also across files, and end with the output.
func TestFollowedOutput(t *testing.T) {
	t.Parallel()
	o := testOutput(t, t.TempDir(), 64<<10)
	_, _ = o.Write([]byte("first\nsecond\n"))
	var readers sync.WaitGroup
	start := make(chan struct{})
	texts := make([]string, 3)
	for i := range texts {
		log, err := openPodLog(t.Context(), o, 1, true)
		if err != nil {
			t.Fatal(err)
		}
		readers.Go(func() {
			defer func() { _ = log.Close() }()
			<-start
			text, err := io.ReadAll(log)
			if err != nil {
				t.Error(err)
			}
			texts[i] = string(text)
		})
	}
	close(start)
	want := strings.Builder{}
	want.WriteString("second\n")
	for i := range 2000 { // less than a half beyond what a reader can fall behind
		line := fmt.Sprintf("%04d %s\n", i, strings.Repeat("x", 10))
		want.WriteString(line)
		_, _ = o.Write([]byte(line))
	}
	if err := o.close(); err != nil {
		t.Fatal(err)
	}
	o.end()
	readers.Wait()
	for i, text := range texts {
		if text != want.String() {
			t.Errorf("reader %d has %d bytes, want %d", i, len(text), want.Len())
		}
	}
}

// Who follows waits for the next process of the pod, also if he comes between two.
func TestFollowedOutputGoesOn(t *testing.T) {
	t.Parallel()
	o := testOutput(t, t.TempDir(), 1000)
	_, _ = o.Write([]byte("first\n"))
	if err := o.close(); err != nil {
		t.Fatal(err)
	}
	log, err := openPodLog(t.Context(), o, 0, true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	text := make(chan string, 1)
	go func() { all, _ := io.ReadAll(log); text <- string(all) }()
	eventually(t, "the reader waits", func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.grown != nil || len(text) > 0
	})
	if err := o.resume(); err != nil {
		t.Fatal(err)
	}
	_, _ = o.Write([]byte("second\n"))
	o.end()
	if got := <-text; got != "first\nsecond\n" {
		t.Errorf("got %q", got)
	}
}

// Who reads too slowly learns that he has missed what was dropped, and neither holds up the process nor waits for ever. Up to two files behind he has missed nothing.
func TestSlowReaderMissesWhatIsDropped(t *testing.T) {
	t.Parallel()
	for files, want := range map[int]error{0: nil, 1: nil, 2: nil, 3: errDropped, 9: errDropped} {
		o := testOutput(t, t.TempDir(), 1000)
		line := strings.Repeat("x", 499) + "\n" // as much as a file has room for
		_, _ = o.Write([]byte(line))
		log, err := openPodLog(t.Context(), o, 0, true)
		if err != nil {
			t.Fatal(err)
		}
		for range files {
			_, _ = o.Write([]byte(line))
		}
		if err := o.close(); err != nil {
			t.Fatal(err)
		}
		o.end()
		text, err := io.ReadAll(log)
		whole := strings.Repeat(line, files+1)
		if !errors.Is(err, want) || err == nil && string(text) != whole || err != nil && string(text) != line {
			t.Errorf("%d files behind, %d bytes: %v", files, len(text), err)
		}
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Who has not read all when the pod goes with its output learns that as well.
func TestReaderOfAPodThatIsGone(t *testing.T) {
	t.Parallel()
	o := testOutput(t, t.TempDir(), 1000)
	_, _ = o.Write([]byte("first\n"))
	log, err := openPodLog(t.Context(), o, 0, true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	_, _ = o.Write([]byte(strings.Repeat("x", 600)))
	for _, suffix := range []string{outputSuffix, olderSuffix} {
		if err := o.root.Remove(o.pod + suffix); err != nil {
			t.Fatal(err)
		}
	}
	o.end()
	if text, err := io.ReadAll(log); !errors.Is(err, errDropped) || string(text) != "first\n" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestEndOfFollowing(t *testing.T) {
	t.Parallel()
	o := testOutput(t, t.TempDir(), 1000)
	_, _ = o.Write([]byte("x\n"))
	for _, end := range []string{"context", "close"} {
		ctx, cancel := context.WithCancel(t.Context())
		log, err := openPodLog(ctx, o, 0, true)
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan error, 1)
		go func() {
			_, err := io.ReadAll(log)
			got <- err
		}()
		eventually(t, "the reader waits", func() bool {
			o.mu.Lock()
			defer o.mu.Unlock()
			return o.grown != nil
		})
		if end == "context" {
			cancel()
		} else if err := log.Close(); err != nil {
			t.Error(err)
		}
		if err := <-got; !errors.Is(err, context.Canceled) && !errors.Is(err, fs.ErrClosed) { // it must not look whole
			t.Error(err)
		}
		cancel()
		_ = log.Close()
		o.mu.Lock()
		o.wake()
		o.mu.Unlock()
	}
}

// A process that writes more than is kept is not held up, and neither is its end.
func TestJobThatWritesMuch(t *testing.T) {
	t.Parallel()
	r := runJobCluster(t, t.TempDir())
	r.create(testJob(t, "j", "", "megabytes=12", "print=end"))
	pod := r.ended("j").Pods[0].Name
	got := r.output(pod, 0, true)
	if len(got) > maxOutput || len(got) < maxOutput/2 || !strings.HasSuffix(got, "x\nend\n") || !strings.HasPrefix(got, "00000") {
		t.Errorf("kept %d bytes, %.20q … %.20q", len(got), got, got[max(len(got)-20, 0):])
	}
	if tail := r.output(pod, 2, false); strings.Count(tail, "\n") != 2 || !strings.HasPrefix(tail, "000012287 ") {
		t.Errorf("the last two lines begin with %.20q", tail)
	}
}
