package bus

import (
	"bufio"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"golang.org/x/net/http/httpguts"
)

func FuzzDecode(f *testing.F) {
	for _, block := range []string{
		"", "X: y", "Sluice-Method: GET\r\nSluice-Path: /a\r\nSluice-Query: b", "sluice-path: //a#b", "Sluice-Path: /%41\r\nNats-Rollup: all",
		"Sluice-Header-Nats-Rollup: all\r\nsluice-header-nats-: x", "Sluice-Path: /\xff", "Sluice-Method: CONNECT", ": x", "a b: c", "A: \x01",
	} {
		f.Add("NATS/1.0\r\n"+block+"\r\n\r\n", "f")
	}
	f.Add("NATS/1.0 100 Idle\r\n\r\n", "f")
	f.Fuzz(func(t *testing.T, block, function string) {
		header, err := nats.DecodeHeadersMsg([]byte(block))
		if err != nil {
			return
		}
		call, err := testNames.decode(&nats.Msg{Subject: "sluice.call." + function, Header: header})
		if err == nil {
			checkRequest(t, call)
		} else if !errors.Is(err, ErrBadMessage) {
			t.Errorf("%v does not wrap ErrBadMessage", err)
		}
	})
}

// checkRequest fails if the call is not one HTTP request.
func checkRequest(t *testing.T, call Call) {
	t.Helper()
	for name, values := range call.Header {
		if !httpguts.ValidHeaderFieldName(name) || strings.HasPrefix(name, "Sluice-") {
			t.Errorf("header name %q", name)
		}
		for _, value := range values {
			if !httpguts.ValidHeaderFieldValue(value) {
				t.Errorf("header %s has the value %q", name, value)
			}
		}
	}
	target := call.Path
	if call.Query != "" {
		target += "?" + call.Query
	}
	request, err := http.ReadRequest(bufio.NewReader(strings.NewReader(call.Method + " " + target + " HTTP/1.1\r\nHost: f\r\n\r\n")))
	if err != nil || request.Method != call.Method || request.RequestURI != target || request.URL.RawQuery != call.Query {
		t.Errorf("%s %s is no request line: %v", call.Method, target, err)
	}
}
