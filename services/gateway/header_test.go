package gateway

import (
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// ordinary are headers that reach functions as they were sent, in both modes.
var ordinary = http.Header{
	"Accept": {"*/*"}, "Accept-Encoding": {"gzip, br"}, "Authorization": {"Bearer x"}, "Content-Type": {"application/json"},
	"Content-Encoding": {"gzip"}, "Content-Language": {"fr"}, "Cookie": {"a=b; c=d", "e=f"}, "User-Agent": {"a test"},
	"If-None-Match": {`"x"`}, "Range": {"bytes=0-1"}, "Origin": {"http://a"}, "Idempotency-Key": {"k"}, "Empty": {""},
	"X-Forwarded": {"kept"}, "Date": {"yesterday"}, "Latin": {"caf\xe9"}, "Many": {"1", "2", "1"}, "Via": {"1.1 x"}, "Slimfaas-Other": {"x"},
	// Trace context (W3C), B3 and the like.
	"Traceparent": {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}, "Tracestate": {"a=1,b=2"}, "Baggage": {"k=v"},
	"B3": {"0"}, "X-B3-Traceid": {"463ac35c9f6413ad"}, "X-Request-Id": {"r"},
	// NATS acts on these, unless they are carried escaped.
	"Nats-Msg-Id": {"one id for all"}, "Nats-Rollup": {"all"}, "Nats-Expected-Stream": {"other"}, "Nats-Expected-Last-Sequence": {"99"},
	"Nats-Ttl": {"1s"}, "Nats-Schedule": {"@every 1s"}, "Nats-Schedule-Target": {"sluice.call.g"}, "Nats-Expected-Last-Msg-Id": {"x"},
}

// reserved are for us alone to send (rows 13 and 15).
var reserved = http.Header{
	"Sluice-Method": {"DELETE"}, "Sluice-Path": {"/admin"}, "Sluice-Query": {"q"}, "Sluice-Header-Nats-Rollup": {"all"}, "Sluice-Anything": {"x"},
	"sLuIcE-Dead-Reason": {"x"}, "Slimfaas-Element-Id": {"1"}, "SLIMFAAS-TRY-NUMBER": {"7"}, "Slimfaas-Last-Try": {"true"},
	"X-Slimfaas-Job": {"x"}, "X-SlimFaas-Job-Id": {"x"}, "x-slimfaas-jobs": {"x"},
}

// perConnection concern one connection, or are named by Connection (row 13).
var perConnection = http.Header{
	"Connection": {"Keep-Alive, X-Mine"}, "X-Mine": {"x"}, "Keep-Alive": {"timeout=5"}, "Proxy-Connection": {"x"}, "Te": {"gzip"},
	"Proxy-Authorization": {"x"}, "Proxy-Authenticate": {"x"},
}

// forged are set by us whatever the caller says (row 1).
var forged = http.Header{
	"X-Forwarded-For": {"10.0.0.1"}, "X-Forwarded-Host": {"evil.example"}, "X-Forwarded-Proto": {"https"}, "Forwarded": {"for=10.0.0.1"},
	"X-Call-Id": {"theirs"}, "X-Start-Time": {"1"},
}

func (f *fixture) requestWithAll(path string) *http.Request {
	request := f.request("POST", path, "{}")
	request.Host = "asked.example"
	for _, headers := range []http.Header{ordinary, reserved, perConnection, forged} {
		maps.Copy(request.Header, headers)
	}
	return request
}

func checkForwarded(t *testing.T, h http.Header) {
	t.Helper()
	if h.Get("X-Forwarded-For") != "127.0.0.1" || h.Get("X-Forwarded-Host") != "asked.example" || h.Get("X-Forwarded-Proto") != "http" || h.Get("Forwarded") != "" {
		t.Errorf("forwarded: %v", h)
	}
}

func checkPassed(t *testing.T, mode string, got http.Header) {
	t.Helper()
	for name, want := range ordinary {
		if !slices.Equal(got[name], want) {
			t.Errorf("%s %s: %q, want %q", mode, name, got[name], want)
		}
	}
	for _, headers := range []http.Header{reserved, perConnection} {
		for name := range headers {
			if values := got[http.CanonicalHeaderKey(name)]; values != nil {
				t.Errorf("%s %s passed: %q", mode, name, values)
			}
		}
	}
	known := []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Call-Id", "X-Start-Time", "Content-Length"}
	for name := range got {
		if ordinary[name] == nil && !slices.Contains(known, name) {
			t.Errorf("%s %s was added: %q", mode, name, got[name])
		}
	}
	checkForwarded(t, got)
}

// TestRequestHeadersSync: row 13, row 15 and the gateway's part of row 1.
func TestRequestHeadersSync(t *testing.T) {
	f := start(t)
	handler, requests := recorder()
	address := f.serve("f", handler)
	answer := f.do(f.requestWithAll("/function/f"))
	got := <-requests
	checkPassed(t, "sync", got.header)
	if id := got.header.Get("X-Call-Id"); id == "theirs" || id != answer.Header.Get("X-Call-Id") || got.header.Get("X-Start-Time") != answer.Header.Get("X-Start-Time") {
		t.Errorf("call %q began %q, the caller is told %v", id, got.header.Get("X-Start-Time"), answer.Header)
	}
	if got.host != address {
		t.Errorf("Host is %q, the replica is %q", got.host, address)
	}
}

// TestRequestHeadersAsync: the same through the queue. Nats-* headers of the caller do nothing to the stream: all calls are there.
func TestRequestHeadersAsync(t *testing.T) {
	f := start(t)
	names := []string{"f", "g", "h"} // several, because the same call with the same Idempotency-Key is queued once
	for _, name := range names {
		f.put(state(name))
		if answer := f.do(f.requestWithAll("/async-function/" + name + "/p?q")); answer.StatusCode != http.StatusAccepted {
			t.Fatalf("%s %s", answer.Status, answer.body)
		}
	}
	for _, name := range names {
		delivery := f.fetch(name, 1)[0]
		call := delivery.Call
		if delivery.Err != nil || call.Method != "POST" || call.Path != "/p" || call.Query != "q" || string(call.Body) != "{}" {
			t.Fatalf("%+v, %v", call, delivery.Err)
		}
		checkPassed(t, "async", call.Header)
	}
}

func TestExpectIsNotQueued(t *testing.T) {
	f := start(t)
	f.put(state("f"))
	request := f.request("POST", "/async-function/f", "x")
	request.Header.Set("Expect", "100-continue")
	f.do(request)
	if call := f.fetch("f", 1)[0].Call; call.Header.Get("Expect") != "" || string(call.Body) != "x" {
		t.Errorf("%+v", call)
	}
}

// checkStamps: each of our headers is there exactly once, with a value of its kind.
func checkStamps(t *testing.T, what string, answer result, cold bool) {
	t.Helper()
	for _, name := range []string{"X-Call-Id", "X-Start-Time", "X-Duration-Seconds", "Sluice-Cold-Start", "Sluice-Held-Ms"} {
		if n := len(answer.Header[http.CanonicalHeaderKey(name)]); n != 1 {
			t.Errorf("%s: %d times %s: %v", what, n, name, answer.Header)
			return
		}
	}
	h := answer.Header
	began, err := strconv.ParseInt(h.Get("X-Start-Time"), 10, 64)
	if age := time.Since(time.Unix(0, began)); err != nil || age < 0 || age > time.Minute {
		t.Errorf("%s: X-Start-Time %q", what, h.Get("X-Start-Time"))
	}
	took, err := strconv.ParseFloat(h.Get("X-Duration-Seconds"), 64)
	held, heldErr := strconv.Atoi(h.Get("Sluice-Held-Ms"))
	if err != nil || heldErr != nil || float64(held) > 1000*took || (held > 0) && !cold {
		t.Errorf("%s: duration %q, held %q", what, h.Get("X-Duration-Seconds"), h.Get("Sluice-Held-Ms"))
	}
	if h.Get("Sluice-Cold-Start") != strconv.FormatBool(cold) || len(h.Get("X-Call-Id")) < 16 {
		t.Errorf("%s: cold start %q, id %q", what, h.Get("Sluice-Cold-Start"), h.Get("X-Call-Id"))
	}
}

// TestAnswerHeaders: ours take the place of the function's, whatever the status and whatever came before; all others pass.
func TestAnswerHeaders(t *testing.T) {
	f := start(t)
	f.serve("f", func(w http.ResponseWriter, r *http.Request) {
		for name := range forged {
			w.Header()[name] = []string{"theirs", "twice"}
		}
		for _, name := range []string{"X-Duration-Seconds", "Sluice-Cold-Start", "Sluice-Held-Ms"} {
			w.Header().Set(name, "theirs")
		}
		w.Header()["Set-Cookie"] = []string{"a=b", "c=d"}
		if r.URL.Query().Has("hints") {
			w.WriteHeader(http.StatusEarlyHints)
		}
		status := must(strconv.Atoi(r.URL.Path[1:]))(t)
		if status == http.StatusFound {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(status)
		if status != http.StatusNoContent && status != http.StatusNotModified {
			_, _ = io.WriteString(w, "body")
		}
	})
	for _, status := range []int{200, 204, 206, 302, 304, 400, 404, 418, 500, 502, 503, 504, 599} {
		for _, query := range []string{"", "?hints"} {
			answer := f.send("GET", "/function/f/"+strconv.Itoa(status)+query, "")
			if answer.StatusCode != status || answer.err != nil || (answer.body == "body") == (status == 204 || status == 304) {
				t.Errorf("%d%s: %s %q %v", status, query, answer.Status, answer.body, answer.err)
			}
			checkStamps(t, strconv.Itoa(status)+query, answer, false)
			if !slices.Equal(answer.Header["Set-Cookie"], []string{"a=b", "c=d"}) || answer.Header.Get("Forwarded") != "theirs" {
				t.Errorf("%d%s: %v", status, query, answer.Header)
			}
		}
	}
}

// TestAnswerTrailers: they come behind ours.
func TestAnswerTrailers(t *testing.T) {
	f := start(t)
	f.serve("f", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "Announced")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("Announced", "1")
		w.Header().Set(http.TrailerPrefix+"Sudden", "2")
	})
	answer := f.send("GET", "/function/f", "")
	checkStamps(t, "trailers", answer, false)
	if answer.Trailer.Get("Announced") != "1" || answer.Trailer.Get("Sudden") != "2" || answer.body != "body" {
		t.Errorf("%v %q", answer.Trailer, answer.body)
	}
}

