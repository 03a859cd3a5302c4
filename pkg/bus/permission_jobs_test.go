package bus

import (
	"bytes"
	"io"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
	"github.com/sluicefaas/sluice/pkg/job"
)

// jobSubjectsOf are those with which a service can do everything with jobs that the package offers to it: those that docs/nats.md lists for jobs, and $JS.API.DIRECT.GET for
// Runs.List, ScanJobs and GetLog, and STREAM.INFO of the runs for GuardJobs, where the service does without them.
var jobSubjectsOf = map[string]server.Permissions{
	"gateway": {
		Publish: &server.SubjectPermission{Allow: []string{
			"sluice.job.*", "sluice.joblog.*", "sluice.joblog.*.*", "sluice.run-revision.*.*", "$KV.sluice-runs.*.*",
			"$JS.API.STREAM.INFO.sluice-jobs", "$JS.API.STREAM.INFO.KV_sluice-runs", "$JS.API.STREAM.INFO.KV_sluice-definitions",
			"$JS.API.STREAM.MSG.GET.KV_sluice-runs", "$JS.API.STREAM.MSG.GET.OBJ_sluice-joblogs",
			"$JS.API.DIRECT.GET.sluice-jobs", "$JS.API.DIRECT.GET.KV_sluice-runs", "$JS.API.DIRECT.GET.OBJ_sluice-joblogs",
			"$JS.API.CONSUMER.CREATE.KV_sluice-runs.*.$KV.sluice-runs.>", "$JS.API.CONSUMER.DELETE.KV_sluice-runs.*", "$JS.FC.KV_sluice-runs.>",
			"$JS.API.CONSUMER.CREATE.KV_sluice-definitions.*.$KV.sluice-definitions.>", "$JS.API.CONSUMER.DELETE.KV_sluice-definitions.*", "$JS.FC.KV_sluice-definitions.>",
		}},
		Subscribe: &server.SubjectPermission{Allow: []string{
			"_INBOX.sluice.gateway.>", "sluice.joboutput.*", "sluice.definitions-revision", "sluice.run-revision.*.*",
		}},
	},
	"jobrunner": {
		Publish: &server.SubjectPermission{Allow: []string{
			"sluice.job.*", "sluice.deadjob.*", "sluice.jobstate.*.*", "sluice.joboutput.*", "sluice.run-revision.*.*", "sluice.definitions-revision",
			"$KV.sluice-runs.*.*", "$KV.sluice-definitions.*", "$O.sluice-joblogs.C.*", "$O.sluice-joblogs.M.*", "$JS.API.INFO",
			"$JS.API.STREAM.CREATE.sluice-jobs", "$JS.API.STREAM.CREATE.sluice-dead", "$JS.API.STREAM.CREATE.KV_sluice-runs", "$JS.API.STREAM.CREATE.KV_sluice-definitions",
			"$JS.API.STREAM.CREATE.OBJ_sluice-joblogs", "$JS.API.STREAM.UPDATE.sluice-jobs", "$JS.API.STREAM.UPDATE.sluice-dead", "$JS.API.STREAM.UPDATE.KV_sluice-runs",
			"$JS.API.STREAM.UPDATE.KV_sluice-definitions", "$JS.API.STREAM.UPDATE.OBJ_sluice-joblogs",
			"$JS.API.STREAM.INFO.sluice-jobs", "$JS.API.STREAM.INFO.KV_sluice-runs", "$JS.API.STREAM.MSG.DELETE.sluice-jobs", "$JS.API.STREAM.PURGE.OBJ_sluice-joblogs",
			"$JS.API.STREAM.MSG.GET.KV_sluice-runs", "$JS.API.STREAM.MSG.GET.OBJ_sluice-joblogs",
			"$JS.API.DIRECT.GET.sluice-jobs", "$JS.API.DIRECT.GET.KV_sluice-runs", "$JS.API.DIRECT.GET.OBJ_sluice-joblogs",
			"$JS.API.CONSUMER.CREATE.sluice-jobs.*.sluice.job.*", "$JS.API.CONSUMER.RESET.sluice-jobs.*", "$JS.API.CONSUMER.MSG.NEXT.sluice-jobs.*", "$JS.ACK.sluice-jobs.>",
			"$JS.API.CONSUMER.CREATE.KV_sluice-runs.*.$KV.sluice-runs.>", "$JS.API.CONSUMER.DELETE.KV_sluice-runs.*", "$JS.FC.KV_sluice-runs.>",
			"$JS.API.CONSUMER.CREATE.KV_sluice-definitions.*.$KV.sluice-definitions.>", "$JS.API.CONSUMER.DELETE.KV_sluice-definitions.*", "$JS.FC.KV_sluice-definitions.>",
		}},
		Subscribe: &server.SubjectPermission{Allow: []string{
			"_INBOX.sluice.jobrunner.>", "sluice.job.*", "sluice.joblog.*", "sluice.joblog.*.*", "sluice.run-revision.*.*", "sluice.definitions-revision",
		}},
	},
}

