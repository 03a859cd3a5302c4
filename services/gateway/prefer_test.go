package gateway

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestParsePrefer(t *testing.T) {
	for _, test := range []struct {
		lines string // with | between
		want  preferences
	}{
		{"", preferences{}},
		{"respond-async", preferences{respondAsync: true}},
		{"Respond-ASYNC", preferences{respondAsync: true}},
		{"respond-async=", preferences{respondAsync: true}},
		{`respond-async=""`, preferences{respondAsync: true}},
		{"respond-async; foo=bar", preferences{respondAsync: true}},
		{"return=minimal, respond-async,wait=5", preferences{true, 5 * time.Second}},
		{"return=minimal|wait = 5| respond-async ", preferences{true, 5 * time.Second}},
		{`WAIT="5"`, preferences{wait: 5 * time.Second}},
		{"wait=5;x=y", preferences{wait: 5 * time.Second}},
		{"wait=5, wait=7", preferences{wait: 5 * time.Second}},
		{"wait=5|wait=7", preferences{wait: 5 * time.Second}},
		{"wait=0", preferences{}},
		{"wait=300", preferences{wait: 300 * time.Second}},
		{"wait=301", preferences{wait: maxWait}},
		{"wait=99999999999999999999999", preferences{wait: maxWait}},
		{"wait=-1", preferences{}},
		{"wait=+1", preferences{}},
		{"wait=1.5", preferences{}},
		{"wait=1s", preferences{}},
		{"wait=x", preferences{}},
		{"wait", preferences{}},
		{`wait="5`, preferences{}},
		{`foo="a, respond-async, wait=5"`, preferences{}},
		{`foo="a\", respond-async"`, preferences{}},
		{`foo="a", respond-async`, preferences{respondAsync: true}},
		{"respond-asynchronously, xwait=5", preferences{}},
		{",,;,=,", preferences{}},
	} {
		h := http.Header{}
		for line := range strings.SplitSeq(test.lines, "|") {
			h.Add("prefer", line)
		}
		if got := parsePrefer(h); got != test.want {
			t.Errorf("%q: %+v, want %+v", test.lines, got, test.want)
		}
	}
}

func TestPreferenceApplied(t *testing.T) {
	for want, p := range map[string]preferences{
		"": {}, "respond-async": {respondAsync: true}, "wait=7": {wait: 7 * time.Second}, "respond-async, wait=300": {true, maxWait},
	} {
		if got := p.applied(); got != want {
			t.Errorf("%+v: %q, want %q", p, got, want)
		}
	}
}

func FuzzParsePrefer(f *testing.F) {
	f.Add("respond-async, wait=10; a=\"b\"")
	f.Add(`"\`)
	f.Fuzz(func(t *testing.T, line string) {
		if p := parsePrefer(http.Header{"Prefer": {line}}); p.wait < 0 || p.wait > maxWait {
			t.Errorf("%q: %+v", line, p)
		}
		if got := strings.Join(splitQuoted(line, ','), ","); got != line {
			t.Errorf("%q was split to %q", line, got)
		}
	})
}

// TestPreferRespondAsync: a call of /function is queued as one of /async-function is, header and all.
func TestPreferRespondAsync(t *testing.T) {
	f := start(t)
	f.serve("f", func(http.ResponseWriter, *http.Request) { t.Error("called") })
	for _, verb := range []string{"GET", "POST", "PROPFIND"} {
		request := f.request(verb, "/function/f/a%2Fb?c=d", "body")
		request.Header["Prefer"] = []string{"return=minimal", "Respond-Async; x=y"}
		answer := f.do(request)
		if answer.StatusCode != http.StatusAccepted || answer.Header.Get("Preference-Applied") != "respond-async" {
			t.Fatalf("%s: %s %v", verb, answer.Status, answer.Header)
		}
		if answer.Header.Get("Location") != "" {
			t.Error("there is no route to which Location could point")
		}
		got := f.fetch("f", 1)[0]
		if got.ID != answer.Header.Get("X-Call-Id") || got.ID != answer.Header.Get("SlimFaas-Element-Id") {
			t.Errorf("%s: %v, queued as %s", verb, answer.Header, got.ID)
		}
		if got.Call.Method != verb || got.Call.Path != "/a%2Fb" || got.Call.Query != "c=d" || string(got.Call.Body) != "body" || len(got.Call.Header["Prefer"]) != 2 {
			t.Errorf("%s: queued as %+v", verb, got.Call)
		}
	}
}