func TestAcceptedHeaders(t *testing.T) {
	f := start(t)
	f.put(state("f"))
	answer := f.send("POST", "/async-function/f", "x")
	id := answer.Header.Get("X-Call-Id")
	if id == "" || answer.Header.Get("SlimFaas-Element-Id") != id || answer.Header.Get("X-Start-Time") == "" || f.fetch("f", 1)[0].ID != id {
		t.Errorf("%v", answer.Header)
	}
}

// TestOldCallers: HTTP/1.0 with and without Host, and Connection: close.
func TestOldCallers(t *testing.T) {
	f := start(t)
	f.serve("f", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusEarlyHints) // not for HTTP/1.0
		_, _ = io.Copy(w, r.Body)
		_ = http.NewResponseController(w).Flush()
		_, _ = io.WriteString(w, "end")
	})
	for _, text := range []string{
		"POST /function/f HTTP/1.0\r\nContent-Length: 4\r\n\r\nbody", "POST /function/f HTTP/1.0\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody",
		"POST /function/f HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody",
	} {
		conn, answers := dial(t, f.Addr())
		say(t, conn, text)
		answer := readAnswer(t, answers)
		for answer.StatusCode == http.StatusEarlyHints && strings.Contains(text, "1.1") {
			answer = readAnswer(t, answers)
		}
		checkStamps(t, text, answer, false)
		if rest, err := io.ReadAll(answers); answer.body != "bodyend" || err != nil || len(rest) > 0 {
			t.Errorf("%q: %s %q, rest %q %v", text, answer.Status, answer.body, rest, err)
		}
		conn, answers = dial(t, f.Addr())
		say(t, conn, strings.Replace(text, "/function", "/async-function", 1))
		if answer := readAnswer(t, answers); answer.StatusCode != http.StatusAccepted {
			t.Errorf("%q: %s", text, answer.Status)
		}
	}
}
