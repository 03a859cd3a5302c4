package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/job"
)

const (
	// maxLogs bounds the callers who read output at a time, and logPiece is how much of it is in memory for each of them, in bytes.
	maxLogs  = 1_000
	logPiece = 32 << 10
	// maxTail bounds the lines that may be asked for.
	maxTail = 1_000_000
)

// logRequest says which part of a run's output is asked for.
type logRequest struct {
	// pod and container are empty for any.
	pod, container string
	// tail is how many lines to begin with, 0 for all.
	tail   int
	follow bool
}

func parseLogRequest(query url.Values) (wanted logRequest, p *Problem) {
	wanted.pod, wanted.container = query.Get("pod"), query.Get("container")
	for name, value := range map[string]string{"pod": wanted.pod, "container": wanted.container} {
		if value != "" && !podName(value) {
			return wanted, problem(badRequest, "%s: %.100q must be a name as GET /jobs/<name>/runs/<id> has it", name, value)
		}
	}
	var err error
	if text := query.Get("tailLines"); text != "" {
		if wanted.tail, err = strconv.Atoi(text); err != nil || wanted.tail < 0 || wanted.tail > maxTail {
			return wanted, problem(badRequest, "tailLines: %.100q must be a number from 0 to %d", text, maxTail)
		}
	}
	if text := query.Get("follow"); text != "" {
		if wanted.follow, err = strconv.ParseBool(text); err != nil {
			return wanted, problem(badRequest, "follow: %.100q must be true or false", text)
		}
	}
	return wanted, nil
}

// podName reports whether a pod or a container could have the name.
func podName(name string) bool {
	const longest = 253 // a DNS subdomain
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' {
			return false
		}
	}
	return len(name) <= longest
}

// logs answers with the output of a run: live while it is not over, else what was kept of it.
func (g *Gateway) logs(c echo.Context) error {
	wanted, p := parseLogRequest(c.QueryParams())
	if p != nil {
		return p
	}
	asked, err := g.askedRun(c)
	if err != nil {
		return err
	}
	defer g.readers.Add(-1)
	if g.readers.Add(1) > maxLogs {
		return problem(fullStreams, "%d clients read the output of runs already, no more can", maxLogs)
	}
	output, err := g.openOutput(c.Request().Context(), asked, wanted)
	if errors.Is(err, bus.ErrNoLog) {
		return problem(noOutput, "the run %s of %q has no such output, or none yet", asked.id, asked.job)
	}
	if err != nil {
		return err
	}
	defer output.Close()
	if sendOutput(c.Response().Writer, output) != nil {
		panic(http.ErrAbortHandler) // or what is there would pass for all of it
	}
	return nil
}

// openOutput opens what is asked for. A run that ends meanwhile has no live output any more: then it is what was kept.
func (g *Gateway) openOutput(ctx context.Context, asked askedRun, wanted logRequest) (io.ReadCloser, error) {
	if wanted.follow && wanted.pod == "" {
		return g.followOutput(ctx, asked, wanted)
	}
	for first := true; ; first = false {
		over, leave := g.jobs.runs.over(asked.runKey)
		run, _, err := asked.read(ctx)
		if err != nil || run.Phase.Final() {
			leave()
		}
		if err != nil {
			return nil, err
		}
		if run.Phase.Final() {
			return g.openKept(ctx, run, wanted)
		}
		output, err := g.openAsked(ctx, run, wanted, over)
		if err == nil {
			output.leave = leave
			return output, nil
		}
		leave()
		if !first || !errors.Is(err, bus.ErrNoLog) {
			return nil, err
		}
	}
}

// openAsked opens the live output that is asked for.
func (g *Gateway) openAsked(ctx context.Context, run job.Run, wanted logRequest, over <-chan struct{}) (*liveOutput, error) {
	if wanted.pod != "" && !ranIn(run, wanted.pod) { // whatever it is, it is not the run's
		return nil, fmt.Errorf("%w: it has no pod %s", bus.ErrNoLog, wanted.pod)
	}
	output, err := g.openLive(ctx, bus.LogRequest{
		Definition: run.Definition, RunID: run.ID, Pod: wanted.pod, Container: wanted.container, TailLines: wanted.tail, Follow: wanted.follow,
	}, over)
	if err != nil {
		return nil, outputProblem(err)
	}
	return output, nil
}

// sendOutput sends what comes, as it comes. It returns an error if that broke off; a caller who has gone, or reads nothing any more, is none.
func sendOutput(w http.ResponseWriter, from io.Reader) error {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff") // what a job prints may look like anything
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	// The deadline must not be that of the connection's next request.
	defer func() { _ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) }()
	if writeEvent(w, nil) != nil {
		return nil
	}
	piece := make([]byte, logPiece)
	for {
		n, err := from.Read(piece)
		if n > 0 && writeEvent(w, piece[:n]) != nil {
			return nil
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// ranIn reports whether the run has a pod of that name.
func ranIn(run job.Run, pod string) bool {
	return slices.ContainsFunc(run.Pods, func(p job.Pod) bool { return p.Name == pod })
}
