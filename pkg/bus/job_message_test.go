package bus

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
	"github.com/sluicefaas/sluice/pkg/job"
)

// A run's id is what its publisher has chosen, in this order; else it comes from the message's place.
func TestWhereARunsIDComesFrom(t *testing.T) {
	t.Parallel()
	made := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	place := job.RunIDAt("sluice-jobs", made, 7)
	long := strings.Repeat("x", 64)
	for what, c := range map[string]struct {
		header nats.Header
		body   string
		want   string
		bad    bool
	}{
		"nothing":                 {want: place},
		"ours":                    {header: nats.Header{HeaderJobRunID: {"a"}, HeaderRunID: {"b"}, "Nats-Msg-Id": {"c"}}, body: `{"runId":"d"}`, want: "a"},
		"that of others":          {header: nats.Header{HeaderRunID: {"b"}, "Nats-Msg-Id": {"c"}}, body: `{"runId":"d"}`, want: "b"},
		"in another case":         {header: nats.Header{"job-run-id": {"b"}}, want: "b"},
		"the body's":              {header: nats.Header{"Nats-Msg-Id": {"c"}}, body: `{"RunId":"d"}`, want: "d"},
		"the message's":           {header: nats.Header{"Nats-Msg-Id": {"c"}}, body: `{"args":["1"]}`, want: "c"},
		"the message's, as hash":  {header: nats.Header{"Nats-Msg-Id": {"C d"}}, want: job.RunIDFor("j", "Nats-Msg-Id: C d")},
		"a long message id":       {header: nats.Header{"Nats-Msg-Id": {long}}, want: job.RunIDFor("j", "Nats-Msg-Id: "+long)},
		"no JSON":                 {body: `not JSON`, want: place},
		"a wrong one in the body": {body: `{"runId":"A B"}`, want: place},
		"a wrong header":          {header: nats.Header{HeaderJobRunID: {"A"}}, want: place, bad: true},
		"an empty header":         {header: nats.Header{HeaderRunID: {""}, "Nats-Msg-Id": {"c"}}, want: place, bad: true},
		"a header with no value":  {header: nats.Header{HeaderRunID: {}}, want: place, bad: true},
		"a path":                  {header: nats.Header{HeaderRunID: {"../x"}}, want: place, bad: true},
		"two words":               {header: nats.Header{HeaderRunID: {"a.b"}}, want: place, bad: true},
		"a long one":              {header: nats.Header{HeaderRunID: {long}}, want: place, bad: true},
	} {
		m, err := testNames.decodeJob(&storedMessage{Subject: "sluice.job.j", Sequence: 7, Header: c.header, Data: []byte(c.body)}, made)
		if m.RunID != c.want || errors.Is(err, ErrBadMessage) != c.bad || (err == nil) == c.bad {
			t.Errorf("%s: got %q, %v, want %q", what, m.RunID, err, c.want)
		}
		if job.ValidRunID(m.RunID) != nil {
			t.Errorf("%s: %q is no id", what, m.RunID)
		}
	}
}

func TestHeadersThatNoRequestCanHave(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{
		HeaderJobPath:      "no slash",
		"sluice-job-path":  "/a b",
		HeaderJobRequester: "a\nb",
	} {
		m, err := testNames.decodeJob(&storedMessage{Subject: "sluice.job.j", Header: nats.Header{name: {value}, HeaderJobRunID: {"chosen"}}}, time.Time{})
		if !errors.Is(err, ErrBadMessage) || m.Path != "" || m.Requester != "" || job.ValidRunID(m.RunID) != nil {
			t.Errorf("%s: %q: got %+v, %v", name, value, m, err)
		}
	}
}

