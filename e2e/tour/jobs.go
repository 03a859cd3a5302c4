package tour

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// listedRun is one element of GET /job/{name}.
type listedRun struct {
	Name, Status, ID                                  string
	PositionInQueue, InQueueTimestamp, StartTimestamp int64
}

// runs reads SlimFaas's list of a job's runs, by their ids. Each has six keys, and one of six words for its status.
func (o *tourist) runs(ctx context.Context, t *testing.T, job string) map[string]listedRun {
	t.Helper()
	answer := o.want(ctx, t, get("/job/"+job), http.StatusOK)
	var keys []map[string]any
	var list []listedRun
	for _, into := range []any{&keys, &list} {
		if err := json.Unmarshal(answer.Body, into); err != nil {
			t.Fatalf("%v in %s", err, answer.Body)
		}
	}
	runs := map[string]listedRun{}
	for i, one := range list {
		if len(keys[i]) != 6 {
			t.Errorf("a run of %s has the keys %v, want six", job, keys[i])
		}
		if !slices.Contains([]string{"Queued", "Pending", "Running", "Succeeded", "Failed", "ImagePullBackOff"}, one.Status) {
			t.Errorf("a run of %s has the status %q", job, one.Status)
		}
		runs[one.ID] = one
	}
	return runs
}

// ask sends a request for a run and returns its id.
func (o *tourist) ask(ctx context.Context, t *testing.T, job, body string) string {
	t.Helper()
	answer := o.want(ctx, t, post("/job/"+job, body), http.StatusAccepted)
	var accepted struct{ ID string }
	if err := json.Unmarshal(answer.Body, &accepted); err != nil || accepted.ID == "" {
		t.Fatalf("the answer has no Id: %s (%v)", answer.Body, err)
	}
	return accepted.ID
}

// untilRun waits until the list has the run in that status, and returns it.
func (o *tourist) untilRun(ctx context.Context, t *testing.T, id, status string) (run listedRun) {
	t.Helper()
	until(ctx, t, "the run "+id+" is "+status, func() (bool, string) {
		runs := o.runs(ctx, t, "fibonacci")
		run = runs[id]
		return run.Status == status, fmt.Sprint(runs)
	})
	return run
}

func (o *tourist) job(ctx context.Context, t *testing.T) {
	until(ctx, t, "the job fibonacci is known", func() (bool, string) {
		answer, err := o.gateway.Send(ctx, get("/job/fibonacci"))
		return err == nil && answer.Status == http.StatusOK, fmt.Sprintf("%d %s %v", answer.Status, answer.Body, err)
	})
	id := o.ask(ctx, t, "fibonacci", `{"Args":["42","43"],"Environments":[{"Name":"A","Value":"1"}],"BackoffLimit":1,"TtlSecondsAfterFinished":300,"RestartPolicy":"Never"}`)
	run := o.untilRun(ctx, t, id, "Succeeded")
	if run.Name == "" || run.PositionInQueue != -1 || run.InQueueTimestamp <= 0 || run.StartTimestamp < run.InQueueTimestamp {
		t.Errorf("a run that is over is listed as %+v", run)
	}
	answer := o.want(ctx, t, get("/jobs/fibonacci/runs/"+id+"/logs"), http.StatusOK)
	if want := "Fibonacci for 42 is 267914296\nFibonacci for 43 is 433494437\n"; string(answer.Body) != want {
		t.Errorf("the job has printed %q, want %q", answer.Body, want)
	}
}

