package bus

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
)

// graveyard returns a Bus with both streams.
func graveyard(t *testing.T, server *bustest.Server) *Bus {
	t.Helper()
	b := connect(t, server)
	if err := b.EnsureDead(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	return b
}

func bury(t *testing.T, b *Bus, d *Delivery, death Death) *jetstream.RawStreamMsg {
	t.Helper()
	sequence, err := b.Bury(within(t, patience), d, death)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := b.js.Stream(within(t, patience), b.DeadStream())
	if err != nil {
		t.Fatal(err)
	}
	letter, err := stream.GetMsg(within(t, patience), sequence)
	if err != nil {
		t.Fatal(err)
	}
	return letter
}

func TestDeadLetterIsTheWholeCallAndWhy(t *testing.T) {
	t.Parallel()
	b := graveyard(t, bustest.Start(t))
	id := publish(t, b, Call{
		Function: "f", Method: "PUT", Path: "/p", Query: "q=1", Body: []byte("body"),
		Header: http.Header{"Content-Type": {"text/plain"}, "X": {"1", "2"}, "Nats-Rollup": {"all"}},
	})
	d := pulled(t, consumer(t, b, "f"), 1)[0]
	at := time.Now()
	letter := bury(t, b, d, Death{Reason: "status", Detail: "answered 503\r\nthree times", At: at, Attempts: 3, Status: 503, Answer: []byte("so\nsorry")})
	if letter.Subject != "sluice.dead.f" || string(letter.Data) != "body" {
		t.Errorf("got %s %q", letter.Subject, letter.Data)
	}
	for name, want := range map[string]string{
		"Sluice-Method": "PUT", "Sluice-Path": "/p", "Sluice-Query": "q=1", "Content-Type": "text/plain", "X": "1,2",
		"Sluice-Header-Nats-Rollup": "all", "Nats-Rollup": "",
		"Sluice-Dead-Reason": "status", "Sluice-Dead-Detail": "answered 503  three times", "Sluice-Dead-Attempts": "3", "Sluice-Dead-Call-Id": id,
		"Sluice-Dead-At": at.UTC().Format(time.RFC3339Nano), "Sluice-Dead-Accepted-At": d.Accepted.UTC().Format(time.RFC3339Nano),
		"Sluice-Dead-Last-Status": "503", "Sluice-Dead-Last-Answer": base64.StdEncoding.EncodeToString([]byte("so\nsorry")),
	} {
		if got := strings.Join(letter.Header[name], ","); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := b.ShowDead(letter.Sequence); got != "nats stream get sluice-dead 1" {
		t.Error(got)
	}
	if n := depth(t, b, "f"); n != 1 {
		t.Errorf("the call is out of the queue before it is acknowledged: %d", n)
	}
}

func TestDeadLetterWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	b := graveyard(t, bustest.Start(t))
	publish(t, b, Call{Function: "f"})
	letter := bury(t, b, pulled(t, consumer(t, b, "f"), 1)[0], Death{Reason: "timeout"})
	if _, ok := letter.Header[HeaderDeadLastStatus]; ok || letter.Header[HeaderDeadLastAnswer] != nil {
		t.Errorf("got %v", letter.Header)
	}
}

func TestSameCallIsBuriedOnce(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	b := graveyard(t, server)
	publish(t, b, Call{Function: "f"})
	publish(t, b, Call{Function: "f"})
	deliveries := pulled(t, consumer(t, b, "f"), 2)
	first := bury(t, b, deliveries[0], Death{Reason: "status", Attempts: 1})
	server.Stop()
	server.Start()
	awaitConnection(t, b)
	again := bury(t, b, deliveries[0], Death{Reason: "timeout", Attempts: 2})
	other := bury(t, b, deliveries[1], Death{Reason: "status"})
	if again.Sequence != first.Sequence || other.Sequence != first.Sequence+1 {
		t.Errorf("stored at %d, %d; the other call at %d", first.Sequence, again.Sequence, other.Sequence)
	}
}

// longest is a death with as much to say as there may be.
func longest() Death {
	return Death{Reason: "status", Detail: strings.Repeat("detail ", 10_000), At: time.Now(), Attempts: 1, Status: 500, Answer: make([]byte, 64<<10)}
}

func TestLargestCallCanBeBuried(t *testing.T) {
	t.Parallel()
	b := graveyard(t, bustest.Start(t))
	header := http.Header{"X": {strings.Repeat("h", maxCallHeader-200)}}
	call := Call{Function: "f", Method: "POST", Header: header.Clone()}
	msg := b.encode(call)
	msg.Header.Set(jetstream.MsgIDHeader, nuid.Next())
	call.Body = bytes.Repeat([]byte("b"), int(b.maxCallSize())-msg.Size()+len(msg.Subject))
	call.Header = header.Clone()
	publish(t, b, call)
	call.Header, call.Body = header.Clone(), append(call.Body, 'x')
	if _, err := b.PublishCall(within(t, patience), call); err == nil {
		t.Error("this is not the largest call")
	}
	letter := bury(t, b, pulled(t, consumer(t, b, "f"), 1)[0], longest())
	if len(letter.Data) != len(call.Body)-1 || letter.Header.Get("X") != call.Header.Get("X") || letter.Header.Get(HeaderDeadReason) != "status" {
		t.Errorf("%d bytes are kept, with %d of the header", len(letter.Data), len(letter.Header.Get("X")))
	}
	if len(letter.Header.Get(HeaderDeadDetail)) != maxDeadDetail {
		t.Errorf("the detail has %d bytes", len(letter.Header.Get(HeaderDeadDetail)))
	}
}

func TestLongAnswerIsCut(t *testing.T) {
	t.Parallel()
	b := graveyard(t, bustest.Start(t))
	publish(t, b, Call{Function: "f"})
	letter := bury(t, b, pulled(t, consumer(t, b, "f"), 1)[0], longest())
	if answer, err := base64.StdEncoding.DecodeString(letter.Header.Get(HeaderDeadLastAnswer)); err != nil || len(answer) != maxDeadAnswer {
		t.Errorf("%d bytes of the answer are kept, %v", len(answer), err)
	}
}

// What other clients publish may have headers that can be stored but not sent again.
func TestEveryMessageCanBeBuried(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	b := graveyard(t, server)
	raw := newRawClient(t, server)
	blocks := []string{
		"NATS/1.0\r\nno colon\r\n\r\n",
		"NATS/1.0\r\nBad Name: x\r\nX: 1\r\n\r\n",
		"NATS/1.0\r\nN\xe9: x\r\nX: \x00\r\n\r\n",
		"NATS/1.0\r\nSluice-Dead-Reason: mine\r\nsluice-dead-REASON: mine\r\n\r\n",
		"NATS/1.0\r\nX: " + strings.Repeat("h", 65_000) + "\r\n\r\n",
		"NATS/1.0\r\n" + strings.Repeat("a:\r\n", 16_000) + "\r\n",
	}
	for _, block := range blocks {
		room := int(b.maxCallSize()) - len(block)
		if answer := raw.publish("sluice.call.f", block, strings.Repeat("b", room)); !strings.Contains(answer, `"seq"`) {
			t.Fatalf("%.40q: %s", block, answer)
		}
	}
	c := consumer(t, b, "f")
	for i, d := range pulled(t, c, len(blocks)) {
		letter := bury(t, b, d, longest())
		if len(letter.Data) != len(d.Call.Body) || letter.Header.Get(HeaderDeadReason) != "status" || letter.Header["sluice-dead-REASON"] != nil {
			t.Errorf("%.40q: %d bytes, reason %q", blocks[i], len(letter.Data), letter.Header[HeaderDeadReason])
		}
		if i >= 4 && !strings.Contains(letter.Header.Get(HeaderDeadDetail), "headers left out") {
			t.Errorf("%.40q: nothing is said of its headers", blocks[i])
		}
	}
}
