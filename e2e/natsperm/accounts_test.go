package natsperm

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Nobody gets in without a name and its own password, and nobody at all into the system account.
func TestNobodyElseLogsIn(t *testing.T) {
	running := single(t)
	for name, option := range map[string]nats.Option{
		"nobody":                  nats.Name("nobody"),
		"an empty password":       nats.UserInfo("gateway", ""),
		"another user's password": nats.UserInfo("gateway", passwordOf("client")),
		"the variable's name":     nats.UserInfo("gateway", "$SLUICE_GATEWAY_PASSWORD"),
		"the servers' user":       nats.UserInfo("route", passwordOf("route")),
		"a system user":           nats.UserInfo("sys", "sys"),
		"a password as a token":   nats.Token(passwordOf("gateway")),
	} {
		conn, err := nats.Connect(running.ClientURL(), option, nats.Timeout(patience))
		if err == nil {
			conn.Close()
		}
		if !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if system := running.SystemAccount(); system == nil || system.Name != "SYSTEM" {
		t.Errorf("the system account is %v", system)
	}
	for user, account := range map[string]string{"gateway": "SLUICE", "dispatcher": "SLUICE", "scaler": "SLUICE", "jobrunner": "SLUICE", "client": "CLIENTS"} {
		connect(t, running.ClientURL(), user, "sluice")
		found, err := running.LookupAccount(account)
		if err != nil || found.NumConnections() == 0 {
			t.Errorf("%s is not in account %s: %v", user, account, err)
		}
	}
}

// system has the streams of an installation, made by the users whose they are.
type system struct {
	url string

	gateway, dispatcher, scaler, jobrunner jetstream.JetStream

	functions jetstream.KeyValue
}

func newSystem(t *testing.T, url string, replicas int) *system {
	t.Helper()
	s := &system{url: url}
	s.gateway, s.dispatcher, s.scaler, s.jobrunner = s.as(t, "gateway"), s.as(t, "dispatcher"), s.as(t, "scaler"), s.as(t, "jobrunner")
	makeStream := func(by jetstream.JetStream, config jetstream.StreamConfig) {
		config.Replicas = replicas
		// While servers choose a leader the first attempts have no answer.
		eventually(t, config.Name+" is made", func() bool {
			_, err := by.CreateOrUpdateStream(t.Context(), config)
			return err == nil
		})
	}
	makeStream(s.jobrunner, jetstream.StreamConfig{Name: "sluice-jobs", Subjects: []string{"sluice.job.*"}, Retention: jetstream.WorkQueuePolicy})
	makeStream(s.dispatcher, jetstream.StreamConfig{Name: "sluice-calls", Subjects: []string{"sluice.call.*"}, Retention: jetstream.WorkQueuePolicy})
	makeStream(s.dispatcher, jetstream.StreamConfig{Name: "sluice-events", Subjects: []string{"sluice.event.*"}, Retention: jetstream.WorkQueuePolicy})
	for _, both := range []jetstream.JetStream{s.dispatcher, s.jobrunner} {
		makeStream(both, jetstream.StreamConfig{Name: "sluice-dead", Subjects: []string{"sluice.dead.*", "sluice.deadjob.*"}})
	}
	eventually(t, "the functions bucket is made", func() (made bool) {
		var err error
		s.functions, err = s.scaler.CreateOrUpdateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "sluice-functions", Replicas: replicas})
		return err == nil
	})
	if _, err := s.functions.Put(t.Context(), "f", []byte("state")); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *system) as(t *testing.T, user string) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(connect(t, s.url, user, "sluice").Conn, jetstream.WithDefaultTimeout(5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// value is a state as readers of the bucket see it.
func (s *system) value(t *testing.T, key string) string {
	t.Helper()
	watcher, err := s.functions.WatchAll(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = watcher.Stop() }()
	for entry := range watcher.Updates() {
		if entry == nil {
			return ""
		}
		if entry.Key() == key {
			return string(entry.Value())
		}
	}
	return ""
}

// Other people's services queue calls, events and job requests, exactly once each, and get the queue's own answers.
func TestClientQueuesCalls(t *testing.T) {
	s := newSystem(t, single(t).ClientURL(), 1)
	calls, err := s.gateway.Stream(t.Context(), "sluice-calls")
	if err != nil {
		t.Fatal(err)
	}
	js := s.as(t, "client")
	first, err := js.Publish(t.Context(), "sluice.call.f", []byte("1"), jetstream.WithMsgID("1"))
	if err != nil || first.Stream != "sluice-calls" {
		t.Fatal(first, err)
	}
	if again, err := js.Publish(t.Context(), "sluice.call.f", []byte("1"), jetstream.WithMsgID("1")); err != nil || !again.Duplicate || again.Sequence != first.Sequence {
		t.Error(again, err)
	}
	if err := js.Conn().Publish("sluice.call.g", []byte("without an answer")); err != nil {
		t.Error(err)
	}
	eventually(t, "both calls are queued", func() bool {
		info, err := calls.Info(t.Context(), jetstream.WithSubjectFilter(">"))
		return err == nil && info.State.Msgs == 2 && info.State.Subjects["sluice.call.f"] == 1 && info.State.Subjects["sluice.call.g"] == 1
	})
	if event, err := js.Publish(t.Context(), "sluice.event.e", nil); err != nil || event.Stream != "sluice-events" {
		t.Error(event, err)
	}
	if request, err := js.Publish(t.Context(), "sluice.job.j", nil); err != nil || request.Stream != "sluice-jobs" {
		t.Error(request, err)
	}
}

// Other people's services hear how runs move, and can make no such news.
func TestClientHearsRunsMove(t *testing.T) {
	s := newSystem(t, single(t).ClientURL(), 1)
	client, jobrunner := s.as(t, "client").Conn(), s.as(t, "jobrunner").Conn()
	moves, err := client.SubscribeSync("sluice.jobstate.*.*")
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Publish("sluice.jobstate.j.forged", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := client.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := jobrunner.Publish("sluice.jobstate.j.r", []byte("moved")); err != nil {
		t.Fatal(err)
	}
	if msg, err := moves.NextMsg(patience); err != nil || msg.Subject != "sluice.jobstate.j.r" || string(msg.Data) != "moved" {
		t.Errorf("heard %+v: %v", msg, err)
	}
}

// A stream sends its acknowledgement to whatever subject the publisher names: for the user client that must not be one of the
// services', such as a key of the functions bucket.
func TestClientReachesNothingByReplySubject(t *testing.T) {
	s := newSystem(t, single(t).ClientURL(), 1)
	heard, err := s.scaler.Conn().SubscribeSync("sluice.wake.*")
	if err != nil {
		t.Fatal(err)
	}
	inbox, err := s.gateway.Conn().SubscribeSync("_INBOX.sluice.gateway.x")
	if err != nil {
		t.Fatal(err)
	}
	for _, conn := range []*nats.Conn{s.scaler.Conn(), s.gateway.Conn()} {
		if err := conn.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	client := s.as(t, "client")
	for _, reply := range []string{
		"$KV.sluice-functions.f", "$KV.sluice-attempts.f.1", "$KV.sluice-inside.10.0.0.1", "sluice.wake.f", "sluice.dead.f", "_INBOX.sluice.gateway.x",
		"$JS.API.STREAM.PURGE.sluice-calls", "$JS.API.STREAM.DELETE.sluice-calls", "$KV.sluice-runs.j.r", "$KV.sluice-definitions.j", "sluice.jobstate.j.r", "sluice.joblog.j.r",
	} {
		for _, subject := range []string{"sluice.event.e", "sluice.job.j", "sluice.call.f"} {
			if err := client.Conn().PublishRequest(subject, reply, []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
	}
	last, err := client.Publish(t.Context(), "sluice.call.f", nil)
	if err != nil || last.Sequence != 13 {
		t.Fatalf("the calls are not stored: %v %v", last, err)
	}
	if value := s.value(t, "f"); value != "state" {
		t.Errorf("the state of f was overwritten with %q", value)
	}
	if got, err := s.gateway.Stream(t.Context(), "sluice-calls"); err != nil || got.CachedInfo().State.Msgs != 13 {
		t.Errorf("the calls stream was changed: %v", err)
	}
	for _, sub := range []*nats.Subscription{heard, inbox} {
		if err := sub.Drain(); err != nil { // what was sent before the last call is stored has arrived
			t.Fatal(err)
		}
		if msg, err := sub.NextMsg(0); err == nil {
			t.Errorf("%s was sent %q", sub.Subject, msg.Data)
		}
	}
}