// Gateway and jobrunner get by with the subjects that their users have.
func TestJobsNeedNoOtherSubjects(t *testing.T) {
	t.Parallel()
	s := bustest.Start(t, func(o *server.Options) {
		for name, subjects := range jobSubjectsOf {
			o.Users = append(o.Users, &server.User{Username: name, Password: password, Permissions: &subjects})
		}
	})
	runner, gateway := asService(t, s, "jobrunner"), asService(t, s, "gateway")
	if err := runner.EnsureJobs(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	own, definitions := openRuns(t, runner), openDefinitions(t, runner)
	if err := gateway.AwaitJobs(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	runs, err := gateway.AwaitRuns(within(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	shared, err := gateway.AwaitDefinitions(within(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	checkSharedDefinitions(t, definitions, shared)
	checkSharedRuns(t, own, runs)
	checkRequests(t, runner, gateway)
	checkOutput(t, runner, gateway)
	if err := runner.GuardJobs(within(t, quiet)); err != nil {
		t.Error(err)
	}
}

func checkSharedDefinitions(t *testing.T, own, shared *Definitions) {
	t.Helper()
	revision := putDefinition(t, own, "j", "1")
	if err := own.bus.AnnounceDefinitions(revision); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*Definitions{own, shared} {
		if all, err := d.Load(within(t, patience)); err != nil || len(all) != 1 {
			t.Errorf("got %v, %v", all, err)
		}
	}
	if err := own.Delete(within(t, patience), "j"); err != nil {
		t.Error(err)
	}
}

func checkSharedRuns(t *testing.T, own, shared *Runs) {
	t.Helper()
	for i, pair := range [][2]*Runs{{own, shared}, {shared, own}} {
		id := string(rune('a' + i))
		seen := watchRuns(t, pair[1])
		revision := putRun(t, pair[0], run("j", id, job.Queued), 0)
		if _, got := getRun(t, pair[1], "j", id); got != revision {
			t.Errorf("at %d, want %d", got, revision)
		}
		eventually(t, "it is told", func() bool { return seen.has(revision, map[string]job.Phase{"j." + id: job.Queued})() })
		if got := listed(t, pair[1], "j"); len(got) != 1 {
			t.Errorf("listed are %v", got)
		}
		if _, found, err := pair[1].Await(within(t, patience), "j", id, func(job.Run) bool { return true }); !found || err != nil {
			t.Error(found, err)
		}
		if err := own.bus.AnnounceRun(within(t, patience), run("j", id, job.Queued)); err != nil {
			t.Error(err)
		}
		if err := pair[0].Remove(within(t, patience), "j", id, revision); err != nil {
			t.Error(err)
		}
		putRun(t, pair[1], run("j", id, job.Queued), 0)
		eventually(t, "it is there again", func() bool { return len(listed(t, own, "j")) == 1 })
		_, now := getRun(t, own, "j", id)
		if err := own.Remove(within(t, patience), "j", id, now); err != nil {
			t.Error(err)
		}
	}
}

func checkRequests(t *testing.T, runner, gateway *Bus) {
	t.Helper()
	hints := make(chan string, 10)
	stop, err := runner.OnJobs(func(definition string) { hints <- definition })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if err := runner.conn.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"1", "2", "3"} {
		request(t, gateway, job.Message{Definition: "j", RunID: id})
	}
	next(t, hints)
	for _, b := range []*Bus{runner, gateway} {
		if all := queued(t, b); len(all) != 3 {
			t.Errorf("queued are %v", all)
		}
		if depths, err := b.JobDepths(within(t, patience)); err != nil || depths["j"] != 3 {
			t.Errorf("depths %v, %v", depths, err)
		}
		if _, ok, err := b.OldestJob(within(t, patience), "j"); !ok || err != nil {
			t.Error(ok, err)
		}
	}
	if err := runner.DropJob(within(t, patience), 1); err != nil {
		t.Error(err)
	}
	c := jobConsumer(t, runner, "j")
	if err := c.Redeliver(within(t, patience)); err != nil {
		t.Error(err)
	}
	deliveries := pulled(t, c, 2)
	if err := deliveries[0].InProgress(); err != nil {
		t.Error(err)
	}
	done(t, deliveries[0])
	if err := runner.BuryJob(within(t, patience), deliveries[1], "Test", ""); err != nil {
		t.Error(err)
	}
	request(t, runner, job.Message{Definition: "j", RunID: "4"})
}

func checkOutput(t *testing.T, runner, gateway *Bus) {
	t.Helper()
	want := randomBytes(2*objectChunk, 1)
	putLog(t, runner, logName, want)
	putLog(t, runner, logName, want)
	for _, b := range []*Bus{runner, gateway} {
		if got, lost := getLog(t, b, logName); lost || !bytes.Equal(got, want) {
			t.Errorf("%d bytes", len(got))
		}
		if _, lost := getLog(t, b, "none"); !lost {
			t.Error("what is not there is read")
		}
	}
	if err := runner.DeleteLog(within(t, patience), logName); err != nil {
		t.Error(err)
	}
	ctx, cancel := runningLogs(t, runner, texts(map[string][]byte{"1": want}))
	defer cancel()
	var r io.ReadCloser
	eventually(t, "output is served", func() (opened bool) {
		var err error
		r, err = gateway.OpenLog(ctx, LogRequest{Definition: "j", RunID: "1"})
		return err == nil
	})
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	_ = r.Close()
}
