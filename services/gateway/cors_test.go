package gateway

import (
	"net/http"
	"strings"
	"testing"
)

// asOrigin sends a request as a browser does for a script of that origin.
func (f *fixture) asOrigin(method, path, origin string, header ...string) result {
	f.t.Helper()
	r := f.request(method, path, "")
	if origin != "" {
		r.Header.Set("Origin", origin)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return f.do(r)
}

const asking = "Access-Control-Request-Method"

// TestPreflight is answered by the gateway, for every route, whether there is such a function or not.
func TestPreflight(t *testing.T) {
	f := start(t)
	f.serve("f", func(http.ResponseWriter, *http.Request) { t.Error("the function was called") })
	f.serveHidden("hidden", private)
	for _, path := range []string{"/function/f/x", "/async-function/f", "/function/hidden", "/function/nobody", "/wake-function/f", "/status-functions", "/publish-event/e", "/nowhere"} {
		answer := f.asOrigin("OPTIONS", path, "https://app.example", asking, "DELETE", "Access-Control-Request-Headers", "x-one,content-type")
		h := answer.Header
		if answer.StatusCode != http.StatusNoContent || answer.body != "" || h.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(h.Get("Access-Control-Allow-Methods"), "DELETE") ||
			h.Get("Access-Control-Allow-Headers") != "x-one,content-type" || h.Get("Access-Control-Max-Age") == "" || h.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: %s %v", path, answer.Status, h)
		}
	}
	if got := f.asOrigin("OPTIONS", "/function/f", "https://a", asking, "PROPFIND").Header; !strings.HasSuffix(got.Get("Access-Control-Allow-Methods"), ", PROPFIND") || got["Access-Control-Allow-Headers"] != nil {
		t.Errorf("%v", got)
	}
	if f.functions.get("f").called.Load() {
		t.Error("a preflight counts as a call")
	}
}

// TestOptionsOfFunctions: what is no preflight is the function's to answer.
func TestOptionsOfFunctions(t *testing.T) {
	f := start(t)
	handler, requests := recorder()
	f.serve("f", handler)
	for _, header := range [][]string{nil, {"Origin", "https://a"}, {asking, "GET"}} {
		if answer := f.asOrigin("OPTIONS", "/function/f/x", "", header...); answer.StatusCode != http.StatusOK || (<-requests).method != "OPTIONS" {
			t.Errorf("%v: %s", header, answer.Status)
		}
	}
}

// TestCORSOfAnswers: those of functions, of ours and our problems; who answers with a word of its own on it keeps that.
func TestCORSOfAnswers(t *testing.T) {
	f := start(t)
	f.serve("f", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "Accept")
		w.Header().Set("Access-Control-Expose-Headers", "X-Theirs")
		if r.URL.Path == "/own" {
			w.Header().Set("Access-Control-Allow-Origin", "https://own.example")
			w.Header().Set("Access-Control-Allow-Credentials", "true")
		}
		if r.URL.Path == "/hints" {
			w.WriteHeader(http.StatusEarlyHints)
		}
	})
	f.put(state("unreachable", closedAddress(t)))
	for path, status := range map[string]int{
		"/function/f": 200, "/function/f/hints": 200, "/async-function/f": 202, "/function/nobody": 404, "/function/unreachable": 502, "/status-functions": 200, "/nowhere": 404, "/health": 200, "/wake-function/f": 204,
	} {
		answer := f.asOrigin("GET", path, "https://app.example")
		h := answer.Header
		exposed := strings.Join(h["Access-Control-Expose-Headers"], ", ")
		if answer.StatusCode != status || len(h["Access-Control-Allow-Origin"]) != 1 || h.Get("Access-Control-Allow-Origin") != "*" || h.Get("Access-Control-Allow-Credentials") != "" ||
			!strings.Contains(exposed, "X-Call-Id") || !strings.Contains(exposed, "SlimFaas-Element-Id") || !strings.Contains(exposed, "Location") {
			t.Errorf("%s: %s %v", path, answer.Status, h)
		}
		if path == "/function/f" && (!strings.HasPrefix(exposed, "X-Theirs") || strings.Join(h["Vary"], ",") != "Accept") {
			t.Errorf("what the function said: %v", h)
		}
		if plain := f.send("GET", path, "").Header; plain["Access-Control-Allow-Origin"] != nil {
			t.Errorf("%s without an origin: %v", path, plain)
		}
	}
	own := f.asOrigin("GET", "/function/f/own", "https://app.example").Header
	if len(own["Access-Control-Allow-Origin"]) != 1 || own.Get("Access-Control-Allow-Origin") != "https://own.example" || own.Get("Access-Control-Allow-Credentials") != "true" {
		t.Errorf("%v", own)
	}
}

// TestCORSWithAList: a listed origin is named, no other one is, and caches are told.
func TestCORSWithAList(t *testing.T) {
	f := start(t, func(o *options) { o.config.CORSAllowOrigin = []Origin{"https://app.example", "http://localhost:3000"} })
	f.serve("f", func(http.ResponseWriter, *http.Request) {})
	for origin, allowed := range map[string]bool{
		"https://app.example": true, "http://localhost:3000": true, "https://APP.example": true, "": false, "null": false, "https://app.example.evil": false, "https://xapp.example": false,
		"http://app.example": false, "https://app.example:8443": false, "*": false, "https://app.example, https://evil.example": false,
	} {
		want := ""
		if allowed {
			want = origin
		}
		for _, path := range []string{"/function/f", "/function/nobody"} {
			if h := f.asOrigin("GET", path, origin).Header; h.Get("Access-Control-Allow-Origin") != want || h.Get("Vary") != "Origin" || (h.Get("Access-Control-Expose-Headers") != "") != allowed {
				t.Errorf("%s from %q: %v", path, origin, h)
			}
		}
		if origin == "" {
			continue
		}
		preflight := f.asOrigin("OPTIONS", "/function/f", origin, asking, "PUT")
		if h := preflight.Header; preflight.StatusCode != http.StatusNoContent || h.Get("Access-Control-Allow-Origin") != want || (h.Get("Access-Control-Allow-Methods") != "") != allowed || !strings.HasPrefix(h.Get("Vary"), "Origin") {
			t.Errorf("preflight from %q: %s %v", origin, preflight.Status, h)
		}
	}
}

// TestCORSOff: with an empty list no origin is allowed, and nothing is said.
func TestCORSOff(t *testing.T) {
	f := start(t, func(o *options) { o.config.CORSAllowOrigin = nil })
	f.serve("f", func(http.ResponseWriter, *http.Request) {})
	if h := f.asOrigin("GET", "/function/f", "https://a").Header; h["Access-Control-Allow-Origin"] != nil || h["Vary"] != nil {
		t.Errorf("%v", h)
	}
}
