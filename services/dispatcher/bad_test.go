package dispatcher

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// What is no call goes to the dead letters at once, and the calls behind it go on.
func TestBadMessages(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	letters, conn := r.deadLetters(), r.raw()
	b := newBackend(t, nil, answer(200))
	bad := []nats.Header{
		{"Sluice-Method": {"GET /evil HTTP/1.1"}},
		{"Sluice-Method": {""}},
		{"Sluice-Path": {"no-slash"}},
		{"Sluice-Path": {"/a b"}},
		{"Sluice-Query": {"a b"}},
		{"X-Bad": {"a\x00b"}},
	}
	for i, header := range bad {
		if err := conn.PublishMsg(&nats.Msg{Subject: "sluice.call.f", Header: header, Data: fmt.Appendf(nil, "%d", i)}); err != nil {
			t.Fatalf("%v: %v", header, err)
		}
		r.publish("f", "good")
	}
	blocks := []string{"NATS/1.0\r\nno colon here\r\n\r\n", "NATS/1.0\r\nX Bad: a\r\n\r\n"}
	for _, block := range blocks {
		r.rawPublish("sluice.call.f", block, "broken")
	}
	r.publish("f", "good")
	r.put(spec("f", parallel(2, 0), retries(1, 1)), b)
	s := r.dispatch()
	for range len(bad) + len(blocks) {
		letter := letters.next()
		if letter.Header.Get("Sluice-Dead-Reason") != "bad_message" || letter.Header.Get("Sluice-Dead-Attempts") != "0" || letter.Header.Get("Sluice-Dead-Detail") == "" {
			t.Errorf("%q: %v", letter.Data, letter.Header)
		}
	}
	r.awaitEmpty("f")
	for _, c := range b.calls() {
		if c.body != "good" {
			t.Errorf("the function got %q", c.body)
		}
	}
	if b.count() != len(bad)+1 {
		t.Errorf("%d good calls of %d", b.count(), len(bad)+1)
	}
	if got := len(s.log.with("call given up")); got != len(bad)+len(blocks) {
		t.Errorf("%d warnings", got)
	}
}

// rawPublish speaks the protocol itself, for what no client library sends.
func (r *rig) rawPublish(subject, header, body string) {
	r.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.server.URL(), "nats://"))
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, err = fmt.Fprintf(conn, "CONNECT {\"verbose\":false,\"headers\":true}\r\nHPUB %s %d %d\r\n%s%s\r\nPING\r\n", subject, len(header), len(header)+len(body), header, body)
	if err != nil {
		r.t.Fatal(err)
	}
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		if lines.Text() == "PONG" {
			return
		}
	}
	r.t.Fatal("no PONG")
}

// What a caller sends in the name of Sluice does not reach the function, all else does.
func TestHeadersOfACall(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := newBackend(t, nil, answer(200))
	r.put(spec("f"), b)
	msg := &nats.Msg{Subject: "sluice.call.f", Data: []byte(`{"input":10}`), Header: nats.Header{
		"Slimfaas-Element-Id": {"forged"}, "SlimFaas-Try-Number": {"7"}, "Slimfaas-Last-Try": {"forged"}, "X-SlimFaas-Job-Id": {"forged"},
		"X-Call-Id": {"forged"}, "Host": {"evil"}, "Content-Length": {"3"}, "Connection": {"X-Hop"}, "X-Hop": {"1"},
		"Sluice-Header-Nats-Rollup": {"all"}, "Sluice-Query": {"a=%20&b"}, "Sluice-Path": {"/x%2Fy/"},
		"traceparent": {"00-1-2-3"}, "Cookie": {"a=b"}, "X-Two": {"1", "2"},
	}}
	if err := r.raw().PublishMsg(msg); err != nil {
		t.Fatal(err)
	}
	r.dispatch()
	eventually(t, "the call", func() bool { return b.count() == 1 })
	c := b.calls()[0]
	got := c.request
	if got.Method != http.MethodPost || got.RequestURI != "/x%2Fy/?a=%20&b" || c.body != `{"input":10}` || got.Host != b.address {
		t.Errorf("%s %s to %s: %s", got.Method, got.RequestURI, got.Host, c.body)
	}
	for name, values := range got.Header {
		if strings.Contains(strings.Join(values, " "), "forged") {
			t.Errorf("%s: %q", name, values)
		}
	}
	if c.id == "" || c.try != "0" || c.last != "true" || got.Header.Get("X-Call-Id") != c.id || got.Header.Get("X-Start-Time") == "" {
		t.Errorf("header %v", got.Header)
	}
	if got.Header.Get("Nats-Rollup") != "all" || got.Header.Get("Traceparent") != "00-1-2-3" || len(got.Header["X-Two"]) != 2 || got.Header.Get("X-Hop") != "" {
		t.Errorf("header %v", got.Header)
	}
}

// Slow, dead and hostile functions: each is told apart, and none delays another function.
func TestBadFunctionsDelayNoOther(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	huge := newBackend(t, nil, func(w http.ResponseWriter, _ *http.Request) {
		chunk := make([]byte, 1<<20)
		for range 1024 {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	cut := newBackend(t, nil, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		w.WriteHeader(200)
		_, _ = w.Write([]byte("the beginning"))
		panic(http.ErrAbortHandler)
	})
	never := newBackend(t, nil, make(gate).hold)
	headers := newBackend(t, nil, func(w http.ResponseWriter, _ *http.Request) {
		for i := range 100 {
			w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("x", 4_000))
		}
	})
	garbage, closeGarbage := listener(t, func(c net.Conn) {
		_, _ = http.ReadRequest(bufio.NewReader(c))
		_, _ = fmt.Fprint(c, strings.Repeat("garbage", 10_000), "\r\n\r\n")
	})
	defer closeGarbage()
	bad := map[string]string{"huge": huge.address, "cut": cut.address, "never": never.address, "headers": headers.address, "garbage": garbage}
	for name, address := range bad {
		seconds := 30
		if name == "never" {
			seconds = 1
		}
		r.put(spec(name, parallel(5, 0), timeout(seconds)), &backend{address: address})
		r.publishMany(name, 10)
	}
	good := newBackend(t, nil, answer(200))
	r.put(spec("good"), good)
	letters := r.deadLetters()
	s := r.dispatch()
	eventually(t, "all are busy", func() bool { return s.awake("good") && never.own.current() == 5 })
	for i := range 20 {
		start := time.Now() // who waited for one of the bad ones would wait for 30 s
		r.publish("good", "")
		eventually(t, "the good one is called", func() bool { return good.count() == i+1 })
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("call %d took %s", i, took)
		}
	}
	r.awaitEmpty("huge", "cut", "never", "headers", "garbage")
	got := map[string]int{}
	for range 40 {
		letter := letters.next()
		got[strings.TrimPrefix(letter.Subject, "sluice.dead.")+" "+letter.Header.Get("Sluice-Dead-Reason")]++
	}
	for _, want := range []string{"cut broken", "never timeout", "headers broken", "garbage broken"} {
		if got[want] != 10 {
			t.Errorf("%s: %v", want, got)
		}
	}
	eventually(t, "the calls with a huge answer have ended well", func() bool { // they are counted after they have left the queue
		return s.counted("sluice_queued_calls_ended_total", "huge", "success") == 10
	})
}
