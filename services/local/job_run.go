package local

import (
	"context"
	"sync"
	"time"
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
	p := podRun{driver: d, until: d.life, name: pod}
	d.pods.Go(p.run)
	return nil
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
	j.endOutputs()
	delete(c.jobs, j.record.Name)
	c.tell(news{ofJob, j.record.Name, j.record.UID})
	return nil
}
