package local

import (
	"context"
	"maps"
	"reflect"
	"slices"

	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/pkg/job"
	"github.com/sluicefaas/sluice/services/jobrunner"
)

// Watch implements jobrunner.Cluster: it ends what earlier runs have left, lets every Job that is not suspended run, and reports them and
// every change until ctx ends; then it ends all processes and returns when they are gone. It is called once at a time.
func (c *JobCluster) Watch(ctx context.Context, observer jobrunner.Observer) error {
	c.settle(ctx)
	if ctx.Err() != nil {
		return nil
	}
	c.begin(ctx)
	defer c.finish()
	c.report(ctx, observer)
	observer.Synced()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.signal:
			c.report(ctx, observer)
		}
	}
}

// begin has everything told anew, and each Job looked at.
func (c *JobCluster) begin(ctx context.Context) {
	c.mu.Lock()
	c.running, c.terminate = context.WithCancel(ctx)
	for name := range c.definitions {
		c.tell(news{of: ofDefinition, name: name})
	}
	for name := range c.ready {
		c.tell(news{of: ofWorkload, name: name})
	}
	all := slices.Collect(maps.Values(c.jobs))
	c.mu.Unlock()
	for _, j := range all {
		c.look(j)
	}
}

func (c *JobCluster) look(j *localJob) {
	j.mu.Lock()
	defer j.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tell(news{ofJob, j.record.Name, j.record.UID})
	c.attend(j)
}

// finish waits until every process is gone.
func (c *JobCluster) finish() {
	c.Terminate()
	c.mu.Lock()
	c.running = nil
	c.mu.Unlock()
	c.lives.Wait()
}

// Terminate ends all processes as a shutdown does, and starts no more of them; it does not wait. What Watch reports goes on.
func (c *JobCluster) Terminate() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running != nil {
		c.terminate()
	}
}

// Kill ends all processes at once, after Terminate: nobody waits for them any more.
func (c *JobCluster) Kill() { c.killing.Do(func() { close(c.killed) }) }

// report tells the news. The observer is called without any mutex.
func (c *JobCluster) report(ctx context.Context, observer jobrunner.Observer) {
	c.mu.Lock()
	told := c.news
	c.news = map[news]bool{}
	c.mu.Unlock()
	for n := range told {
		if ctx.Err() != nil {
			return
		}
		switch n.of {
		case ofDefinition:
			c.reportDefinition(observer, n.name)
		case ofWorkload:
			c.reportWorkload(observer, n.name)
		case ofJob:
			c.reportJob(observer, n)
		}
	}
}

func (c *JobCluster) reportDefinition(observer jobrunner.Observer, name string) {
	c.mu.Lock()
	definition, there := c.definitions[name]
	c.mu.Unlock()
	if there {
		observer.Define(definition)
	} else {
		observer.Undefine(name)
	}
}

func (c *JobCluster) reportWorkload(observer jobrunner.Observer, name string) {
	c.mu.Lock()
	ready, there := c.ready[name]
	c.mu.Unlock()
	if there {
		observer.Workload(name, ready, true) // the manifests' newest: it is their processes that are counted
	} else {
		observer.WorkloadGone(name)
	}
}

func (c *JobCluster) reportJob(observer jobrunner.Observer, n news) {
	var o *job.Object
	if j := c.find(n.name); j != nil {
		o = j.object()
	}
	if o != nil && o.UID == n.uid {
		observer.Observe(*o)
	} else {
		observer.Forget(n.name, n.uid)
	}
}

// Define takes all definitions as the manifests have them now.
func (c *JobCluster) Define(definitions []job.Definition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.definitions
	c.definitions = map[string]job.Definition{}
	for _, d := range definitions {
		c.definitions[d.Name] = d
		if old, there := before[d.Name]; !there || !reflect.DeepEqual(old, d) {
			c.tell(news{of: ofDefinition, name: d.Name})
		}
	}
	for name := range before {
		if _, there := c.definitions[name]; !there {
			c.tell(news{of: ofDefinition, name: name})
		}
	}
}

// SetWorkload takes how many replicas of a workload are ready, or that it is gone. It may have been of another kind.
func (c *JobCluster) SetWorkload(workload function.Function, ready int, there bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, kind := range []string{function.KindDeployment, function.KindStatefulSet} {
		c.setReady(kind+"/"+workload.Name, ready, there && workload.Kind == kind)
	}
}

// setReady is SetWorkload of a name with its kind; the mutex is held.
func (c *JobCluster) setReady(name string, ready int, there bool) {
	before, known := c.ready[name]
	if known == there && (before == ready || !there) {
		return
	}
	if delete(c.ready, name); there {
		c.ready[name] = ready
	}
	c.tell(news{of: ofWorkload, name: name})
}
