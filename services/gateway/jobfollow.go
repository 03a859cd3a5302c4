package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/job"
)

const (
	// followPause is after how long something is tried again of which nobody tells.
	followPause = time.Second
	// followTries is how often in a row it may fail, and passTries after how often a pod that is over is taken to have no output, if none has come.
	followTries = 30
	passTries   = 2
)

var errStops = errors.New("the gateway stops")

// followedOutput is the output of a run from its first pod, or the present one, to the end of the run. It waits where there is none yet. What was kept takes the place of
// what could not be read live before the run was over.
type followedOutput struct {
	logProgress
	gateway *Gateway
	ctx     context.Context //nolint:containedctx // that of the request: Read has none
	asked   askedRun
	// over is closed when the run is over, until leave is called.
	over  <-chan struct{}
	leave func()
	// from is what is read now, nil if nothing is; done says that there is no more.
	from io.ReadCloser
	done bool
	// said is what the answer says by itself next, and open that it is within a line.
	said string
	open bool
	// failures counts what has failed since something has come.
	failures int
}

// followOutput opens the output of a run to its end. If the run is over, that is what was kept of it.
func (g *Gateway) followOutput(ctx context.Context, asked askedRun, wanted logRequest) (io.ReadCloser, error) {
	f := &followedOutput{gateway: g, ctx: ctx, asked: asked, logProgress: logProgress{container: wanted.container}}
	f.over, f.leave = g.jobs.runs.over(asked.runKey)
	run, _, err := asked.read(ctx)
	if err == nil && run.Phase.Final() {
		f.leave()
		return g.openKept(ctx, run, wanted)
	}
	if err == nil {
		err = f.begin(run, wanted.tail)
	}
	if err != nil {
		_ = f.Close() // nothing was opened
		return nil, err
	}
	return f, nil
}

// begin opens what there is. It is no error that there is none yet, unless the run has pods and none of them has the container.
func (f *followedOutput) begin(run job.Run, tail int) (err error) {
	switch {
	case !f.possible(run):
		return fmt.Errorf("%w: no pod has the container %s", bus.ErrNoLog, f.container)
	case tail == 0 && !f.choose(run), tail > 0 && !f.newest(run):
		return nil
	case tail > 0:
		err = f.skipTo(tail)
	}
	if err == nil {
		err = f.openLive()
	}
	if err == nil || errors.Is(err, bus.ErrNoLog) {
		return nil
	}
	return outputProblem(err)
}

// possible reports whether a pod has the container that is asked for, or may get it.
func (f *followedOutput) possible(run job.Run) bool {
	return len(run.Pods) == 0 || slices.ContainsFunc(run.Pods, func(p job.Pod) bool { return len(p.Containers) == 0 || f.containerOf(run, p) != "" })
}

// skipTo counts the lines that there are: from then on it is known where the last ones begin, wherever the rest is read.
func (f *followedOutput) skipTo(tail int) error {
	from, err := f.gateway.openLive(f.ctx, f.request(false), nil)
	if err != nil {
		return err
	}
	f.at.renew(from.from.Start)
	lines, err := countLines(from)
	if err = errors.Join(err, from.Close()); err != nil {
		return err
	}
	f.at.skip = max(0, lines-tail)
	return nil
}

// Read reads on, and waits where there is nothing to read yet.
func (f *followedOutput) Read(p []byte) (int, error) {
	for !f.done {
		if f.from == nil {
			if err := f.next(); err != nil {
				return 0, err
			}
			continue
		}
		if f.said != "" {
			n := copy(p, f.said)
			f.said = f.said[n:]
			return n, nil
		}
		n, err := f.from.Read(p)
		if n > 0 {
			f.failures = 0
		}
		n = copy(p, f.at.took(p[:n]))
		if err != nil {
			_ = f.from.Close() // it was only read
			f.from, f.at.ended, f.at.silent = nil, errors.Is(err, io.EOF), errors.Is(err, errSilent)
		}
		if n > 0 {
			f.open = p[n-1] != '\n'
			return n, nil
		}
		if err != nil && !f.at.ended && !f.at.silent {
			if err := f.bear(err); err != nil {
				return 0, err
			}
		}
	}
	return 0, io.EOF
}

// next opens what is to be read next, or waits for it.
func (f *followedOutput) next() error {
	over, news := closed(f.over), f.gateway.jobs.runs.news(f.asked.runKey)
	run, _, err := f.asked.read(f.ctx)
	var p *Problem
	switch {
	case errors.As(err, &p) && p.Type == problemKinds[unknownRun].Type():
		return f.finish()
	case err != nil:
		return f.bear(err)
	case run.Phase.Final():
		return f.openKept(run)
	case over: // that run is gone, and this another one with its id
		return f.finish()
	case f.lost(run):
		return fmt.Errorf("%w: the pod %s is gone", errCut, f.at.pod)
	case !f.choose(run):
		return f.await(news, f.over, 0)
	}
	pod, _ := podOf(run, f.at.pod)
	switch err = f.openLive(); {
	case err == nil:
		return nil
	case errors.Is(err, errCut) && !errors.Is(err, errShort):
		return f.decide(err)
	case errors.Is(err, bus.ErrNoJobrunner), errors.Is(err, bus.ErrNoLog) && !podOver(pod):
		return f.await(news, f.over, followPause)
	case errors.Is(err, bus.ErrNoLog) && f.gone(): // with its pod
		f.pass()
		f.failures = 0
		return nil
	}
	return f.bear(err)
}

