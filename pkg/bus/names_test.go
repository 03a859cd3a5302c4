package bus

import (
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	n := Names{Prefix: "site1"}
	for got, want := range map[string]string{
		n.CallSubject("f"):             "site1.call.f",
		n.AllCalls():                   "site1.call.*",
		n.CallsStream():                "site1-calls",
		n.DeadSubject("f"):             "site1.dead.f",
		n.AllDead():                    "site1.dead.*",
		n.DeadJobSubject("j"):          "site1.deadjob.j",
		n.AllDeadJobs():                "site1.deadjob.*",
		n.JobSubject("j"):              "site1.job.j",
		n.AllJobs():                    "site1.job.*",
		n.JobsStream():                 "site1-jobs",
		n.DefinitionsBucket():          "site1-definitions",
		n.DefinitionsRevisionSubject(): "site1.definitions-revision",
		n.RunsBucket():                 "site1-runs",
		n.RunRevisionSubject("j", "r"): "site1.run-revision.j.r",
		n.AllRunRevisions():            "site1.run-revision.*.*",
		n.JobStateSubject("j", "r"):    "site1.jobstate.j.r",
		n.JobLogsBucket():              "site1-joblogs",
		n.JobLogSubject("j", "r"):      "site1.joblog.j.r",
		n.AllJobLogs():                 "site1.joblog.*.*",
		n.LogSessionSubject("s"):       "site1.joblog.s",
		n.JobOutputSubject("x"):        "site1.joboutput.x",
		valuesStream("b"):              "KV_b",
		valueSubject("b", "k"):         "$KV.b.k",
		objectSubjects("b"):            "$O.b.>",
		n.DeadStream():                 "site1-dead",
		n.FunctionsBucket():            "site1-functions",
		n.AttemptsBucket():             "site1-attempts",
		n.WakeSubject("f"):             "site1.wake.f",
		n.AllWakes():                   "site1.wake.*",
		n.ActivitySubject():            "site1.activity",
		n.InsideBucket():               "site1-inside",
		n.InsideRevisionSubject():      "site1.inside-revision",
		n.KeysBucket():                 "site1-keys",
		n.BodiesBucket():               "site1-bodies",
		objectsStream("b"):             "OBJ_b",
		objectChunks("b", "x"):         "$O.b.C.x",
		objectMeta("b", "x"):           "$O.b.M.eA==",
		n.EventSubject("e"):            "site1.event.e",
		n.AllEvents():                  "site1.event.*",
		n.EventsStream():               "site1-events",
		n.CallbackSubject("f"):         "site1.callback.f",
		n.AllCallbacks():               "site1.callback.*",
		n.ResultSubject("own.1"):       "site1.result.own.1",
		n.RevisionSubject():            "site1.revision",
		pullSubject(n.CallsStream(), CallsConsumer("f")): "$JS.API.CONSUMER.MSG.NEXT.site1-calls.f",
		CallsConsumer("f-1"):                             "f-1",
		CallsConsumer("a/b")[:1]:                         "_",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestFunctionOfIsTheInverseOfCallSubject(t *testing.T) {
	n := Names{Prefix: "sluice"}
	for subject, want := range map[string]string{
		"sluice.call.f": "f", "sluice.call.a/b": "a/b", "sluice.call.a.b": "", "sluice.call.": "", "sluice.call": "",
		"other.call.f": "", "sluice.wake.f": "", "sluice.callx.f": "", "": "",
	} {
		function, ok := n.FunctionOf(subject)
		if ok != (want != "") || ok && function != want {
			t.Errorf("%q: got %q %v", subject, function, ok)
		}
	}
}

func TestJobOfIsTheInverseOfJobSubject(t *testing.T) {
	n := Names{Prefix: "sluice"}
	for subject, want := range map[string]string{
		"sluice.job.j": "j", "sluice.job.a_B": "a_B", "sluice.job.a.b": "", "sluice.job.": "", "sluice.jobstate.j": "", "sluice.call.j": "", "": "",
	} {
		job, ok := n.JobOf(subject)
		if ok != (want != "") || ok && job != want {
			t.Errorf("%q: got %q %v", subject, job, ok)
		}
	}
}

func TestConsumerNamesAreValidAndDistinct(t *testing.T) {
	seen := map[string]string{}
	for _, function := range []string{"a", "a-b", "a/b", `a\b`, "A", "é", "_a", strings.Repeat("x", 300), strings.Repeat("x", 301)} {
		name := CallsConsumer(function)
		if strings.ContainsAny(name, ">*. /\\\t\r\n") || len(name) > 64 || seen[name] != "" {
			t.Errorf("%q has the consumer %q (%q has too)", function, name, seen[name])
		}
		seen[name] = function
	}
}
