package jobrunner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/job"
)

// source is where the output of a container comes from.
type source struct {
	key outputKey
	// start is which start of the container it is, from 1.
	start int
	// text is what was followed of it, nil if nothing was.
	text *tail
	err  error
}

// serveOutput serves the output of runs until ctx ends, once all are known: who follows one passes over pods that are over and of which there is said to be none.
func (r *Runner) serveOutput(ctx context.Context) error {
	select {
	case <-r.known:
		return r.deps.Bus.ServeLogs(ctx, r.openLog)
	case <-ctx.Done():
		return nil
	}
}

// openLog opens the output of a run that is not over, for bus.ServeLogs. A pod that is not the run's is refused.
func (r *Runner) openLog(ctx context.Context, request bus.LogRequest) (io.ReadCloser, error) {
	from, err := question(ctx, r, func(time.Time) source { return r.source(request) })
	if err = errors.Join(err, from.err); err != nil {
		return nil, err
	}
	output, err := r.deps.Cluster.Logs(ctx, from.key.pod, from.key.container, request.TailLines, request.Follow)
	if err == nil {
		return from.numbered(output), nil
	}
	if !errors.Is(err, ErrNoOutput) {
		return nil, err
	}
	if from.text == nil || request.Start > 0 { // what was followed is of several starts
		return nil, fmt.Errorf("%w: %w", bus.ErrNoLog, err)
	}
	text, _ := from.text.lines(request.TailLines)
	return io.NopCloser(bytes.NewReader(text)), nil
}

// wholeOutput is output that goes on when its container is started again in place, as that of local processes does. In Kubernetes each start has its own.
type wholeOutput interface{ Whole() }

// numberedOutput is the output of one start of a container.
type numberedOutput struct {
	io.ReadCloser
	start int
}

// Start is told to who reads.
func (o numberedOutput) Start() int { return o.start }

// numbered is the output with the number of its start, if it is of one alone.
func (s source) numbered(output io.ReadCloser) io.ReadCloser {
	if _, whole := output.(wholeOutput); whole {
		return output
	}
	return numberedOutput{output, s.start}
}

// source finds the container that a request means. It runs in Run's goroutine.
func (r *Runner) source(request bus.LogRequest) source {
	t := r.tracked[key{request.Definition, request.RunID}]
	switch {
	case t == nil:
		return source{err: fmt.Errorf("%w: the run waits, or is over", bus.ErrNoLog)}
	case t.object == nil || len(t.object.Pods) == 0:
		return source{err: fmt.Errorf("%w: it has no pod", bus.ErrNoLog)}
	}
	pod, found := chosenPod(t.object.Pods, request.Pod)
	if !found {
		return source{err: fmt.Errorf("%w: the run has no pod %s", bus.ErrNoLog, request.Pod)}
	}
	container, found := chosenContainer(t.run, pod, request.Container)
	if !found {
		return source{err: fmt.Errorf("%w: the pod %s has no container %s", bus.ErrNoLog, pod.Name, request.Container)}
	}
	k := outputKey{pod.Name, container}
	s := source{key: k, start: startOf(pod, container)}
	if request.Start > s.start {
		return source{err: fmt.Errorf("%w: the container %s of pod %s was started %d times", bus.ErrNoLog, container, pod.Name, s.start)}
	}
	if o := t.outputs[k]; o != nil {
		s.text = o.text
	}
	return s
}

// chosenPod is the one of that name, or the newest one that has run, or the newest one.
func chosenPod(pods []job.Pod, name string) (job.Pod, bool) {
	if name != "" {
		i := slices.IndexFunc(pods, func(p job.Pod) bool { return p.Name == name })
		if i < 0 {
			return job.Pod{}, false
		}
		return pods[i], true
	}
	for _, pod := range slices.Backward(pods) {
		if !pod.StartedAt.IsZero() {
			return pod, true
		}
	}
	return pods[len(pods)-1], true
}

// startOf is how often the container was started.
func startOf(pod job.Pod, container string) int {
	for _, c := range pod.Containers {
		if c.Name == container {
			return c.Restarts + 1
		}
	}
	return 1
}

// chosenContainer is the one of that name, or the main one.
func chosenContainer(run job.Run, pod job.Pod, name string) (string, bool) {
	if name == "" {
		name = run.MainContainer(pod)
	}
	return name, slices.ContainsFunc(pod.Containers, func(c job.Container) bool { return c.Name == name })
}
