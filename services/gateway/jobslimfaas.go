package gateway

import (
	"cmp"
	"encoding/json"
	"iter"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/sluicefaas/sluice/pkg/job"
)

// The types here have SlimFaas' names and order. Its times are ticks of .NET: a ten millionth of a second since the year 1.

// slimFaasRun is one element of GET /job/{name}.
type slimFaasRun struct {
	Name   string
	Status string
	ID     string `json:"Id"`
	// PositionInQueue is from 1, -1 for what is not queued.
	PositionInQueue                  int
	InQueueTimestamp, StartTimestamp int64
}

// slimFaasJob is one element of GET /jobs/status, and of Jobs in the event "state" of the status stream.
type slimFaasJob struct {
	Name, Visibility, Image string
	ImagesWhitelist         []string
	NumberParallelJob       int
	Resources               *slimFaasResources
	DependsOn               []string
	Schedules               []struct{}
	RunningJobs             []slimFaasRunning
}

type slimFaasResources struct{ Requests, Limits map[string]quantity }

// quantity is one of Kubernetes, which may stand there as a number.
type quantity string

// UnmarshalJSON takes it as it is written.
func (q *quantity) UnmarshalJSON(text []byte) error {
	*q = quantity(strings.Trim(string(text), `"`))
	return nil
}

// slimFaasRunning is a run that has a Job.
type slimFaasRunning struct {
	Name, Status, ElementId          string
	InQueueTimestamp, StartTimestamp int64
}

// maxShownRuns bounds the runs of one job that a status has; those that are not over, and then the newest, come first.
const maxShownRuns = 1_000

// ticks is a time as .NET counts it, -1 if there is none.
func ticks(at time.Time) int64 {
	const perSecond, nanoseconds, yearOne = 10_000_000, 100, -62_135_596_800
	if at.IsZero() {
		return -1
	}
	return (at.Unix()-yearOne)*perSecond + int64(at.Nanosecond())/nanoseconds
}

// listRuns answers with the runs of a job that SlimFaas would list: those with a Job, the newest first, then the queue in its order.
func (g *Gateway) listRuns(c echo.Context) error {
	ask, err := parseTarget(c.Request())
	if err != nil {
		return unreadable("request target", err)
	}
	d, err := g.definedJob(c.Request(), ask.name)
	if err != nil {
		return err
	}
	if p := g.jobs.unlisted(); p != nil {
		return p
	}
	return writeList(c, slimFaasRuns(g.jobs.runs.started(d.Name), g.jobs.runs.queue(d.Name)))
}

func slimFaasRuns(started, queue []*knownRun) iter.Seq[slimFaasRun] {
	return func(yield func(slimFaasRun) bool) {
		for _, k := range started {
			if !yield(slimFaasRun{k.JobName, k.status, k.ID, -1, ticks(k.QueuedAt), ticks(k.began())}) {
				return
			}
		}
		for i, k := range queue {
			if !yield(slimFaasRun{k.JobName, k.status, k.ID, i + 1, ticks(k.QueuedAt), -1}) {
				return
			}
		}
	}
}

// began is when the run's Job was made, as far as that is known: SlimFaas calls it the start.
func (k *knownRun) began() time.Time {
	if k.CreatedAt.IsZero() {
		return k.StartedAt
	}
	return k.CreatedAt
}

// started returns the runs of a job of which SlimFaas would list a Job, the newest first.
func (x *runIndex) started(definition string) []*knownRun {
	now := time.Now()
	started := x.of(definition, func(k *knownRun) bool { return !k.queued() && k.inSlimFaas(now) })
	slices.SortFunc(started, newestFirst)
	return started
}

// writeList answers with a list without holding all of it in memory: a queue may be long.
func writeList[T any](c echo.Context, all iter.Seq[T]) error {
	w := c.Response()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	separator := "["
	for one := range all {
		text, err := json.Marshal(one)
		if err != nil {
			return err
		}
		if _, err := w.Write(append([]byte(separator), text...)); err != nil {
			return nil // the caller has gone
		}
		separator = ",\n"
	}
	if separator == "[" {
		_, _ = w.Write([]byte("["))
	}
	_, _ = w.Write([]byte("]\n"))
	return nil
}

// statusJobs answers with all jobs and their runs.
func (g *Gateway) statusJobs(c echo.Context) error {
	p := cmp.Or(g.jobs.unavailable(), g.jobs.unlisted())
	if p != nil {
		return p
	}
	return c.JSON(http.StatusOK, g.slimFaasJobs(g.isInside(c.Request())))
}

// slimFaasJobs are the jobs that callers from inside, or from outside, may know of.
func (g *Gateway) slimFaasJobs(inside bool) []slimFaasJob {
	jobs := g.jobs.slimFaas(inside)
	for i, j := range jobs {
		jobs[i].RunningJobs = []slimFaasRunning{}
		for _, k := range firstShown(g.jobs.runs.started(j.Name)) {
			jobs[i].RunningJobs = append(jobs[i].RunningJobs, slimFaasRunning{k.JobName, k.status, k.ID, ticks(k.QueuedAt), ticks(k.began())})
		}
	}
	return jobs
}

// slimFaasJobOf is what SlimFaas shows of a definition, without its runs.
func slimFaasJobOf(d job.Definition) slimFaasJob {
	shown := slimFaasJob{
		Name: d.Name, Visibility: string(d.Visibility), ImagesWhitelist: append([]string{}, d.Overrides.Images...), NumberParallelJob: d.Parallel,
		DependsOn: append([]string{}, d.DependsOn...), Schedules: []struct{}{},
	}
	shown.Image, shown.Resources = containerOf(d)
	return shown
}

// firstShown are at most maxShownRuns of the runs, which are sorted.
func firstShown(runs []*knownRun) []*knownRun {
	slices.SortStableFunc(runs, func(a, b *knownRun) int {
		switch {
		case a.Phase.Final() == b.Phase.Final():
			return 0
		case b.Phase.Final():
			return -1
		}
		return 1
	})
	return runs[:min(len(runs), maxShownRuns)]
}

// containerOf is image and resources of the container that requests change, as far as the template has them.
func containerOf(d job.Definition) (image string, resources *slimFaasResources) {
	var template struct {
		Spec struct {
			Template struct {
				Spec struct {
					Containers []struct {
						Image     string             `json:"image"`
						Resources *slimFaasResources `json:"resources"`
					} `json:"containers"`
				} `json:"spec"`
			} `json:"template"`
		} `json:"spec"`
	}
	err := json.Unmarshal(d.Template, &template)
	containers := template.Spec.Template.Spec.Containers
	if err != nil || d.Container < 0 || d.Container >= len(containers) {
		return "", nil
	}
	return containers[d.Container].Image, containers[d.Container].Resources
}
