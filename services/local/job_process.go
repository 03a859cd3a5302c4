package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
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

// podRun is one process of a Job, from its start to its end.
type podRun struct {
	*driver
	until context.Context //nolint:containedctx // the process is ended when it ends
	name  string
}

// run returns when the process is surely gone and its end is noted, or nobody waits for it any more.
func (p podRun) run() {
	if p.until.Err() != nil {
		p.note(func(r *jobRecord) { r.pod(p.name).Phase = podPending })
		return
	}
	output := p.openOutput()
	child, err := p.start(output)
	if err != nil {
		p.closeOutput(output)
		code := exitStartError
		p.ended(processEnding{exitCode: &code, reason: reasonStartError, message: p.job.spec.startProblem(err)})
		return
	}
	p.started(child)
	how := p.await(child)
	p.closeOutput(output)
	if p.cluster.groupGone(child) {
		p.ended(how)
	}
}

// openOutput returns nil if the output cannot be kept.
func (p podRun) openOutput() *podOutput {
	p.job.mu.Lock()
	defer p.job.mu.Unlock()
	output := p.cluster.outputOf(p.job, p.name)
	if err := output.resume(); err != nil {
		p.event(zerolog.WarnLevel).Err(err).Msg("The output of a job's process is not kept")
		return nil
	}
	return output
}

func (p podRun) closeOutput(output *podOutput) {
	if output == nil {
		return
	}
	if err := output.close(); err != nil {
		p.event(zerolog.WarnLevel).Err(err).Msg("Some of a job's output is not kept")
	}
}

func (p podRun) start(output *podOutput) (*process, error) {
	c, spec := p.cluster, p.job.spec
	log := newOutput(c.config.Logger.With().Str("job", spec.definition()).Str("run", spec.run()).Str("pod", p.name).Logger())
	if output != nil {
		log.whole = output
	}
	return c.config.processes.start(processCommand{
		argv: spec.argv, dir: spec.folder, output: log,
		env: slices.Concat(os.Environ(), spec.env, c.config.Env, []string{podVariable + "=" + p.name}),
	})
}

// started notes the process. It counts already, so that it is enough to know it until it has ended if it cannot be written.
func (p podRun) started(child *process) {
	p.event(zerolog.InfoLevel).Int("pid", child.pid()).Msg("A process of a job is started")
	p.job.mu.Lock()
	defer p.job.mu.Unlock()
	note := func(r *jobRecord) { r.started(time.Now(), p.name, child.pid(), child.started) }
	if err := p.cluster.change(p.job, survivesKill, note); err != nil {
		p.event(zerolog.WarnLevel).Err(err).Msg("A process of a job is not noted")
		note(&p.job.record)
	}
}

// await waits for the end of the process, which it ends when its life does.
func (p podRun) await(child *process) processEnding {
	select {
	case <-child.exited:
	case <-p.until.Done():
		select {
		case <-child.exited: // by itself, before anybody could end it
		default:
			return p.end(child)
		}
	}
	<-child.finished
	return child.ending()
}

// end ends the process, which has failed whatever it says.
func (p podRun) end(child *process) processEnding {
	child.end(p.job.spec.grace, p.cluster.killed)
	how := child.ending()
	how.succeeded, how.reason, how.message = false, reasonError, "it was ended, and "+how.message
	if p.running.Err() != nil {
		how.reason, how.message = reasonShutdown, "it was ended with sluice local, and "+child.exit()
	}
	return how
}

// ended notes the end of the process.
func (p podRun) ended(how processEnding) {
	level := zerolog.InfoLevel
	if how.reason == reasonError || how.reason == reasonStartError {
		level = zerolog.WarnLevel
	}
	p.event(level).Str("reason", how.reason).Msg("A process of a job has ended: " + how.message)
	p.note(func(r *jobRecord) { r.ended(time.Now(), p.name, how, p.job.spec.jobLimits) })
	p.job.mu.Lock()
	retry := p.job.record.retryIn(time.Now(), p.job.spec.jobLimits)
	p.job.mu.Unlock()
	if retry > 0 && p.running.Err() == nil {
		p.event(zerolog.InfoLevel).Dur("retry_in_ms", retry).Msg("A process of a job is started again")
	}
}

// note changes the record, and tries again until that is done or everything ends: then the next sluice local counts a failure.
func (p podRun) note(edit func(*jobRecord)) {
	for {
		p.job.mu.Lock()
		err := p.cluster.change(p.job, survivesPower, edit)
		p.job.mu.Unlock()
		if err == nil {
			return
		}
		p.event(zerolog.ErrorLevel).Err(err).Msg("A job waits for its record to be written")
		if !pause(p.running, storePause) {
			return
		}
	}
}

// event is a line of the log about the process.
func (p podRun) event(level zerolog.Level) *zerolog.Event {
	spec := p.job.spec
	return p.cluster.logger.WithLevel(level).Str("job", spec.definition()).Str("run", spec.run()).Str("pod", p.name)
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