// finish ends the answer of a run that is gone with its record.
func (f *followedOutput) finish() error {
	if f.at.torn() {
		return fmt.Errorf("%w: the run is gone", errCut)
	}
	f.done = true
	return nil
}

// decide takes that live output cannot be read on, and will not at any other time: a node does not bring back what it has dropped. If the run is over meanwhile, what was kept decides, as it may
// have been read before the node did.
func (f *followedOutput) decide(err error) error {
	if closed(f.over) {
		return nil
	}
	return err
}

// gone reports whether enough was tried for output of which there is said to be none, in a pod that is over.
func (f *followedOutput) gone() bool {
	if f.at.read == 0 {
		return f.failures >= passTries
	}
	return f.failures >= followTries && f.at.ended
}

// request asks for what is to be read next of the present pod.
func (f *followedOutput) request(follow bool) bus.LogRequest {
	request := bus.LogRequest{Definition: f.asked.job, RunID: f.asked.id, Pod: f.at.pod, Container: f.at.container, Start: f.at.start, Follow: follow}
	if f.at.ended {
		request.Start++
	}
	return request
}

// openLive opens it, behind what has come.
func (f *followedOutput) openLive() error {
	live, err := f.gateway.openLive(f.ctx, f.request(true), f.over)
	if err != nil {
		return err
	}
	from := uncutOutput{live}
	switch start := live.from.Start; {
	case start == f.at.start:
	case f.at.misses(start):
		err = f.at.missed(start)
	default:
		f.at.renew(start)
	}
	if err == nil {
		err = f.at.resume(from)
	}
	if err != nil {
		_ = from.Close() // it was only read
		return err
	}
	f.from = from
	return nil
}

// openKept opens the next part of what was kept, behind what has come.
func (f *followedOutput) openKept(run job.Run) error {
	part, found, err := f.chooseKept(run)
	if err != nil || !found {
		f.done = true
		return err
	}
	if part.Truncated && f.at.read == 0 {
		f.tell()
	}
	kept, err := f.gateway.deps.Bus.GetLog(f.ctx, part.Object)
	if err == nil {
		err = f.at.resume(kept)
	}
	switch {
	case err == nil:
		f.from = kept
		return nil
	case kept != nil:
		_ = kept.Close() // it was only read
	}
	switch {
	case errors.Is(err, errCut) && f.at.silent: // it is only the end of what was kept, and all has come
		f.at.ended = true
		return nil
	case errors.Is(err, errCut), errors.Is(err, bus.ErrNoLog):
		return err
	}
	return f.bear(err)
}

// tell says that older lines are missing of a part of which nothing was read, as the answer without follow does. Then it is not known any more either which of its lines are wanted: all are.
func (f *followedOutput) tell() {
	if f.at.told {
		return
	}
	f.at.renew(f.at.start)
	f.at.told, f.said = true, linesMissing
	if f.open { // the pod before it has ended within a line
		f.said, f.open = "\n"+f.said, false
	}
}

// bear waits before something that has failed is tried again. The error is the given one if that goes on.
func (f *followedOutput) bear(err error) error {
	if f.failures++; f.failures > followTries {
		return err
	}
	return f.await(nil, nil, followPause)
}

// await waits for news of the run, for its end, and so long if that is not 0. The error says that nobody is to wait any more.
func (f *followedOutput) await(news, over <-chan struct{}, pause time.Duration) error {
	var due <-chan time.Time // nil, which blocks, for never
	if pause > 0 {
		timer := time.NewTimer(pause)
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-news:
	case <-over:
	case <-due:
	case <-f.gateway.closing:
		return errStops
	case <-f.ctx.Done():
		return callerGone()
	}
	return nil
}

// Close ends it.
func (f *followedOutput) Close() error {
	defer f.leave()
	if f.from == nil {
		return nil
	}
	return f.from.Close()
}

// uncutOutput is live output that does not pass for whole when it was cut.
type uncutOutput struct{ *liveOutput }

// errSilent says that the run is over, and nothing has come for long after it.
var errSilent = errors.New("nothing comes any more")

// Read reads the output to its end, or to errSilent.
func (o uncutOutput) Read(p []byte) (int, error) {
	n, err := o.next(p)
	if err != nil && o.silent.Load() {
		err = errSilent
	}
	return n, err
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
