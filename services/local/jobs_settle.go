package local

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"syscall"
	"time"
)

const (
	// settlePause is the time between two looks at what is to end, at first, and settlePatience how long until a person is told.
	settlePause    = 10 * time.Millisecond
	maxSettlePause = time.Second
	settlePatience = 5 * time.Second
)

// podVariable names the pod in the environment of its process, which everything that the process starts inherits.
const podVariable = "SLUICE_POD"

// settle ends the processes of an earlier run that still live, and counts them as failures once they are surely gone.
func (c *JobCluster) settle(ctx context.Context) {
	lost := c.lost()
	if !c.awaitEnds(ctx, lost) {
		return
	}
	for pod, j := range lost {
		p := podRun{driver: &driver{cluster: c, job: j, running: ctx}, until: ctx, name: pod}
		p.ended(processEnding{reason: reasonLost, message: "it has died with an earlier sluice local"})
	}
}

// lost returns the Jobs of pods whose processes an earlier run has started, and of whose end nobody knows.
func (c *JobCluster) lost() map[string]*localJob {
	c.mu.Lock()
	all := slices.Collect(maps.Values(c.jobs))
	c.mu.Unlock()
	lost := map[string]*localJob{}
	for _, j := range all {
		j.mu.Lock()
		for _, p := range j.record.Pods {
			if p.Phase == podRunning {
				lost[p.Name] = j
			}
		}
		j.mu.Unlock()
	}
	return lost
}

// awaitEnds kills what there is of the pods until nothing is left, which it returns, or ctx ends. Processes are found by their environment, so that also those are
// that left the group, or whose group's leader is gone, or that were killed before anybody could note their ids.
func (c *JobCluster) awaitEnds(ctx context.Context, lost map[string]*localJob) bool {
	pods := map[string]bool{}
	for pod := range lost {
		pods[pod] = true
	}
	patience := time.Now().Add(settlePatience)
	for wait := settlePause; len(pods) > 0; wait = min(2*wait, maxSettlePause) {
		left := holders(podVariable, pods)
		if len(left) == 0 {
			break
		}
		for _, pid := range slices.Concat(slices.Collect(maps.Values(left))...) {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended meanwhile
		}
		if time.Now().After(patience) {
			c.logger.Warn().Str("processes", fmt.Sprint(left)).Msg("Processes of jobs that an earlier sluice local has left do not end: jobs wait for that")
			patience = time.Now().Add(time.Minute)
		}
		if !pause(ctx, wait) {
			return false
		}
	}
	return ctx.Err() == nil
}

// groupGone kills what is left of the group of a process that has ended, and says whether it is gone; it is not if Kill came before.
func (c *JobCluster) groupGone(child *process) bool {
	patience := time.Now().Add(settlePatience)
	for wait := settlePause; groupLives(child.pid()); wait = min(2*wait, maxSettlePause) {
		if now, err := startTime(child.pid()); err == nil && now != child.started {
			return true // the id is somebody else's by now, which it is not while the group has members
		}
		signalGroup(child.pid(), syscall.SIGKILL)
		if time.Now().After(patience) {
			c.logger.Warn().Int("group", child.pid()).Msg("Processes that a job has started do not end: the job waits for that")
			patience = time.Now().Add(time.Minute)
		}
		select {
		case <-time.After(wait):
		case <-c.killed:
			return false
		}
	}
	return true
}
