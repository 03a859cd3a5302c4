package jobrunner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/sluicefaas/sluice/pkg/job"
)

const (
	// captureTries is how often the output of a Job is read before the run ends without what is missing.
	captureTries = 3
	// readPatience bounds the reading of one container's output.
	readPatience = 30 * time.Second
	// Values of Logs.Save.
	saveAlways = "Always"
	saveNever  = "Never"
)

// captured is what came of one capture. missing is the first thing that is not in the result and may be there the next time.
type captured struct {
	result  job.Result
	missing error
}

// capture keeps what the run's Job has left. The run does not wait for ever for output that cannot be read.
func (r *Runner) capture(t *tracked) step {
	run, object, last := t.run, *t.object, t.captures+1 >= captureTries
	kept := r.outputsOf(t)
	return step{onOutput, func(ctx context.Context) func(time.Time) {
		c := captured{result: job.Result{Pods: object.Pods, Counts: object.Counts}}
		if saves(run, object) {
			c = r.captureOutput(ctx, run, object, kept)
		}
		done := c.missing == nil || last && r.deps.Bus.Connected() == nil
		if done {
			r.passed(job.Capture, run)
		}
		return func(now time.Time) {
			if !done {
				t.captures++
				r.failed(t, onOutput, c.missing, now)
				return
			}
			if c.missing == nil {
				r.worked(t, onOutput, now)
			} else {
				r.deps.Logger.Warn().Err(c.missing).Str("job", t.definition).Str("run", t.id).Msg("the run ends without a part of its output")
			}
			t.captured(object, c.result)
		}
	}}
}

// saves reports whether the output of the run is kept.
func saves(run job.Run, o job.Object) bool {
	switch run.Logs.Save {
	case saveAlways:
		return true
	case saveNever, "":
		return false
	}
	return o.End != job.Succeeded
}

// captureOutput keeps the output of each container of the newest pods: as it is now, or as it was followed if the pod is gone.
func (r *Runner) captureOutput(ctx context.Context, run job.Run, o job.Object, followed []followedOutput) captured {
	c := captured{result: job.Result{Pods: o.Pods, Counts: o.Counts}}
	done := map[outputKey]bool{}
	keep := func(k outputKey, text *tail) {
		part, err := r.putLog(ctx, run, k, text)
		if err != nil {
			c.missing = errors.Join(c.missing, err)
			return
		}
		done[k] = true
		if part.Size > 0 {
			c.result.Log = append(c.result.Log, part)
		}
	}
	for _, pod := range o.Pods[max(0, len(o.Pods)-job.MaxPods):] {
		for _, container := range pod.Containers {
			k := outputKey{pod.Name, container.Name}
			text, err := r.readOutput(ctx, run.Logs, k)
			switch {
			case err == nil:
				keep(k, text)
			case !errors.Is(err, ErrNoOutput):
				c.missing = errors.Join(c.missing, fmt.Errorf("read the output of %s in %s: %w", k.container, k.pod, err))
			}
		}
	}
	for _, output := range followed {
		if !done[output.key] {
			keep(output.key, output.text)
		}
	}
	return c
}

// readOutput reads the last lines of a container's output.
func (r *Runner) readOutput(ctx context.Context, logs job.Logs, k outputKey) (*tail, error) {
	ctx, cancel := context.WithTimeout(ctx, readPatience)
	defer cancel()
	count := logs.TailLines
	if count > 0 {
		count++ // one more says that there are others
	}
	output, err := r.deps.Cluster.Logs(ctx, k.pod, k.container, count, false)
	if err != nil {
		return nil, err
	}
	defer func() { _ = output.Close() }()                         // it was only read
	defer context.AfterFunc(ctx, func() { _ = output.Close() })() // so that the reading ends
	return readTail(output, logs.MaxBytes)
}

// putLog stores what is kept of one container's output.
func (r *Runner) putLog(ctx context.Context, run job.Run, k outputKey, text *tail) (job.LogPart, error) {
	lines, truncated := text.lines(run.Logs.TailLines)
	part := job.LogPart{Pod: k.pod, Container: k.container, Object: logName(run, k), Truncated: truncated}
	if len(lines) == 0 {
		return part, nil
	}
	size, err := r.deps.Bus.PutLog(ctx, part.Object, bytes.NewReader(lines), int64(len(lines)))
	part.Size = size
	return part, err
}

// logName is the name of a container's output in the object store.
func logName(run job.Run, k outputKey) string {
	return fmt.Sprintf("%s/%s/%d/%s/%s", run.Definition, run.ID, run.Attempt, k.pod, k.container)
}

// findOutput names the output that an earlier process has kept of a run before it deleted its Job, and could not say so in the record any more.
func (r *Runner) findOutput(ctx context.Context, run job.Run) job.Run {
	for _, pod := range run.Pods {
		for _, container := range pod.Containers {
			part := job.LogPart{Pod: pod.Name, Container: container.Name, Object: logName(run, outputKey{pod.Name, container.Name})}
			kept, err := r.deps.Bus.GetLog(ctx, part.Object)
			if err != nil {
				continue // most likely there is none
			}
			part.Size, err = io.Copy(io.Discard, kept)
			_ = kept.Close() // it was only read
			if err == nil {
				run.Log = append(run.Log, part)
			}
		}
	}
	return run
}
