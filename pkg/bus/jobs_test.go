package bus

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
	"github.com/sluicefaas/sluice/pkg/job"
)

// jobsBus returns a Bus on the server whose jobs stream is there.
func jobsBus(t testing.TB, url string, changes ...func(*Config)) *Bus {
	t.Helper()
	b := connectOnly(t, url, changes...)
	if err := b.EnsureJobs(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	return b
}

func request(t testing.TB, b *Bus, m job.Message) (sequence uint64) {
	t.Helper()
	sequence, err := b.PublishJob(within(t, patience), m)
	if err != nil {
		t.Fatal(err)
	}
	return sequence
}

// publishAs publishes as any NATS client may. It returns when the stream has it.
func publishAs(t testing.TB, b *Bus, msg *nats.Msg) (sequence uint64) {
	t.Helper()
	ack, err := b.js.PublishMsg(within(t, patience), msg)
	if err != nil {
		t.Fatal(err)
	}
	return ack.Sequence
}

func jobConsumer(t testing.TB, b *Bus, definition string) *Consumer {
	t.Helper()
	c := b.NewJobConsumer(definition, 1_000)
	t.Cleanup(c.Close)
	reopen(t, c)
	return c
}

// asked is the request of a delivery.
func asked(t testing.TB, d *Delivery) job.Message {
	t.Helper()
	if d.Err != nil {
		t.Fatal(d.Err)
	}
	return d.Job()
}

// queued are all requests, in their order.
func queued(t testing.TB, b *Bus) (all []job.Message) {
	t.Helper()
	_, err := b.ScanJobs(within(t, patience), 0, func(m job.Message) bool {
		all = append(all, m)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestRequestArrivesAsItWas(t *testing.T) {
	t.Parallel()
	b := jobsBus(t, bustest.Start(t).URL())
	c := jobConsumer(t, b, "fibonacci")
	sent := job.Message{Definition: "fibonacci", RunID: "run-1", Requester: "10.0.0.7", Path: "/a%20b", Body: []byte(`{"Args":["42"]}`)}
	before := time.Now().Add(-time.Minute) // the server's clock is this one
	sent.Sequence = request(t, b, sent)
	d := pulled(t, c, 1)[0]
	got := asked(t, d)
	if got.Accepted.Before(before) || !got.Accepted.Equal(d.Accepted) || d.ID != "run-1" {
		t.Errorf("accepted at %v as %s", got.Accepted, d.ID)
	}
	if got.Accepted = sent.Accepted; fmt.Sprint(got) != fmt.Sprint(sent) {
		t.Errorf("got %+v, want %+v", got, sent)
	}
	done(t, d)
	if left := queued(t, b); len(left) > 0 {
		t.Errorf("it is still queued: %+v", left)
	}
}

func TestJobsStreamIsAsDesigned(t *testing.T) {
	t.Parallel()
	b := jobsBus(t, bustest.Start(t).URL(), func(c *Config) { c.Settings.JobQueueLimit, c.Settings.StorageLimit = 5, 1<<20 })
	stream, err := b.js.Stream(within(t, patience), "sluice-jobs")
	if err != nil {
		t.Fatal(err)
	}
	c := stream.CachedInfo().Config
	if c.Retention != jetstream.WorkQueuePolicy || c.Storage != jetstream.FileStorage || c.Discard != jetstream.DiscardNew || !c.DiscardNewPerSubject ||
		c.MaxMsgsPerSubject != 5 || c.MaxBytes != 1<<16 || c.MaxConsumers != maxConsumers || c.AllowRollup || c.AllowMsgTTL || c.AllowMsgSchedules ||
		c.Duplicates < 2*b.config.Settings.PublishPatience || int64(c.MaxMsgSize) != job.MaxBody+maxCallHeader || !c.AllowDirect {
		t.Errorf("got %+v", c)
	}
	if limit := connectOnly(t, bustest.Start(t).URL()).jobsConfig().MaxMsgsPerSubject; limit != defaultJobQueueLimit {
		t.Errorf("without a limit it is %d", limit)
	}
	if _, err := Connect(Config{URL: b.config.URL, Settings: Settings{Prefix: "p", QueueLimit: 1, JobQueueLimit: -1}}); err == nil || !strings.Contains(err.Error(), "job queue limit -1") {
		t.Errorf("a negative limit: %v", err)
	}
}

// A full queue refuses its own requests, and no others; the oldest stay.
func TestFullJobQueue(t *testing.T) {
	t.Parallel()
	b := jobsBus(t, bustest.Start(t).URL(), patient, func(c *Config) { c.Settings.JobQueueLimit = 2 })
	request(t, b, job.Message{Definition: "full", RunID: "1"})
	request(t, b, job.Message{Definition: "full", RunID: "2"})
	start := time.Now()
	_, err := b.PublishJob(within(t, unhurried), job.Message{Definition: "full", RunID: "3"})
	if !errors.Is(err, ErrQueueFull) || time.Since(start) > soon {
		t.Fatalf("after %v: %v", time.Since(start), err)
	}
	request(t, b, job.Message{Definition: "other", RunID: "1"})
	done(t, pulled(t, jobConsumer(t, b, "full"), 1)[0])
	request(t, b, job.Message{Definition: "full", RunID: "3"})
	if left := queued(t, b); len(left) != 3 || left[0].RunID != "2" {
		t.Errorf("queued are %+v", left)
	}
}

func TestRequestsThatCannotBeQueued(t *testing.T) {
	t.Parallel()
	b := jobsBus(t, bustest.Start(t).URL(), patient)
	request(t, b, job.Message{Definition: "j", RunID: "large", Body: make([]byte, job.MaxBody)})
	for what, c := range map[string]struct {
		message job.Message
		want    error
	}{
		"no name":             {job.Message{RunID: "1"}, ErrBadMessage},
		"a wildcard":          {job.Message{Definition: "*", RunID: "1"}, ErrBadMessage},
		"two words":           {job.Message{Definition: "a.b", RunID: "1"}, ErrBadMessage},
		"no run":              {job.Message{Definition: "j"}, ErrBadMessage},
		"a run in capitals":   {job.Message{Definition: "j", RunID: "A"}, ErrBadMessage},
		"a path that is none": {job.Message{Definition: "j", RunID: "1", Path: "a\r\nNats-Rollup: all"}, ErrBadMessage},
		"a long path":         {job.Message{Definition: "j", RunID: "1", Path: "/" + strings.Repeat("p", maxJobPath)}, ErrBadMessage},
		"a long requester":    {job.Message{Definition: "j", RunID: "1", Requester: strings.Repeat("r", maxJobRequester+1)}, ErrBadMessage},
		"a large body":        {job.Message{Definition: "j", RunID: "1", Body: make([]byte, job.MaxBody+maxCallHeader)}, ErrTooLarge},
	} {
		start := time.Now()
		if _, err := b.PublishJob(within(t, unhurried), c.message); !errors.Is(err, c.want) || time.Since(start) > soon {
			t.Errorf("%s: %v after %v", what, err, time.Since(start))
		}
	}
	if left := queued(t, b); len(left) != 1 {
		t.Errorf("%d are queued", len(left))
	}
}

func TestDepthsAndOldestRequests(t *testing.T) {
	t.Parallel()
	b := jobsBus(t, bustest.Start(t).URL())
	for _, id := range []string{"1", "2", "3"} {
		request(t, b, job.Message{Definition: "a", RunID: id})
	}
	request(t, b, job.Message{Definition: "b", RunID: "1"})
	depths, err := b.JobDepths(within(t, patience))
	if err != nil || !maps.Equal(depths, map[string]uint64{"a": 3, "b": 1}) {
		t.Errorf("depths %v, %v", depths, err)
	}
	at, ok, err := b.OldestJob(within(t, patience), "a")
	if err != nil || !ok || !at.Equal(queued(t, b)[0].Accepted) {
		t.Errorf("oldest %v %v, %v", at, ok, err)
	}
	if _, ok, err := b.OldestJob(within(t, patience), "c"); ok || err != nil {
		t.Errorf("oldest of an empty queue: %v, %v", ok, err)
	}
}

// A request that is dropped is out, and is out again; the others stay.
func TestDropJob(t *testing.T) {
	t.Parallel()
	b := jobsBus(t, bustest.Start(t).URL())
	var places []uint64
	for _, id := range []string{"1", "2", "3"} {
		places = append(places, request(t, b, job.Message{Definition: "a", RunID: id}))
	}
	for range 2 {
		if err := b.DropJob(within(t, patience), places[1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.DropJob(within(t, patience), 1_000); err != nil {
		t.Errorf("a place that was never taken: %v", err)
	}
	if left := queued(t, b); len(left) != 2 || left[0].RunID != "1" || left[1].RunID != "3" {
		t.Errorf("queued are %+v", left)
	}
	if got := asked(t, pulled(t, jobConsumer(t, b, "a"), 2)[1]); got.RunID != "3" {
		t.Errorf("got %+v", got)
	}
}

// A scan goes on where the last one ended, and ends where it is told to.
func TestScanJobsGoesOn(t *testing.T) {
	t.Parallel()
	b := jobsBus(t, bustest.Start(t).URL())
	const count = 2*scanBatch + 10
	for i := range count {
		request(t, b, job.Message{Definition: fmt.Sprint("j", i%3), RunID: fmt.Sprint(i)})
	}
	all := queued(t, b)
	if len(all) != count || !slices.IsSortedFunc(all, func(a, b job.Message) int { return int(a.Sequence) - int(b.Sequence) }) {
		t.Fatalf("%d requests are told", len(all))
	}
	var some []string
	next, err := b.ScanJobs(within(t, patience), 3, func(m job.Message) bool {
		some = append(some, m.RunID)
		return len(some) < 2
	})
	if err != nil || next != 5 || !slices.Equal(some, []string{"2", "3"}) {
		t.Errorf("told %v, next %d, %v", some, next, err)
	}
	next, err = b.ScanJobs(within(t, patience), count+1, func(job.Message) bool { t.Error("told"); return true })
	if err != nil || next != count+1 {
		t.Errorf("at the end: next %d, %v", next, err)
	}
	last := request(t, b, job.Message{Definition: "j", RunID: "last"})
	if after, err := b.ScanJobs(within(t, patience), next, func(m job.Message) bool { return m.RunID == "last" }); after != last+1 || err != nil {
		t.Errorf("next %d, %v", after, err)
	}
}

// A request that is given up is kept whole with the reason, once, and is out of the queue.
func TestBuryJob(t *testing.T) {
	t.Parallel()
	b := jobsBus(t, bustest.Start(t).URL())
	request(t, b, job.Message{Definition: "j", RunID: "1", Path: "/p", Body: []byte(`{"image":"x"}`)})
	d := pulled(t, jobConsumer(t, b, "j"), 1)[0]
	for range 2 {
		if err := b.BuryJob(within(t, patience), d, "ImageNotAllowed", strings.Repeat("long ", 1_000)); err != nil {
			t.Fatal(err)
		}
	}
	stream, err := b.js.Stream(within(t, patience), b.DeadStream())
	if err != nil {
		t.Fatal(err)
	}
	info, err := stream.Info(within(t, patience))
	if err != nil || info.State.Msgs != 1 {
		t.Fatalf("%+v, %v", info, err)
	}
	dead, err := stream.GetLastMsgForSubject(within(t, patience), "sluice.deadjob.j")
	if err != nil {
		t.Fatal(err)
	}
	h := dead.Header
	if string(dead.Data) != `{"image":"x"}` || h.Get(HeaderDeadReason) != "ImageNotAllowed" || len(h.Get(HeaderDeadDetail)) != maxDeadDetail ||
		h.Get(HeaderJobRunID) != "1" || h.Get(HeaderJobPath) != "/p" || h.Get(HeaderDeadAt) == "" || h.Get(HeaderDeadAccepted) == "" || h.Get(HeaderDeadCallID) != "" {
		t.Errorf("got %v %s", h, dead.Data)
	}
	if left := queued(t, b); len(left) > 0 {
		t.Errorf("queued are %+v", left)
	}
}

// The hint comes for every request, whoever publishes it, and not for what is none.
func TestOnJobs(t *testing.T) {
	t.Parallel()
	b := jobsBus(t, bustest.Start(t).URL())
	hints := make(chan string, 10)
	stop, err := b.OnJobs(func(definition string) { hints <- definition })
	if err != nil {
		t.Fatal(err)
	}
	request(t, b, job.Message{Definition: "a", RunID: "1"})
	publishAs(t, b, &nats.Msg{Subject: "sluice.job.b"})
	if got := []string{next(t, hints), next(t, hints)}; !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("got %v", got)
	}
	stop()
	request(t, b, job.Message{Definition: "a", RunID: "2"})
	if len(hints) > 0 {
		t.Error("told after the end")
	}
}

// The stream is made by one service; the others wait for it.
func TestAwaitJobs(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	waiting := connectOnly(t, server.URL())
	ended := make(chan error, 1)
	go func() { ended <- waiting.AwaitJobs(within(t, patience)) }()
	jobsBus(t, server.URL())
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	request(t, waiting, job.Message{Definition: "a", RunID: "1"})
	if _, err := connectOnly(t, server.URL(), func(c *Config) { c.Settings.Prefix, c.Settings.PublishPatience = "other", time.Second }).JobDepths(within(t, patience)); err == nil {
		t.Error("another installation has a stream")
	}
}

// A jobrunner that does not settle a request gets it again, and it is the same.
func TestRequestComesAgain(t *testing.T) {
	t.Parallel()
	b := jobsBus(t, bustest.Start(t).URL(), func(c *Config) { c.Settings.AckWait = 200 * time.Millisecond })
	publishAs(t, b, &nats.Msg{Subject: "sluice.job.j", Data: []byte(`{}`)})
	c := jobConsumer(t, b, "j")
	first := asked(t, pulled(t, c, 1)[0])
	again := pulled(t, c, 1)[0]
	if got := asked(t, again); fmt.Sprint(got) != fmt.Sprint(first) {
		t.Errorf("got %+v, first %+v", got, first)
	}
	if err := again.Again(0); err != nil {
		t.Fatal(err)
	}
	done(t, pulled(t, c, 1)[0])
	if wait := connectOnly(t, b.config.URL).NewJobConsumer("j", 1).config.AckWait; wait != defaultJobAckWait || b.ProgressInterval()*2 > wait {
		t.Errorf("the ack wait is %v", wait)
	}
}

// A wildcard as the word would pull the requests of all jobs.
func TestJobConsumerOfAWildcardIsRefused(t *testing.T) {
	t.Parallel()
	b := jobsBus(t, bustest.Start(t).URL())
	for _, word := range []string{"*", ">"} {
		if err := b.NewJobConsumer(word, 1).Open(within(t, patience)); !errors.Is(err, ErrBadMessage) {
			t.Errorf("%s: %v", word, err)
		}
	}
	c := jobConsumer(t, b, "a/b") // what is no name of a job can be queued, and has to be buried
	publishAs(t, b, &nats.Msg{Subject: "sluice.job.a/b"})
	if m := asked(t, pulled(t, c, 1)[0]); m.Definition != "a/b" {
		t.Errorf("got %+v", m)
	}
}
