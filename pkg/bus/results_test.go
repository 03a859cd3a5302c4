package bus

import (
	"bytes"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
)

func await(t *testing.T, b *Bus) (token string, result <-chan Result, stop func()) {
	t.Helper()
	token, result, stop, err := b.AwaitResult()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.conn.Flush(); err != nil {
		t.Fatal(err)
	}
	return token, result, stop
}

func send(t *testing.T, b *Bus, token string, result Result) {
	t.Helper()
	if err := b.SendResult(token, result); err != nil {
		t.Fatal(err)
	}
}

// A result arrives as it is, with each byte of the answer's header and body.
func TestResultRoundTrip(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	gateway, dispatcher := connect(t, server), connect(t, server)
	for _, result := range []Result{
		{ID: "a-1", Status: 200, Header: http.Header{"Content-Type": {"text/plain"}, "Set-Cookie": {"a=1", "b=2", ""}}, Body: []byte("x\x00\xff\n")},
		{ID: "a-2", Status: 503, Header: http.Header{"X-Latin": {"caf\xe9"}, "Nats-Rollup": {"all"}, "Status": {"404"}, "Nats-Trace-Dest": {"x"}}, Reason: "status", Detail: "answered 503"},
		{ID: "a-3", Header: http.Header{}, Reason: "timeout"},
		{ID: "a-4", Status: 201, Header: http.Header{}, Body: bytes.Repeat([]byte("0123456789"), dispatcher.MaxResultBody()/10)},
	} {
		token, ch, stop := await(t, gateway)
		before := result.Header.Clone()
		send(t, dispatcher, token, result)
		got := next(t, ch)
		if len(got.Body) == 0 {
			got.Body = nil
		}
		if !reflect.DeepEqual(got, result) || !reflect.DeepEqual(before, result.Header) {
			t.Errorf("got %.300v\nwant %.300v", got, result)
		}
		stop()
	}
}

func TestResultTooLargeIsTruncated(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.Start(t))
	for name, result := range map[string]Result{
		"body":   {ID: "i", Status: 200, Body: make([]byte, b.MaxResultBody()+1)},
		"header": {ID: "i", Status: 200, Header: http.Header{"X": {strings.Repeat("x", maxResultHeader)}}, Body: []byte("x")},
	} {
		token, ch, stop := await(t, b)
		send(t, b, token, result)
		if got := next(t, ch); !got.Truncated || got.Status != 200 || len(got.Body) > 0 || len(got.Header) > 0 {
			t.Errorf("%s: got %.200v", name, got)
		}
		stop()
	}
}

// Each result goes to its own caller, once, and to nobody after the wait has ended. One subscription serves them all.
func TestResultsGoToWhoWaits(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	gateways, dispatcher := []*Bus{connect(t, server), connect(t, server)}, connect(t, server)
	var tokens []string
	var results []<-chan Result
	for i := range 40 {
		token, ch, stop := await(t, gateways[i%2])
		defer stop()
		tokens, results = append(tokens, token), append(results, ch)
	}
	if subs := gateways[0].conn.NumSubscriptions(); subs > 4 {
		t.Errorf("%d subscriptions", subs)
	}
	for _, token := range tokens {
		for range 3 { // a call that ran twice has two results
			send(t, dispatcher, token, Result{ID: token})
		}
	}
	for i, ch := range results {
		if got := next(t, ch); got.ID != tokens[i] {
			t.Errorf("%s got the result of %s", tokens[i], got.ID)
		}
	}
	token, ch, stop := await(t, gateways[0])
	stop()
	stop()
	send(t, dispatcher, token, Result{ID: "late"})
	last, lastCh, stop := await(t, gateways[0])
	defer stop()
	send(t, dispatcher, last, Result{ID: "last"})
	next(t, lastCh)
	if len(ch) != 0 {
		t.Error("a wait that has ended was answered")
	}
	if left := len(gateways[0].results.waiting); left != 0 {
		t.Errorf("%d waits are kept", left)
	}
}

func TestResultsArriveAfterARestart(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	gateway, dispatcher := connect(t, server), connect(t, server)
	token, ch, stop := await(t, gateway)
	defer stop()
	server.Stop()
	eventually(t, "the loss is noticed", func() bool { return gateway.Connected() != nil && dispatcher.Connected() != nil })
	server.Start()
	awaitConnection(t, dispatcher)
	awaitConnection(t, gateway)
	eventually(t, "it has subscribed again", func() bool { return gateway.conn.FlushTimeout(patience) == nil })
	send(t, dispatcher, token, Result{ID: "x"})
	next(t, ch)
}

// A token comes in the header of a message, which anybody may publish: no result goes to a subject of their choice.
func TestTokensOfOthersAreRefused(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.Start(t))
	for _, token := range []string{"", "a", "a.", ".b", "a.b.c", "a.*", "a.>", "a. b", "a.b\r\n", "a.é", "a-b.c", strings.Repeat("a", 65) + ".b"} {
		if err := b.SendResult(token, Result{}); err == nil {
			t.Errorf("%q was taken", token)
		}
		call, err := b.decode(&nats.Msg{Subject: b.CallSubject("f"), Header: nats.Header{HeaderResultTo: {token}}})
		if err != nil || call.ResultTo != "" || len(call.Header) != 0 {
			t.Errorf("%q: decoded as %+v, %v", token, call, err)
		}
		if msg := b.encode(Call{Function: "f", Method: "POST", ResultTo: token}); len(msg.Header) != 0 {
			t.Errorf("%q: encoded as %v", token, msg.Header)
		}
	}
	token, _, stop := await(t, b)
	defer stop()
	publish(t, b, Call{Function: "f", ResultTo: token})
	if d := pulled(t, consumer(t, b, "f"), 1)[0]; d.Call.ResultTo != token || len(d.Call.Header) != 0 {
		t.Errorf("got %+v", d.Call)
	}
}

func TestAwaitResultOfAClosedBus(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.Start(t))
	_, ch, _ := await(t, b)
	b.Close()
	if _, _, _, err := connectClosed(t).AwaitResult(); err == nil {
		t.Error("no error")
	}
	select {
	case got := <-ch:
		t.Errorf("got %+v", got)
	case <-time.After(quiet / 10):
	}
}

func connectClosed(t *testing.T) *Bus {
	t.Helper()
	b := connectOnly(t, bustest.Start(t).URL())
	b.Close()
	return b
}
