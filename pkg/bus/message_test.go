package bus

import (
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
)

var testNames = Names{Prefix: "sluice"}

func TestCallRoundTrip(t *testing.T) {
	for _, call := range []Call{
		{Function: "f", Method: "POST", Path: "/", Header: http.Header{}},
		{Function: "f", Method: "DELETE", Path: "/a%2Fb//../c", Query: "q=1&q=%zz&;", Header: http.Header{}, Body: []byte("body")},
		{Function: "f", Method: "GET", Path: "/é#x\xff", Query: "é#", Header: http.Header{"X-Utf": {"é \xff"}}},
		{Function: "f", Method: "PUT", Path: "/", Header: http.Header{"Accept": {"a", "b", ""}, "Host": {"h"}, "Status": {"408"}, "X-Nats-Rollup": {"x"}}},
		{Function: "f", Method: "PATCH", Path: "/", Header: http.Header{"Nats-Rollup": {"all"}, "Nats-Msg-Id": {"1", "2"}}},
	} {
		sent := call
		sent.Header = call.Header.Clone() // encode takes it over
		decoded, err := testNames.decode(testNames.encode(sent))
		if err != nil || !reflect.DeepEqual(decoded, call) {
			t.Errorf("got  %+v (%v)\nwant %+v", decoded, err, call)
		}
	}
}

func TestOwnHeadersNeverComeFromACaller(t *testing.T) {
	for _, name := range []string{"Sluice-Path", "sluice-method", "SLUICE-Dead-Reason", "Sluice-Header-Nats-Rollup", "Sluice-Header-Sluice-Path", "Sluice-"} {
		msg := testNames.encode(Call{Function: "f", Method: "PUT", Header: http.Header{name: {"/evil"}}})
		if len(msg.Header) != 1 || msg.Header[HeaderMethod][0] != "PUT" {
			t.Errorf("%s: the message has %v", name, msg.Header)
		}
	}
}

// What is published straight to NATS may have any header.
func TestDecodeOfOtherClientsMessages(t *testing.T) {
	header := nats.Header{
		"sluice-METHOD": {"PUT"}, "sluice-path": {"/p"}, "Sluice-query": {"q"}, "content-type": {"text/plain"},
		"Sluice-Else": {"x"}, "Sluice-Header-Sluice-Else": {"x"}, "sluice-header-nats-ttl": {"1s"}, "Nats-Msg-Id": {"x"}, "traceparent": {"00-1"},
	}
	call, err := testNames.decode(&nats.Msg{Subject: "sluice.call.f", Header: header, Data: []byte("x")})
	want := Call{
		Function: "f", Method: "PUT", Path: "/p", Query: "q", Body: []byte("x"),
		Header: http.Header{"Content-Type": {"text/plain"}, "Nats-Ttl": {"1s"}, "Traceparent": {"00-1"}},
	}
	if err != nil || !reflect.DeepEqual(call, want) {
		t.Fatalf("got  %+v (%v)\nwant %+v", call, err, want)
	}
	call, err = testNames.decode(&nats.Msg{Subject: "sluice.call.f"})
	if err != nil || call.Method != "POST" || call.Path != "/" {
		t.Fatalf("defaults: %+v %v", call, err)
	}
}

func TestBadMessagesSayWhatIsWrong(t *testing.T) {
	for _, c := range []struct{ name, value, want string }{
		{"Sluice-Method", "", `Sluice-Method "" is not an HTTP method`},
		{"Sluice-Method", "GET /", `Sluice-Method "GET /" is not an HTTP method`},
		{"Sluice-Path", "a", `Sluice-Path "a" is not a path that starts with /, escaped`},
		{"Sluice-Path", "/a b", `Sluice-Path "/a b" is not a path`},
		{"Sluice-Path", "/a?b", `Sluice-Path "/a?b" is not a path`},
		{"Sluice-Path", "/%zz", `Sluice-Path "/%zz" is not a path`},
		{"Sluice-Query", "a b", `Sluice-Query "a b" is not an escaped query`},
		{"X Y", "1", `header name "X Y" is not an HTTP token`},
		{"Sluice-Header-Nats-(", "1", `header name "Nats-(" is not an HTTP token`},
		{"X", "a\x00" + strings.Repeat("b", 1000), `header X "a\x00bbb`},
	} {
		_, err := testNames.decode(&nats.Msg{Subject: "sluice.call.f", Header: nats.Header{c.name: {c.value}}})
		if !errors.Is(err, ErrBadMessage) || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 400 {
			t.Errorf("%s=%q: got %v\nwant %s", c.name, c.value, err, c.want)
		}
	}
	if _, err := testNames.decode(&nats.Msg{Subject: "sluice.call.a.b"}); !errors.Is(err, ErrBadMessage) {
		t.Errorf("another subject: %v", err)
	}
}
