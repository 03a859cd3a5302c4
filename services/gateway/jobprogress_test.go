package gateway

import (
	"errors"
	"io"
	"strings"
	"testing"

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
		l := logProgress{container: c.container, main: 1, at: c.at, passed: c.passed}
		now := "false"
		if l.choose(job.Run{Pods: c.pods}) {
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
	parts := []job.LogPart{{Pod: "1", Container: "init"}, {Pod: "1", Container: "c"}, {Pod: "2", Container: "side"}, {Pod: "2", Container: "c"}, {Pod: "gone", Container: "x"}}
	run := job.Run{Pods: []job.Pod{podIs("1", "Failed", 2), podIs("2", "Failed", 1), podIs("3", "Failed", 1)}, Log: parts}
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
		"of a pod that is not": {logPlace{}, []string{"1", "2"}, "gone x 0", false},
		"no more":              {logPlace{}, []string{"1", "2", "gone"}, "", false},
		"nothing was printed":  {logPlace{pod: "3", container: "c"}, []string{"1", "2", "gone"}, "", false},
		"silence, no rest":     {logPlace{pod: "3", container: "c", read: 9, silent: true}, []string{"1", "2", "gone"}, "", false},
		"silence, maybe rest":  {logPlace{pod: "1", container: "c", start: 2, read: 9, silent: true}, nil, "1 c 9", false},
		"no rest":              {logPlace{pod: "3", container: "c", read: 9}, []string{"1", "2", "gone"}, "", true},
	} {
		l := logProgress{main: 1, at: c.at, passed: c.passed}
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
		text := rapid.StringMatching(`([a-c]{0,3}\n?){0,9}`).Draw(t, "text")
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
			if err := place.resume(strings.NewReader(text[:place.read-1])); !errors.Is(err, io.EOF) {
				t.Fatalf("it is found in less: %v", err)
			}
		}
		if want := strings.Join(strings.SplitAfter(text, "\n")[skip:], ""); got.String() != want {
			t.Fatalf("%q, want %q", got.String(), want)
		}
	})
}
