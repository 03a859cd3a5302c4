package gateway

import (
	"net/http"
	"strings"
	"testing"

	"github.com/sluicefaas/sluice/pkg/job"
)

// refuse shares that a job is not used, as the jobrunner does.
func (f *jobFixture) refuse(d job.Definition, why string) {
	f.t.Helper()
	d.Refused, d.Template = why, nil
	must(f.shared.Put(f.t.Context(), d))(f.t)
	eventually(f.t, "the gateway to know that the job is refused", func() bool {
		known, ok := f.jobs.find(d.Name)
		return !ok && known.Refused == why
	})
}

// fromInside is the answer to a request for a run by a caller from inside.
func (f *jobFixture) fromInside(name string) result {
	f.t.Helper()
	return f.do(must(http.NewRequestWithContext(f.t.Context(), "POST", "http://"+f.InsideAddr()+"/job/"+name, strings.NewReader("{}")))(f.t))
}

// TestRefusedJob: nobody gets a run of it, nor one of the fallback in its place. Callers from inside see it, with the reason; those from outside see nothing.
func TestRefusedJob(t *testing.T) {
	f := startJobs(t)
	rest := definition("rest", job.Public)
	rest.Fallback = true
	f.define(rest)
	refused := definition("wrong", job.Public)
	refused.Aliases = []string{"wr_ong"}
	f.refuse(refused, "its image is wrong")
	f.refuse(job.RefusedDefinition("broken", "CronJob/broken", ""), "it cannot be read")
	for name, why := range map[string]string{"wrong": "its image is wrong", "WRONG": "its image is wrong", "wr_ong": "its image is wrong", "broken": "it cannot be read"} {
		outside, inside := f.send("POST", "/job/"+name, "{}"), f.fromInside(name)
		if expectProblem(t, outside, unknownJob); strings.Contains(outside.body, why) {
			t.Errorf("%s tells those outside %s", name, outside.body)
		}
		if expectProblem(t, inside, unknownJob); !strings.Contains(inside.body, why) {
			t.Errorf("%s tells those inside %s", name, inside.body)
		}
		if queued := f.queue(strings.ToLower(name)); len(queued) > 0 {
			t.Errorf("%+v are queued", queued)
		}
	}
	f.accepted(f.fromInside("else"))
	if outside := read[[]shownJob](t, f.send("GET", "/jobs", "")); len(outside) != 1 || outside[0].Name != "rest" {
		t.Errorf("those outside see %+v", outside)
	}
	inside := read[[]shownJob](t, f.inside("GET", "/jobs"))
	if len(inside) != 3 || inside[0].Refused != "it cannot be read" || inside[1].Refused != "" || inside[2].Refused != "its image is wrong" || inside[2].Source != "CronJob/wrong" {
		t.Errorf("those inside see %+v", inside)
	}
	if status := read[[]slimFaasJob](t, f.inside("GET", "/jobs/status")); len(status) != 1 || status[0].Name != "rest" {
		t.Errorf("in SlimFaas's list are %+v", status)
	}
}

// TestJobThatIsRefusedNow: its runs are shown to callers from inside, as those of one that is gone.
func TestJobThatIsRefusedNow(t *testing.T) {
	f := startJobs(t)
	d := f.define(definition("a", job.Public))
	id := f.ask("a", "{}")
	f.refuse(d, "its image is wrong")
	if answer := f.inside("GET", "/jobs/a/runs/"+id); answer.StatusCode != http.StatusOK {
		t.Errorf("%s %s", answer.Status, answer.body)
	}
	expectProblem(t, f.send("GET", "/jobs/a/runs/"+id, ""), unknownJob)
	expectProblem(t, f.send("POST", "/job/a", "{}"), unknownJob)
	f.define(d)
	f.ask("a", "{}")
}