func (o *tourist) jobStatus(ctx context.Context, t *testing.T) {
	for _, path := range []string{"/jobs/status", "/status-jobs"} {
		answer := o.want(ctx, t, get(path), http.StatusOK)
		var list []struct {
			Name, Visibility  string
			NumberParallelJob int
			DependsOn         []string
			RunningJobs       []struct{ Name, Status, ElementID string }
		}
		if err := json.Unmarshal(answer.Body, &list); err != nil {
			t.Fatalf("%v in %s", err, answer.Body)
		}
		found := false
		for _, one := range list {
			if found = found || one.Name == "fibonacci"; one.Name == "fibonacci5" {
				t.Errorf("%s has the private job: %s", path, answer.Body)
			}
			if one.Name == "fibonacci" && (one.Visibility != "Public" || one.NumberParallelJob != 2 || !slices.Equal(one.DependsOn, []string{"fibonacci1"}) || len(one.RunningJobs) == 0) {
				t.Errorf("%s has %+v", path, one)
			}
		}
		if !found {
			t.Errorf("%s lacks the public job: %s", path, answer.Body)
		}
	}
}

// jobQueue asks for two runs more than may be unfinished, and cancels all of them.
func (o *tourist) jobQueue(ctx context.Context, t *testing.T) {
	var ids []string
	for range 4 {
		ids = append(ids, o.ask(ctx, t, "fibonacci", `{"Args":["-pause","10m","1"]}`))
	}
	until(ctx, t, "two runs have started, and two wait", func() (bool, string) {
		runs := o.runs(ctx, t, "fibonacci")
		var places []int64
		for _, id := range ids {
			places = append(places, runs[id].PositionInQueue)
		}
		return slices.Equal(places, []int64{-1, -1, 1, 2}) && runs[ids[0]].Status == "Running" && runs[ids[1]].Status == "Running", fmt.Sprint(runs)
	})
	for _, i := range []int{2, 0, 1} { // one in the queue, and those that run
		for range 2 {
			o.want(ctx, t, Call{Method: http.MethodDelete, Path: "/job/fibonacci/" + ids[i]}, http.StatusOK)
		}
	}
	o.untilRun(ctx, t, ids[3], "Running")
	o.want(ctx, t, Call{Method: http.MethodDelete, Path: "/job/fibonacci/" + ids[3]}, http.StatusOK)
	until(ctx, t, "none of them is listed any more", func() (bool, string) {
		runs := o.runs(ctx, t, "fibonacci")
		return !slices.ContainsFunc(ids, func(id string) bool { return runs[id].ID != "" }), fmt.Sprint(runs)
	})
	o.want(ctx, t, Call{Method: http.MethodDelete, Path: "/job/fibonacci/unknown"}, http.StatusNotFound)
	for _, method := range []string{http.MethodPut, http.MethodPatch} {
		o.want(ctx, t, Call{Method: method, Path: "/job/fibonacci"}, http.StatusMethodNotAllowed)
	}
}

func (o *tourist) privateJob(ctx context.Context, t *testing.T) {
	for _, call := range []Call{
		post("/job/fibonacci5", `{"Args":["1"]}`), get("/job/fibonacci5"), {Method: http.MethodDelete, Path: "/job/fibonacci5/unknown"}, get("/jobs/fibonacci5/runs"),
	} {
		unknown := call
		unknown.Path = strings.Replace(call.Path, "fibonacci5", "fibonacci9", 1)
		want := o.want(ctx, t, unknown, http.StatusNotFound)
		got := o.want(ctx, t, call, http.StatusNotFound)
		if strings.ReplaceAll(string(want.Body), "fibonacci9", "fibonacci5") != string(got.Body) {
			t.Errorf("a private job is told from an unknown one: %s, %s", got.Body, want.Body)
		}
	}
}

func (o *tourist) jobImage(ctx context.Context, t *testing.T) {
	answer := o.want(ctx, t, post("/job/fibonacci", `{"Image":"example/other:1"}`), http.StatusUnprocessableEntity)
	var refused struct{ Reason, Field string }
	if err := json.Unmarshal(answer.Body, &refused); err != nil || refused.Reason != "ImageNotAllowed" || refused.Field != "image" {
		t.Errorf("got %s (%v)", answer.Body, err)
	}
	o.want(ctx, t, post("/job/fibonacci", "no JSON"), http.StatusBadRequest)
	o.untilRun(ctx, t, o.ask(ctx, t, "fibonacci", `{"Image":"sluice-demo-batch:latest","Args":["10"]}`), "Succeeded")
}
