package gateway

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/job"
)

// shownRun is what callers get of a record.
type shownRun struct {
	job.Run
	// Position is the place in the job's queue, from 1, while the run waits for its Job.
	Position int `json:"position,omitempty"`
}

// showRun leaves out the Job's spec, and for callers from outside what is not for them.
func (g *Gateway) showRun(run job.Run, inside bool) shownRun {
	run.Spec = nil
	run.Phase = shownPhase(run.Phase)
	run.Moves = shownMoves(run.Moves)
	if !inside {
		run = shownOutside(run)
	}
	return shownRun{Run: run, Position: g.jobs.runs.position(runKey{run.Definition, run.ID})}
}

// shownOutside leaves out who has asked for the run, with what, who has cancelled it, and where it runs. Sentences about the request quote it, and its hash lets it be guessed.
func shownOutside(run job.Run) job.Run {
	run.Requester, run.Path, run.Request, run.SpecHash, run.DependsOn, run.Warnings = "", "", nil, "", nil, nil
	if run.Phase == job.Rejected || run.Phase == job.Waiting {
		run.Message = ""
	}
	if run.Ending != nil {
		ending := *run.Ending
		ending.By = ""
		run.Ending = &ending
	}
	run.Pods = slices.Clone(run.Pods)
	for i := range run.Pods {
		run.Pods[i].Node = ""
	}
	return run
}

func shownMoves(moves []job.Move) []job.Move {
	shown := slices.Clone(moves)
	for i := range shown {
		shown[i].Phase = shownPhase(shown[i].Phase)
	}
	return shown
}

// askedRun is a run that a request is about.
type askedRun struct {
	runKey
	records *bus.Runs
}

// askedRun reads job and id out of the path, if the caller may know of the job.
func (g *Gateway) askedRun(c echo.Context) (askedRun, error) {
	name, err := g.jobWithRuns(c.Request(), c.Param("name"))
	if err != nil {
		return askedRun{}, err
	}
	id := c.Param("id")
	if job.ValidRunID(id) != nil { // nor can it be a key
		return askedRun{}, runNotFound(name, id)
	}
	return askedRun{runKey{name, id}, g.jobs.records.Load()}, nil
}

// read is the run's record, as the leading server has it.
func (a askedRun) read(ctx context.Context) (job.Run, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	run, revision, err := a.records.Get(ctx, a.job, a.id)
	if err != nil {
		return run, 0, recordProblem(err)
	}
	if revision == 0 {
		return run, 0, runNotFound(a.job, a.id)
	}
	return run, revision, nil
}

func runNotFound(name, id string) *Problem {
	return problem(unknownRun, "the job %q has no run %.100q", name, id)
}

// describeRun answers with one run, once it is over if the caller waits for that.
func (g *Gateway) describeRun(c echo.Context) error {
	patience, p := waitParam(c.QueryParams()["wait"])
	if p != nil {
		return p
	}
	asked, err := g.askedRun(c)
	if err != nil {
		return err
	}
	run, err := g.awaitRun(c.Request().Context(), asked, patience)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, g.showRun(run, g.isInside(c.Request())))
}

// waitParam reads how long a caller waits for the end of a run, at most maxWait.
func waitParam(values []string) (time.Duration, *Problem) {
	if len(values) == 0 {
		return 0, nil
	}
	wait, err := time.ParseDuration(values[0])
	if len(values) > 1 || err != nil || wait < 0 {
		return 0, problem(badRequest, "wait: %.100q must be one duration such as 30s, at most %s counts", values, maxWait)
	}
	return min(wait, maxWait), nil
}

// awaitRun returns the record once the run is over, or as it is after that time or when the gateway stops. It does not wait where too many do.
func (g *Gateway) awaitRun(ctx context.Context, asked askedRun, patience time.Duration) (job.Run, error) {
	over, leave := g.jobs.runs.over(asked.runKey)
	defer leave()
	run, _, err := asked.read(ctx)
	if err != nil || patience == 0 || run.Phase.Final() {
		return run, err
	}
	defer g.waits.Add(-1)
	if g.waits.Add(1) > maxWaits {
		return run, nil
	}
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case <-over:
	case <-timeout.C:
	case <-g.closing:
	case <-ctx.Done():
		return run, callerGone()
	}
	run, _, err = asked.read(ctx)
	return run, err
}

// cancelRun is SlimFaas' route: it has no answer but the status.
func (g *Gateway) cancelRun(c echo.Context) error {
	if _, err := g.cancel(c); err != nil {
		return err
	}
	return c.NoContent(http.StatusOK)
}

// cancelAndDescribe answers with the run, which ends as soon as its pods are gone.
func (g *Gateway) cancelAndDescribe(c echo.Context) error {
	run, err := g.cancel(c)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, g.showRun(run, g.isInside(c.Request())))
}

// cancel notes in the record that the run is to end, whoever else writes there, unless it is over or is to end already.
func (g *Gateway) cancel(c echo.Context) (job.Run, error) {
	asked, err := g.askedRun(c)
	if err != nil {
		return job.Run{}, err
	}
	// Who has said it need not stay for the answer.
	ctx, stop := context.WithTimeout(context.WithoutCancel(c.Request().Context()), recordTimeout)
	defer stop()
	for {
		run, revision, err := asked.read(ctx)
		if err != nil {
			return run, err
		}
		if run.Phase.Final() || run.Ending != nil {
			return run, nil
		}
		run = run.Cancel(time.Now(), g.callerName(c.Request()))
		if _, err = asked.records.Put(ctx, run, revision); err == nil {
			return run, nil
		}
		if !errors.Is(err, bus.ErrOvertaken) {
			return run, recordProblem(err)
		}
	}
}
