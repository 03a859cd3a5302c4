package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"
)

// Reasons of a process's end, beside reasonStartError: the first two are Kubernetes' own.
const (
	reasonCompleted = "Completed"
	reasonError     = "Error"
	reasonShutdown  = "Shutdown" // sluice local has ended it
	reasonLost      = "Lost"     // sluice local has died, and it with it
)

// storePause is how long the goroutine of a Job waits when its record could not be written.
const storePause = time.Second

// attend has a goroutine look at the Job while Watch runs. It is called with both mutexes held.
func (c *JobCluster) attend(j *localJob) {
	if c.running == nil {
		return
	}
	if !j.attended {
		j.attended = true
		d := &driver{cluster: c, job: j, running: c.running}
		c.lives.Go(d.drive)
		return
	}
	select {
	case j.poked <- struct{}{}:
	default: // a token is there already
	}
}

// driver is the goroutine of a Job.
type driver struct {
	cluster *JobCluster
	job     *localJob
	running context.Context    //nolint:containedctx // processes are started until it ends
	pods    sync.WaitGroup     // the goroutines of processes
	life    context.Context    //nolint:containedctx // that of the processes
	stop    context.CancelFunc // ends all processes
}

// renew makes ready for processes.
func (d *driver) renew() { d.life, d.stop = context.WithCancel(d.running) }

// drive takes one step of the Job after the other, until there is nothing to do and nothing to wait for.
func (d *driver) drive() {
	d.renew()
	defer func() {
		d.stop()
		d.pods.Wait()
	}()
	for {
		step, idle := d.next()
		if idle {
			return
		}
		if err := d.do(step); err != nil {
			d.cluster.logger.Error().Str("job", d.job.spec.definition()).Str("run", d.job.spec.run()).Err(err).Msg("A job waits for its record to be written")
			pause(d.running, storePause)
		}
	}
}

// next is the next step. When Watch ends, it waits for the processes, and the goroutine is idle.
func (d *driver) next() (step jobStep, idle bool) {
	if d.running.Err() != nil {
		d.pods.Wait()
	}
	j := d.job
	j.mu.Lock()
	defer j.mu.Unlock()
	step = j.record.plan(time.Now(), j.spec.jobLimits)
	idle = j.removed || d.running.Err() != nil || step.kind == restJob && step.at.IsZero() && j.record.count(podRunning) == 0
	j.attended = !idle
	return step, idle
}

func (d *driver) do(step jobStep) error {
	switch step.kind {
	case startPod:
		return d.startPod()
	case endPods:
		d.stop()
		d.pods.Wait()
		d.renew()
	case finishJob:
		return d.cluster.finishJob(d.job, step)
	case removeJob:
		return d.cluster.remove(d.job)
	case restJob:
		d.job.rest(d.running, step.at)
	}
	return nil
}

// rest waits until something changes, or that time.
func (j *localJob) rest(ctx context.Context, until time.Time) {
	var due <-chan time.Time // nil, which blocks, for never
	if !until.IsZero() {
		timer := time.NewTimer(time.Until(until))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-j.poked:
	case <-due:
	case <-ctx.Done():
	}
}

// startPod notes that a process begins, so that it counts whatever happens, then starts it.
func (d *driver) startPod() error {
	c, j := d.cluster, d.job
	j.mu.Lock()
	defer j.mu.Unlock()
	var pod string
	if err := c.change(j, survivesPower, func(r *jobRecord) { pod = r.begin() }); err != nil {
		return err
	}
	life := d.life
	d.pods.Go(func() { c.runPod(life, j, pod) })
	return nil
}

// runPod is one process from its start to its end.
func (c *JobCluster) runPod(life context.Context, j *localJob, pod string) {
	if life.Err() != nil {
		c.leave(j, pod)
		return
	}
	output, err := openPodOutput(c.store.root, pod, c.config.maxOutput)
	if err != nil {
		c.event(j, pod).Err(err).Msg("The output of a job's process is not kept")
		output = &podOutput{}
	}
	child, err := c.start(j, pod, output)
	if err != nil {
		_ = output.close()
		code := exitStartError
		c.endPod(life, j, pod, processEnding{exitCode: &code, reason: reasonStartError, message: j.spec.startProblem(err)})
		return
	}
	c.started(j, pod, child)
	how := c.await(life, j, child)
	if err := output.close(); err != nil {
		c.event(j, pod).Err(err).Msg("Some of a job's output is not kept")
	}
	j.mu.Lock()
	delete(j.outputs, pod)
	j.mu.Unlock()
	if c.groupGone(child) {
		c.endPod(life, j, pod, how)
	}
}

// leave takes back that the process of a pod begins.
func (c *JobCluster) leave(j *localJob, pod string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := c.change(j, survivesKill, func(r *jobRecord) { r.pod(pod).Phase = podPending }); err != nil {
		c.event(j, pod).Err(err).Msg("A process that was not started will count as failed")
	}
}

