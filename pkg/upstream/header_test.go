package upstream

import (
	"crypto/tls"
	"maps"
	"net/http"
	"reflect"
	"testing"
)

func TestRemoveHopByHop(t *testing.T) {
	h := http.Header{
		"Connection": {"close, X-Named", "keep-alive,x-other , "}, "X-Named": {"1"}, "X-Other": {"1"},
		"Keep-Alive": {"1"}, "Proxy-Connection": {"1"}, "Proxy-Authenticate": {"1"}, "Proxy-Authorization": {"1"},
		"Te": {"gzip, trailers"}, "Trailer": {"X"}, "Transfer-Encoding": {"chunked"}, "Upgrade": {"h2c"},
		"Authorization": {"kept"}, "Cookie": {"a", "b"},
	}
	RemoveHopByHop(h)
	want := http.Header{"Authorization": {"kept"}, "Cookie": {"a", "b"}, "Te": {"trailers"}}
	if !reflect.DeepEqual(h, want) {
		t.Errorf("left %v", h)
	}
	h = http.Header{"Te": {"gzip"}}
	if RemoveHopByHop(h); len(h) > 0 {
		t.Errorf("left %v", h)
	}
}

func TestReservedFromOutside(t *testing.T) {
	for name, want := range map[string]bool{
		"Sluice-Path": true, "sluice-": true, "SLUICE-CALL-ID": true, "SlimFaas-Element-Id": true, "slimfaas-try-number": true,
		"Slimfaas-Last-Try": true, "X-SlimFaas-Job": true, "x-slimfaas-job-id": true, "X-Slimfaas-Jobs": true,
		"Sluice": false, "X-Sluice-A": false, "Nats-Msg-Id": false, "Nats-Rollup": false, "X-SlimFaas": false,
		"SlimFaas-Element-Id-2": false, "Authorization": false, "": false,
	} {
		if got := ReservedFromOutside(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

func TestSetForwarded(t *testing.T) {
	sent := http.Header{"X-Forwarded-For": {"1.2.3.4", "5.6.7.8"}, "X-Forwarded-Proto": {"https"}, "Forwarded": {"for=1.2.3.4"}}
	in := &http.Request{Host: "example.org", RemoteAddr: "[2001:db8::1]:1234", Header: sent}
	untrusted := maps.Clone(sent)
	SetForwarded(untrusted, in, false)
	want := http.Header{"X-Forwarded-For": {"2001:db8::1"}, "X-Forwarded-Host": {"example.org"}, "X-Forwarded-Proto": {"http"}}
	if !reflect.DeepEqual(untrusted, want) {
		t.Errorf("untrusted: %v", untrusted)
	}
	trusted := http.Header{}
	SetForwarded(trusted, in, true)
	want = http.Header{
		"X-Forwarded-For": {"1.2.3.4, 5.6.7.8, 2001:db8::1"}, "X-Forwarded-Host": {"example.org"},
		"X-Forwarded-Proto": {"https"}, "Forwarded": {"for=1.2.3.4"},
	}
	if !reflect.DeepEqual(trusted, want) || len(sent["X-Forwarded-For"]) != 2 {
		t.Errorf("trusted: %v, sent %v", trusted, sent)
	}
	in = &http.Request{Host: "a", RemoteAddr: "1.1.1.1:1", TLS: &tls.ConnectionState{}}
	overTLS := http.Header{}
	if SetForwarded(overTLS, in, false); overTLS.Get("X-Forwarded-Proto") != "https" {
		t.Errorf("over TLS: %v", overTLS)
	}
}

// TestPlatformHeadersFromOutside is row 15 of the bugs of others; hop-by-hop fields are row 13.
func TestPlatformHeadersFromOutside(t *testing.T) {
	in := &http.Request{Host: "a", RemoteAddr: "127.0.0.1:1", Header: http.Header{
		"Sluice-Path": {"/"}, "Slimfaas-Element-Id": {"1"}, "X-Slimfaas-Job-Id": {"1"}, "Slimfaas-Last-Try": {"true"},
		"Host": {"b"}, "Content-Length": {"3"}, "Expect": {"100-continue"}, "Connection": {"Secret"}, "Secret": {"1"},
		"Nats-Rollup": {"all"}, "Cookie": {"a"}, "X-Forwarded-For": {"10.0.0.1"},
	}}
	want := http.Header{
		"Nats-Rollup": {"all"}, "Cookie": {"a"},
		"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Host": {"a"}, "X-Forwarded-Proto": {"http"},
	}
	if got := CallerHeader(in, false); !reflect.DeepEqual(got, want) {
		t.Errorf("fit for a function: %v", got)
	}
	if len(in.Header) != 12 {
		t.Error("the request was changed")
	}
	if got := CallerHeader(&http.Request{RemoteAddr: "127.0.0.1:1"}, false); got.Get("X-Forwarded-For") == "" {
		t.Errorf("without a header: %v", got)
	}
}