// Every request that can be queued arrives as it was sent.
func TestRequestsAreReadAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		sent := job.Message{
			Definition: rapid.StringMatching(`[a-z]([-a-z0-9]{0,10}[a-z0-9])?`).Draw(t, "definition"),
			RunID:      rapid.StringMatching(`[a-z0-9]([-a-z0-9]{0,10}[a-z0-9])?`).Draw(t, "run"),
			Requester:  rapid.String().Draw(t, "requester"),
			Path:       rapid.OneOf(rapid.String(), rapid.StringMatching(`/[!-~]*`)).Draw(t, "path"),
			Body:       []byte(rapid.String().Draw(t, "body")),
		}
		msg, err := testNames.encodeJob(sent)
		if err != nil {
			if !errors.Is(err, ErrBadMessage) {
				t.Fatalf("%v does not wrap ErrBadMessage", err)
			}
			return
		}
		got, err := testNames.decodeJob(&storedMessage{Subject: msg.Subject, Header: msg.Header, Data: msg.Data}, time.Time{})
		if err != nil || fmt.Sprint(got) != fmt.Sprint(sent) {
			t.Fatalf("got %+v, %v, want %+v", got, err, sent)
		}
	})
}

func FuzzDecodeJob(f *testing.F) {
	for _, block := range []string{"", "Job-Run-Id: a", "Sluice-Job-Run-Id: A", "sluice-job-path: //a#b", "Nats-Msg-Id: \xff", "Sluice-Job-Requester: \x01", "Nats-Rollup: all"} {
		f.Add("NATS/1.0\r\n"+block+"\r\n\r\n", "j", []byte(`{"runId":"x"}`))
	}
	f.Fuzz(func(t *testing.T, block, definition string, body []byte) {
		header, err := nats.DecodeHeadersMsg([]byte(block))
		if err != nil {
			return
		}
		m, err := testNames.decodeJob(&storedMessage{Subject: "sluice.job." + definition, Sequence: 1, Header: header, Data: body}, time.Unix(1, 0))
		if err != nil && !errors.Is(err, ErrBadMessage) {
			t.Errorf("%v does not wrap ErrBadMessage", err)
		}
		if job.ValidRunID(m.RunID) != nil || len(m.Path) > maxJobPath || len(m.Requester) > maxJobRequester {
			t.Errorf("got %+v", m)
		}
	})
}

// What others publish arrives whatever is wrong with it, so that it can be given up; it stops nobody, and its reply subject is of no interest.
func TestRequestsOfOtherClients(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	b := jobsBus(t, server.URL())
	raw := newRawClient(t, server)
	raw.publish("sluice.job.j", "NATS/1.0\r\nno colon\r\n\r\n", "broken")
	raw.publish("sluice.job.j", "NATS/1.0 204 EOB\r\n\r\n", "")
	raw.publish("sluice.job.j", "NATS/1.0\r\nStatus: 204\r\nNats-Num-Pending: 9\r\nNats-Sequence: 1\r\n\r\n", "")
	raw.publish("sluice.job.j", "NATS/1.0\r\nJob-Run-Id: fine\r\n\r\n", `{}`)
	raw.publish("sluice.job.j", "NATS/1.0\r\nno colon\r\n\r\n", "the last")
	var told []uint64
	next, err := b.ScanJobs(within(t, patience), 0, func(m job.Message) bool {
		told = append(told, m.Sequence)
		return true
	})
	if err != nil || next != 6 || fmt.Sprint(told) != "[2 3 4]" { // the broken ones cannot be read by the client library
		t.Errorf("told %v, next %d, %v", told, next, err)
	}
	deliveries := pulled(t, jobConsumer(t, b, "j"), 5)
	ids := map[string]bool{}
	for i, d := range deliveries {
		m, err := d.Job(), d.Err
		if broken := i == 0 || i == 4; errors.Is(err, ErrBadMessage) != broken || (m.Wrong != "") != broken || m.Definition != "j" || m.Sequence != uint64(i+1) || job.ValidRunID(m.RunID) != nil {
			t.Errorf("%d: got %+v, %v", i, m, err)
		}
		ids[m.RunID] = true
		if err := b.BuryJob(within(t, patience), d, "Test", ""); err != nil {
			t.Errorf("%d cannot be given up: %v", i, err)
		}
	}
	if len(ids) != 5 || !ids["fine"] {
		t.Errorf("the runs are %v", ids)
	}
	if left, err := b.JobDepths(within(t, patience)); err != nil || len(left) > 0 {
		t.Errorf("queued are %v, %v", left, err)
	}
}
