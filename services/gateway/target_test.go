package gateway

import (
	"net/http"
	"strings"
	"testing"
)

// rawTargets are what stands behind "/function/f" and what the function gets.
var rawTargets = []struct{ sent, path, query string }{
	{"", "/", ""},
	{"/", "/", ""},
	{"?a=b", "/", "a=b"},
	{"/?a=b", "/", "a=b"},
	{"/x", "/x", ""},
	{"/x/", "/x/", ""},
	{"/x//y", "/x//y", ""},
	{"//x", "//x", ""},
	{"/./x/../y", "/./x/../y", ""},
	{"/a%2Fb%3fc%23d", "/a%2Fb%3fc%23d", ""},
	{"/%61dmin", "/%61dmin", ""},
	{"/x;v=1,2@:!$&'()*+=~", "/x;v=1,2@:!$&'()*+=~", ""},
	{"/x|y^z`{}\\\"<>", "/x|y^z`{}\\\"<>", ""},
	{"/http://h/function/g", "/http://h/function/g", ""},
	{"/x?u=http://x/?y=1&&=;a;b", "/x", "u=http://x/?y=1&&=;a;b"},
	{"/x?a=%2f%2F+%20&b&b=", "/x", "a=%2f%2F+%20&b&b="},
	{"/x?%00%ff", "/x", "%00%ff"},
	{"/caf\xc3\xa9?q=\xff", "/caf\xc3\xa9", "q=\xff"},
}

// TestTargetsArriveAsTheyWereSent, byte for byte in both modes, in origin form and in absolute form.
func TestTargetsArriveAsTheyWereSent(t *testing.T) {
	f := start(t)
	handler, requests := recorder()
	f.serve("f", handler)
	const head = " HTTP/1.1\r\nHost: a\r\n\r\n"
	for _, target := range rawTargets {
		want := target.path
		if target.query != "" {
			want += "?" + target.query
		}
		for _, host := range []string{"", "http://a", "http://other.example:81"} {
			if answer := f.raw("GET " + host + "/function/f" + target.sent + head); answer.StatusCode != http.StatusOK {
				t.Errorf("%s%s: %s %s", host, target.sent, answer.Status, answer.body)
				continue
			}
			if got := (<-requests).target; got != want {
				t.Errorf("sync %s%s arrived as %s, want %s", host, target.sent, got, want)
			}
			if answer := f.raw("GET " + host + "/async-function/f" + target.sent + head); answer.StatusCode != http.StatusAccepted {
				t.Errorf("%s%s: %s %s", host, target.sent, answer.Status, answer.body)
				continue
			}
			if got := f.fetch("f", 1)[0]; got.Err != nil || got.Call.Path != target.path || got.Call.Query != target.query {
				t.Errorf("async %s%s is queued as %q ? %q, %v", host, target.sent, got.Call.Path, got.Call.Query, got.Err)
			}
		}
	}
}

// TestUnreadableTargets: what servers could read in different ways is refused, not cleaned (row 14).
func TestUnreadableTargets(t *testing.T) {
	f := start(t)
	f.serve("f", func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s arrived", r.RequestURI) })
	for _, target := range []string{"?a=%zz", "/x?%", "/x?a=%4", "/x?a#b", "/x#b", "#", "/x?#"} {
		for _, route := range []string{"/function/f", "/async-function/f"} {
			expectProblem(t, f.raw("GET "+route+target+" HTTP/1.1\r\nHost: a\r\n\r\n"), badRequest)
		}
	}
	// A path that cannot be unescaped is net/http's to refuse.
	if answer := f.raw("GET /function/f/%zz HTTP/1.1\r\nHost: a\r\n\r\n"); answer.StatusCode != http.StatusBadRequest {
		t.Errorf("bad escape in the path: %s", answer.Status)
	}
	if depth := f.depth("f"); depth != 0 {
		t.Errorf("%d calls are queued", depth)
	}
}

// TestNamesAreExact: case-sensitive, and never decoded.
func TestNamesAreExact(t *testing.T) {
	f := start(t)
	f.serve("fibonacci1", func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s arrived", r.RequestURI) })
	names := []string{
		"Fibonacci1", "FIBONACCI1", "fibonacci", "fibonacci11", "fibonacci1.", "fibonacci1%20", "%66ibonacci1", "fibonacci%31", ".", "..",
		"fibonacci1%2Fx", "fibonacci1%00", "fibonacci1;x", "*", ">", "fibonacci1.x", "", strings.Repeat("x", 1000),
	}
	for _, name := range names {
		for _, route := range []string{"/function/", "/async-function/"} {
			expectProblem(t, f.raw("GET "+route+name+"/x HTTP/1.1\r\nHost: a\r\n\r\n"), unknownFunction)
		}
	}
	for _, name := range []string{"Fibonacci1", "%66ibonacci1", "fibonacci%31"} {
		expectProblem(t, f.raw("GET /status-function/"+name+" HTTP/1.1\r\nHost: a\r\n\r\n"), unknownFunction)
		expectProblem(t, f.raw("POST /wake-function/"+name+" HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"), unknownFunction)
	}
}

// FuzzTarget: nothing panics, and a name and a path put together are what came.
func FuzzTarget(f *testing.F) {
	for _, target := range rawTargets {
		f.Add("/function/f" + target.sent)
	}
	f.Add("http://a/function/f/x?y")
	f.Add("*")
	f.Add("/function/??")
	f.Fuzz(func(t *testing.T, target string) {
		got, err := parseTarget(&http.Request{RequestURI: target})
		if err != nil || !strings.HasPrefix(target, "/function/") {
			return
		}
		want, query, _ := strings.Cut(target, "?")
		if !strings.Contains(want[len("/function/"):], "/") {
			want += "/" // a name without a path is called at its root
		}
		if joined := "/function/" + got.name + got.path; joined != want || got.query != query {
			t.Errorf("%q became %+v", target, got)
		}
	})
}
