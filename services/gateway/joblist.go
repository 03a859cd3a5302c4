package gateway

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/sluicefaas/sluice/pkg/job"
)

// shownJob is one element of GET /jobs.
type shownJob struct {
	Name       string         `json:"name"`
	Aliases    []string       `json:"aliases,omitempty"`
	Visibility job.Visibility `json:"visibility"`
	Parallel   int            `json:"parallel"`
	DependsOn  []string       `json:"dependsOn,omitempty"`
	Generation string         `json:"generation"`
	Source     string         `json:"source"`
	// Refused says why there are no runs of it. That and Problems are for callers from inside.
	Refused  string   `json:"refused,omitempty"`
	Problems []string `json:"problems,omitempty"`
}

// describeJobs answers with the definitions that the caller may know of.
func (g *Gateway) describeJobs(c echo.Context) error {
	if p := g.jobs.unavailable(); p != nil {
		return p
	}
	inside := g.isInside(c.Request())
	shown := []shownJob{}
	for _, d := range g.jobs.visible(inside) {
		one := shownJob{
			Name: d.Name, Aliases: d.Aliases, Visibility: d.Visibility, Parallel: d.Parallel, DependsOn: d.DependsOn, Generation: d.Generation, Source: d.Source,
		}
		if inside {
			one.Refused, one.Problems = d.Refused, d.Problems
		}
		shown = append(shown, one)
	}
	return c.JSON(http.StatusOK, shown)
}

// Limits of one page of runs.
const (
	defaultPage = 100
	maxPage     = 1_000
)

// runPage is the answer of GET /jobs/{name}/runs, the newest runs first.
type runPage struct {
	Runs []pagedRun `json:"runs"`
	// Continue is the parameter with which the next page begins, empty on the last one.
	Continue string `json:"continue,omitempty"`
}

type pagedRun struct {
	*knownRun
	// Position is the place in the job's queue, from 1, while the run waits for its Job.
	Position int `json:"position,omitempty"`
}

// pageRequest says which runs are asked for.
type pageRequest struct {
	// phase is empty for all.
	phase job.Phase
	limit int
	// after is the last run of the page before, nil for the first page.
	after *knownRun
}

// pageRuns answers with one page of the runs of a job.
func (g *Gateway) pageRuns(c echo.Context) error {
	asked, p := parsePage(c.QueryParams())
	if p != nil {
		return p
	}
	name, err := g.jobWithRuns(c.Request(), c.Param("name"))
	if err != nil {
		return err
	}
	if p := g.jobs.unlisted(); p != nil {
		return p
	}
	return c.JSON(http.StatusOK, g.jobs.runs.page(name, asked))
}

// page returns the runs that are asked for.
func (x *runIndex) page(name string, asked pageRequest) runPage {
	runs := x.of(name, func(k *knownRun) bool {
		return (asked.phase == "" || k.Phase == asked.phase) && (asked.after == nil || newestFirst(asked.after, k) < 0)
	})
	slices.SortFunc(runs, newestFirst)
	page := runPage{Runs: []pagedRun{}}
	if len(runs) > asked.limit {
		runs = runs[:asked.limit]
		page.Continue = continueAfter(runs[asked.limit-1])
	}
	positions := map[*knownRun]int{}
	if slices.ContainsFunc(runs, (*knownRun).queued) {
		for i, k := range x.queue(name) {
			positions[k] = i + 1
		}
	}
	for _, k := range runs {
		page.Runs = append(page.Runs, pagedRun{k, positions[k]})
	}
	return page
}

// phases are those that callers see.
var phases = []job.Phase{job.Queued, job.Waiting, job.Pending, job.Running, job.Succeeded, job.Failed, job.Cancelled, job.Rejected}

func parsePage(query url.Values) (asked pageRequest, p *Problem) {
	asked.limit = defaultPage
	if text := query.Get("phase"); text != "" {
		at := slices.IndexFunc(phases, func(phase job.Phase) bool { return strings.EqualFold(string(phase), text) })
		if at < 0 {
			return asked, problem(badRequest, "phase: %.100q must be one of %v", text, phases)
		}
		asked.phase = phases[at]
	}
	if text := query.Get("limit"); text != "" {
		limit, err := strconv.Atoi(text)
		if err != nil || limit < 1 || limit > maxPage {
			return asked, problem(badRequest, "limit: %.100q must be a number from 1 to %d", text, maxPage)
		}
		asked.limit = limit
	}
	if text := query.Get("continue"); text != "" {
		after, ok := parseContinue(text)
		if !ok {
			return asked, problem(badRequest, "continue: %.100q must be what the page before has under that name", text)
		}
		asked.after = after
	}
	return asked, nil
}

// continueAfter is where the page after the run begins: runs that come meanwhile are newer, so that none is left out or comes twice.
func continueAfter(last *knownRun) string {
	return base64.RawURLEncoding.EncodeToString([]byte(last.QueuedAt.UTC().Format(time.RFC3339Nano) + " " + last.ID))
}

func parseContinue(text string) (after *knownRun, ok bool) {
	plain, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, false
	}
	at, id, _ := strings.Cut(string(plain), " ")
	queued, err := time.Parse(time.RFC3339Nano, at)
	return &knownRun{ID: id, QueuedAt: queued}, err == nil && job.ValidRunID(id) == nil
}
