package gateway

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/labstack/echo/v4"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/job"
)

// jobs is what the gateway knows of jobs. Without a jobrunner it is nothing, and the functions are served all the same.
type jobs struct {
	*definitions
	runs *runIndex
	// records is nil until the bucket of runs is there.
	records atomic.Pointer[bus.Runs]
}

func newJobs(removed func(name string)) *jobs {
	return &jobs{definitions: newDefinitions(removed), runs: newRunIndex()}
}

// followJobs keeps definitions and runs up to date until ctx ends.
func (g *Gateway) followJobs(ctx context.Context) {
	var followers sync.WaitGroup
	defer followers.Wait()
	for _, follow := range []func(context.Context) error{g.followDefinitions, g.followRuns} {
		followers.Go(func() {
			if err := follow(ctx); err != nil && ctx.Err() == nil {
				g.deps.Logger.Error().Err(err).Msg("jobs cannot be followed: requests for them may be answered with what was known before, or with 503")
			}
		})
	}
}

func (g *Gateway) followDefinitions(ctx context.Context) error {
	bucket, err := g.deps.Bus.AwaitDefinitions(ctx)
	if err != nil {
		return err
	}
	return bucket.Watch(ctx, g.jobs.definitions)
}

// followRuns comes after the stream of requests: who has the records can queue.
func (g *Gateway) followRuns(ctx context.Context) error {
	if err := g.deps.Bus.AwaitJobs(ctx); err != nil {
		return err
	}
	records, err := g.deps.Bus.AwaitRuns(ctx)
	if err != nil {
		return err
	}
	g.jobs.records.Store(records)
	return records.Watch(ctx, g.jobs.runs)
}

// definedJob is the job of that name, if the caller of r may know of it. One that he may not know of is answered like one that is not there, and so is one that is refused: but
// callers from inside are told why.
func (g *Gateway) definedJob(r *http.Request, name string) (job.Definition, error) {
	if p := g.jobs.unavailable(); p != nil {
		return job.Definition{}, p
	}
	d, ok := g.jobs.find(name)
	if ok && d.Visibility == job.Public {
		return d, nil
	}
	switch inside := g.isInside(r); {
	case ok && inside:
		return d, nil
	case d.Refused != "" && inside:
		return job.Definition{}, problem(unknownJob, "the definition of the job %q is not used: %s", d.Name, d.Refused)
	}
	return job.Definition{}, jobNotFound(name)
}

// jobWithRuns is the name under which there are runs of a job that the caller of r may know of. Those inside may also look at the runs of one that is
// gone.
func (g *Gateway) jobWithRuns(r *http.Request, name string) (string, error) {
	d, err := g.definedJob(r, name)
	if d.Name != name && g.jobs.unavailable() == nil && g.jobs.runs.has(name) && g.isInside(r) {
		return name, nil
	}
	return d.Name, err
}

// unavailable is what to answer as long as it is not known which jobs there are; then it is nil.
func (j *jobs) unavailable() *Problem {
	select {
	case <-j.known:
	default:
		return problem(noJobs, "it is not known which jobs there are: no jobrunner has shared them yet")
	}
	if j.records.Load() == nil {
		return problem(noJobs, "no jobrunner has made the records of runs yet")
	}
	return nil
}

// unlisted is what to answer as long as not all runs are known; then it is nil.
func (j *jobs) unlisted() *Problem {
	select {
	case <-j.runs.known:
		return nil
	default:
		return problem(noJobs, "the runs have not been read yet")
	}
}

func jobNotFound(name string) *Problem { return problem(unknownJob, "no job has the name %q", name) }

// jobRoutes are SlimFaas' own, and ours below /jobs/{name}/runs.
func (g *Gateway) jobRoutes(e *echo.Echo) {
	e.POST("/job/:name", g.requestJob)
	e.POST("/job/:name/*", g.requestJob)
	e.DELETE("/job/:name/:id", g.cancelRun)
	e.DELETE("/jobs/:name/runs/:id", g.cancelAndDescribe)
	e.GET("/jobs/:name/runs/:id/logs", g.logs)
	for path, handler := range map[string]echo.HandlerFunc{
		"/job/:name":           g.listRuns,
		"/jobs":                g.describeJobs,
		"/jobs/status":         g.statusJobs,
		"/status-jobs":         g.statusJobs,
		"/jobs/:name/runs":     g.pageRuns,
		"/jobs/:name/runs/:id": g.describeRun,
	} {
		e.Match([]string{http.MethodGet, http.MethodHead}, path, handler)
	}
}