// start starts the process, with its output.
func (c *JobCluster) start(j *localJob, pod string, output *podOutput) (*process, error) {
	logger := c.config.Logger.With().Str("job", j.spec.definition()).Str("run", j.spec.run()).Str("pod", pod).Logger()
	log := newOutput(logger)
	log.whole = output
	j.mu.Lock()
	j.outputs[pod] = output
	j.mu.Unlock()
	return c.config.processes.start(processCommand{
		argv: j.spec.argv, dir: j.spec.folder, output: log,
		env: slices.Concat(os.Environ(), j.spec.env, c.config.Env, []string{podVariable + "=" + pod}),
	})
}

// started notes the process. It counts already, so that a record which cannot be written now stops nothing.
func (c *JobCluster) started(j *localJob, pod string, child *process) {
	c.event(j, pod).Int("pid", child.pid()).Msg("A process of a job is started")
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := c.change(j, survivesKill, func(r *jobRecord) { r.started(time.Now(), pod, child.pid(), child.started) }); err != nil {
		c.event(j, pod).Err(err).Msg("A process of a job is not noted before its end")
	}
}

// await waits for the end of the process, which it ends when its life does.
func (c *JobCluster) await(life context.Context, j *localJob, child *process) processEnding {
	select {
	case <-child.exited:
		<-child.finished
		return child.ending()
	case <-life.Done():
	}
	select {
	case <-child.exited: // by itself, before anybody could end it
		<-child.finished
		return child.ending()
	default:
	}
	child.end(j.spec.grace, c.killed)
	how := child.ending()
	how.succeeded, how.reason, how.message = false, reasonError, "it was ended, and "+how.message
	if c.terminated() {
		how.reason, how.message = reasonShutdown, "it was ended with sluice local, and "+child.exit()
	}
	return how
}

func (c *JobCluster) terminated() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.running == nil || c.running.Err() != nil
}

// ending is how a process that has ended has done so, with an exit code as container runtimes have it.
func (p *process) ending() processEnding {
	code := p.cmd.ProcessState.ExitCode()
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		const signalled = 128
		code = signalled + int(status.Signal())
	}
	how := processEnding{succeeded: code == 0, exitCode: &code, reason: reasonCompleted, message: p.exit()}
	if !how.succeeded {
		how.reason = reasonError
	}
	return how
}

// endPod notes the end of a process, and tries again until it is noted or ctx ends: then the next run counts a failure.
func (c *JobCluster) endPod(ctx context.Context, j *localJob, pod string, how processEnding) {
	for {
		j.mu.Lock()
		err := c.change(j, survivesPower, func(r *jobRecord) { r.ended(time.Now(), pod, how, j.spec.jobLimits) })
		retry := j.record.retryIn(time.Now(), j.spec.jobLimits)
		j.mu.Unlock()
		event := c.event(j, pod).Str("reason", how.reason).Err(err)
		if retry > 0 {
			event.Dur("retry_in_ms", retry)
		}
		event.Msg("A process of a job has ended: " + how.message)
		if err == nil || !pause(ctx, storePause) {
			return
		}
	}
}

func (c *JobCluster) finishJob(j *localJob, step jobStep) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return c.change(j, survivesPower, func(r *jobRecord) { r.finish(time.Now(), step.end, step.reason, step.message) })
}

// remove takes a Job without processes away.
func (c *JobCluster) remove(j *localJob) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := c.store.remove(&j.record); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	j.removed = true
	delete(c.jobs, j.record.Name)
	c.tell(news{ofJob, j.record.Name, j.record.UID})
	return nil
}

// event is a line of the log about a process.
func (c *JobCluster) event(j *localJob, pod string) *zerolog.Event {
	return c.logger.Info().Str("job", j.spec.definition()).Str("run", j.spec.run()).Str("pod", pod)
}

// startProblem says why a process could not be started and what to do.
func (s *jobSpec) startProblem(err error) string {
	who := fmt.Sprintf("the command %s of job %s", shorten(s.argv[0]), s.definition())
	if info, statErr := os.Stat(s.folder); s.folder != "" && (statErr != nil || !info.IsDir()) {
		return fmt.Sprintf("%s has no folder to run in: %s is not a folder", who, s.folder)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, exec.ErrNotFound):
		return who + " does not exist: build it or correct " + annotationLocalCommand
	case errors.Is(err, fs.ErrPermission):
		return who + " is not executable: make it so (chmod +x) or correct " + annotationLocalCommand
	case errors.Is(err, syscall.ENOEXEC):
		return who + " is not a program for this machine, or a script without its #! line: build it anew or correct " + annotationLocalCommand
	}
	return fmt.Sprintf("%s cannot be started: %v", who, err)
}
