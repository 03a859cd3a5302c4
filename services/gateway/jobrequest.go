package gateway

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/job"
)

// recordTimeout bounds what is done with the record of a run.
const recordTimeout = 10 * time.Second

// queuedJob is the answer to a request for a run. SlimFaas' clients read Id.
type queuedJob struct {
	SlimFaasID string    `json:"Id"`
	RunID      string    `json:"runId"`
	Status     job.Phase `json:"status"`
}

// requestJob queues a request for a run of a job and answers 202 once the queue has acknowledged it.
func (g *Gateway) requestJob(c echo.Context) error {
	ask, err := parseTarget(c.Request())
	if err != nil {
		return unreadable("request target", err)
	}
	d, err := g.definedJob(c.Request(), ask.name)
	if err != nil {
		g.metrics.jobRequest(unknownName, outcomeOf(err))
		return err
	}
	run, err := g.acceptJob(c, d, ask.path)
	if err != nil {
		g.metrics.jobRequest(d.Name, outcomeOf(err))
		return err
	}
	g.metrics.jobRequest(d.Name, accepted)
	c.Response().Header().Set("Location", "/jobs/"+d.Name+"/runs/"+run.ID)
	return c.JSON(http.StatusAccepted, queuedJob{run.ID, run.ID, shownPhase(run.Phase)})
}

// acceptJob reads a request, checks it as the jobrunner will, and queues it.
func (g *Gateway) acceptJob(c echo.Context, d job.Definition, path string) (job.Run, error) {
	r := c.Request()
	key, p := idempotencyKey(r.Header)
	if p != nil {
		return job.Run{}, p
	}
	body, err := g.readBody(c.Response().Writer, r, job.MaxBody, job.MaxBody)
	if err != nil {
		return job.Run{}, err
	}
	defer body.release()
	if err := job.ValidBody(body.data); err != nil {
		return job.Run{}, unreadable("body", err)
	}
	m := job.Message{Definition: d.Name, Body: body.data, Requester: g.callerName(r)}
	if path != "/" {
		m.Path = path
	}
	chosen := chosenRunID(m, key)
	m.RunID = cmp.Or(chosen, strings.ToLower(rand.Text()))
	run := job.Accept(d, m, time.Now())
	if run.Phase == job.Rejected {
		return job.Run{}, jobRefused(run)
	}
	if chosen != "" {
		known, err := g.knownRequest(r.Context(), run)
		if err != nil || known.ID != "" {
			return known, err
		}
	}
	return g.queueJob(r, m, run)
}

// chosenRunID is the id that the caller has chosen for his run, by its name or by an idempotency key; empty if he has not.
func chosenRunID(m job.Message, key string) string {
	if id := job.RequestedRunID(m.Body); id != "" || key == "" {
		return id
	}
	return job.RunIDFor(m.Definition, key)
}

// callerName is the address of the caller of r as a text, empty if it is not known.
func (g *Gateway) callerName(r *http.Request) string {
	if caller := g.callerIP(r); caller.IsValid() {
		return caller.String()
	}
	return ""
}

// knownRequest is the run that has the id already; the zero run if there is none. It is refused if that was another request.
func (g *Gateway) knownRequest(ctx context.Context, run job.Run) (job.Run, error) {
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	known, revision, err := g.jobs.records.Load().Get(ctx, run.Definition, run.ID)
	switch {
	case err != nil:
		return job.Run{}, recordProblem(err)
	case revision == 0:
		return job.Run{}, nil
	case known.SpecHash != run.SpecHash:
		return job.Run{}, problem(reusedKey, "the run %s of %q is that of a different request", run.ID, run.Definition)
	}
	return known, nil
}

// queueJob publishes the request, then makes its record, so that it can be seen at once. From the first on it is accepted: a record that is missing is made
// by the jobrunner.
func (g *Gateway) queueJob(r *http.Request, m job.Message, run job.Run) (job.Run, error) {
	sequence, err := g.deps.Bus.PublishJob(r.Context(), m)
	if err != nil && r.Context().Err() != nil {
		return job.Run{}, callerGone()
	}
	if err != nil {
		return job.Run{}, jobQueueProblem(m.Definition, err)
	}
	run.Sequence = sequence
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), recordTimeout)
	defer cancel()
	revision, err := g.jobs.records.Load().Put(ctx, run, 0)
	switch {
	case errors.Is(err, bus.ErrOvertaken): // by the jobrunner, or by the same request
		known, err := g.knownRequest(ctx, run)
		var p *Problem
		if errors.As(err, &p) && p.Status == http.StatusConflict {
			return job.Run{}, p
		}
		if err == nil && known.ID != "" {
			return known, nil
		}
	case err != nil:
		g.deps.Logger.Warn().Err(err).Str("job", run.Definition).Str("run", run.ID).Msg("the record of a run could not be made; the jobrunner will make it")
	default:
		g.jobs.runs.ApplyRun(run, revision)
	}
	return run, nil
}

// jobQueueProblem says why a request could not be queued.
func jobQueueProblem(name string, err error) *Problem {
	switch {
	case errors.Is(err, bus.ErrQueueFull):
		return problem(fullQueue, "as many requests for the job %q are queued as may be", name)
	case errors.Is(err, bus.ErrStorageFull):
		return problem(fullStorage, "no request can be queued until others have been taken")
	case errors.Is(err, bus.ErrTooLarge):
		return problem(largeBody, "the request is larger than a message can be")
	case errors.Is(err, bus.ErrBadMessage):
		return unreadable("request", err)
	default:
		return problem(silentQueue, "the request was not accepted in time: %v", err)
	}
}

func recordProblem(err error) *Problem {
	return problem(silentQueue, "the record of the run could not be read or written in time: %v", err)
}

// jobRefused says what the job does not allow. The message of such a run begins with the field and a colon.
func jobRefused(run job.Run) *Problem {
	p := problem(refusedJob, "%s", run.Message)
	p.Reason = run.Reason
	p.Field, p.Message, _ = strings.Cut(run.Message, ": ")
	return p
}
