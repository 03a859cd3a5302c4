package gateway

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"github.com/sluicefaas/sluice/pkg/job"
)

// podIs is a pod with an init container, one named side, and the main one, which was started so often.
func podIs(name, phase string, starts int) job.Pod {
	return job.Pod{Name: name, Phase: phase, Containers: []job.Container{{Name: "init", Init: true}, {Name: "side"}, {Name: "c", Restarts: starts - 1}}}
}

// TestChooseOutput: what is read next of a run that is not over.
func TestChooseOutput(t *testing.T) {
	t.Parallel()
	failed, running, pending := podIs("1", "Failed", 2), podIs("2", "Running", 1), podIs("3", "Pending", 1)
	for name, c := range map[string]struct {
		pods      []job.Pod
		at        logPlace
		passed    []string
		container string
		want      string // pod and container, and whether to read now
	}{
		"no pod yet":                    {nil, logPlace{}, nil, "", " false"},
		"none has begun":                {[]job.Pod{pending}, logPlace{}, nil, "", " false"},
		"the first one":                 {[]job.Pod{failed, running}, logPlace{}, nil, "", "1 c true"},
		"a container":                   {[]job.Pod{failed}, logPlace{}, nil, "init", "1 init true"},
		"no such container":             {[]job.Pod{failed}, logPlace{}, nil, "x", " false"},
		"one that cannot start":         {[]job.Pod{pending, running}, logPlace{}, nil, "", "2 c true"},
		"not read yet":                  {[]job.Pod{failed, running}, logPlace{pod: "1", container: "c"}, nil, "", "1 c true"},
		"read":                          {[]job.Pod{failed, running}, logPlace{pod: "1", container: "c", ended: true}, nil, "", "2 c true"},
		"read, and started once more":   {[]job.Pod{failed, running}, logPlace{pod: "1", container: "c", ended: true, start: 1}, nil, "", "1 c true"},
		"the last start read":           {[]job.Pod{failed, running}, logPlace{pod: "1", container: "c", ended: true, start: 2}, nil, "", "2 c true"},
		"it may go on":                  {[]job.Pod{running}, logPlace{pod: "2", container: "c", ended: true}, nil, "", "2 c false"},
		"it may be started again":       {[]job.Pod{running}, logPlace{pod: "2", container: "c", ended: true, start: 1}, nil, "", "2 c true"},
		"the pod is gone":               {[]job.Pod{running}, logPlace{pod: "1", container: "c"}, nil, "", "2 c true"},
		"nothing after it":              {[]job.Pod{failed}, logPlace{pod: "1", container: "c", ended: true}, nil, "", " false"},
		"never back to what was passed": {[]job.Pod{failed, running}, logPlace{pod: "2", container: "c", ended: true}, []string{"1"}, "", "2 c false"},
	} {
		l := logProgress{container: c.container, at: c.at, passed: c.passed}
		now := "false"
		if l.choose(job.Run{Container: "c", Pods: c.pods}) {
			now = "true"
		}
		if got := strings.TrimLeft(l.at.pod+" "+l.at.container+" "+now, " "); got != strings.TrimLeft(c.want, " ") {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestChooseKeptOutput: what is read next of a run that is over.
func TestChooseKeptOutput(t *testing.T) {
	t.Parallel()
	parts := []job.LogPart{{Pod: "1", Container: "init"}, {Pod: "1", Container: "c"}, {Pod: "2", Container: "side"}, {Pod: "2", Container: "c"}, {Pod: "4", Container: "c"},
		{Pod: "gone", Container: "agent"}, {Pod: "gone", Container: "c"}}
	run := job.Run{Container: "c", Pods: []job.Pod{podIs("1", "Failed", 2), podIs("2", "Failed", 1), podIs("3", "Failed", 1), podIs("4", "Failed", 4)}, Log: parts}
	for name, c := range map[string]struct {
		at     logPlace
		passed []string
		want   string
		cut    bool
	}{
		"from the first one":   {logPlace{}, nil, "1 c 0", false},
		"the rest":             {logPlace{pod: "1", container: "c", start: 2, read: 9}, nil, "1 c 9", false},
		"the next":             {logPlace{pod: "1", container: "c", start: 2, read: 9, ended: true}, nil, "2 c 0", false},
		"a later start":        {logPlace{pod: "1", container: "c", start: 1, read: 9, ended: true}, nil, "1 c 0", false},
		"all of it was whole":  {logPlace{pod: "1", container: "c", read: 9, ended: true}, nil, "2 c 0", false},
		"a start was cut":      {logPlace{pod: "1", container: "c", start: 1, read: 9}, nil, "", true},
		"cut without a byte":   {logPlace{pod: "1", container: "c", start: 1}, nil, "1 c 0", false},
		"a start fell silent":  {logPlace{pod: "1", container: "c", start: 1, read: 9, silent: true}, nil, "1 c 0", false},
		"the next start":       {logPlace{pod: "4", container: "c", start: 3, read: 9, ended: true}, nil, "4 c 0", false},
		"starts in between":    {logPlace{pod: "4", container: "c", start: 2, read: 9, ended: true}, nil, "", true},
		"of a pod that is not": {logPlace{}, []string{"1", "2", "4"}, "gone c 0", false},
		"no more":              {logPlace{}, []string{"1", "2", "4", "gone"}, "", false},
		"nothing was printed":  {logPlace{pod: "3", container: "c"}, []string{"1", "2", "4", "gone"}, "", false},
		"silence, no rest":     {logPlace{pod: "3", container: "c", read: 9, silent: true}, []string{"1", "2", "4", "gone"}, "", false},
		"silence, maybe rest":  {logPlace{pod: "1", container: "c", start: 2, read: 9, silent: true}, nil, "1 c 9", false},
		"no rest":              {logPlace{pod: "3", container: "c", read: 9}, []string{"1", "2", "4", "gone"}, "", true},
	} {
		l := logProgress{at: c.at, passed: c.passed}
		part, found, err := l.chooseKept(run)
		want := ""
		if found {
			want = part.Pod + " " + part.Container + " " + string(rune('0'+l.at.read))
		}
		if want != c.want || errors.Is(err, errCut) != c.cut {
			t.Errorf("%s: %q, %v, want %q", name, want, err, c.want)
		}
	}
}

// TestPlaceIsFoundAgain wherever the reading broke off, and only in the same output; the last lines are wanted from their first byte on.
func TestPlaceIsFoundAgain(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Repeat("long\n", rapid.IntRange(0, 1).Draw(t, "more than the head")*maxHead/4) + rapid.StringMatching(`([a-c]{0,3}\n?){0,9}`).Draw(t, "text")
		skip := rapid.IntRange(0, strings.Count(text, "\n")).Draw(t, "skip")
		place := logPlace{skip: skip}
		var got strings.Builder
		for place.read < int64(len(text)) {
			from := strings.NewReader(text)
			if err := place.resume(from); err != nil {
				t.Fatal(err)
			}
			piece := make([]byte, rapid.IntRange(1, from.Len()).Draw(t, "piece"))
			n, _ := from.Read(piece)
			got.Write(place.took(piece[:n]))
			if err := place.resume(strings.NewReader("x" + text)); !errors.Is(err, errCut) {
				t.Fatalf("it is found in another output: %v", err)
			}
			if err := place.resume(strings.NewReader(text[:place.read-1])); !errors.Is(err, errShort) || !errors.Is(err, errCut) || errors.Is(err, io.EOF) {
				t.Fatalf("it is found in less: %v", err)
			}
			if other := text[:place.read-1] + "x"; place.read > 0 && !errors.Is(place.resume(strings.NewReader(other+text)), errCut) {
				t.Fatal("it is found where the last byte is another one")
			}
		}
		if want := strings.Join(strings.SplitAfter(text, "\n")[skip:], ""); got.String() != want {
			t.Fatalf("%q, want %q", got.String(), want)
		}
	})
}

// TestAnotherOutputShowsAtOnce: what it prints is not swallowed until it is as long as what has come.
func TestAnotherOutputShowsAtOnce(t *testing.T) {
	t.Parallel()
	var place logPlace
	place.took([]byte(strings.Repeat("some line\n", 10_000)))
	for _, text := range []string{"x", "some other line\n", strings.Repeat("some line\n", 100) + "the end\n"} {
		from := io.MultiReader(iotest.OneByteReader(strings.NewReader(text)), iotest.ErrReader(errors.New("it was read on")))
		if err := place.resume(from); !errors.Is(err, errCut) || errors.Is(err, errShort) {
			t.Errorf("%.20q: %v", text, err)
		}
	}
	broken := errors.New("broken")
	for _, n := range []int{0, 100, maxHead, maxHead + 1, 99_999} {
		from := io.MultiReader(strings.NewReader(strings.Repeat("some line\n", 10_000)[:n]), iotest.ErrReader(broken))
		if err := place.resume(from); !errors.Is(err, broken) {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
}

// TestLostPod: the rest of what is read is lost with its pod, unless all of it has come.
func TestLostPod(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		at   logPlace
		want bool
	}{
		"none yet": {logPlace{}, false},
		"unread":   {logPlace{pod: "gone"}, false},
		"cut":      {logPlace{pod: "gone", read: 1}, true},
		"ended":    {logPlace{pod: "gone", read: 1, ended: true}, false},
		"silent":   {logPlace{pod: "gone", read: 1, silent: true}, false},
		"there":    {logPlace{pod: "1", read: 1}, false},
	} {
		l := logProgress{at: c.at}
		if got := l.lost(job.Run{Pods: []job.Pod{podIs("1", "Running", 1)}}); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
