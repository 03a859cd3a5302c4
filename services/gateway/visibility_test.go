package gateway

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/sluicefaas/sluice/pkg/function"
)

// podAddress is that of somebody inside, and never the tests' own.
const podAddress = "10.2.0.9"

// isInsider shares that somebody inside has the address, and waits until the gateway knows it.
func (f *fixture) isInsider(address string) {
	f.t.Helper()
	addr := netip.MustParseAddr(address)
	bucket := must(f.bus.OpenInside(f.t.Context()))(f.t)
	must(bucket.Put(f.t.Context(), addr, function.Insider{Kind: function.InsiderFunction, Name: "caller"}))(f.t)
	eventually(f.t, "the gateway to know who is inside", func() bool { return f.insiders.has(addr.Unmap()) })
}

// serveHidden makes a private function whose call fails the test, and returns what is told of it when somebody gets through.
func (f *fixture) serveHidden(name string, change func(*function.Function)) {
	f.t.Helper()
	s := state(name, backend(f.t, func(_ http.ResponseWriter, r *http.Request) { f.t.Errorf("%s reached %s", r.RequestURI, name) }))
	change(&s.Function)
	f.put(s)
}

func private(f *function.Function) { f.DefaultVisibility = function.Private }

// sameAnswer checks that nothing but the name tells two answers apart.
func sameAnswer(t *testing.T, what string, hidden, unknown result) {
	t.Helper()
	hidden.Header.Del("Date")
	unknown.Header.Del("Date")
	if hidden.StatusCode != unknown.StatusCode || hidden.body != strings.ReplaceAll(unknown.body, "nobody", "hidden") || fmt.Sprint(hidden.Header) != fmt.Sprint(unknown.Header) {
		t.Errorf("%s: a private function answers %s %v %s, an unknown one %s %v %s", what, hidden.Status, hidden.Header, hidden.body, unknown.Status, unknown.Header, unknown.body)
	}
}

// tellingWho are headers with which callers claim to be somebody, or to ask for something, else (row 1).
var tellingWho = []string{
	"X-Forwarded-For: " + podAddress, "X-Forwarded-For: 1.2.3.4, " + podAddress, "X-Forwarded-For: " + podAddress + "\r\nX-Forwarded-For: " + podAddress,
	"X-Forwarded-For: ::ffff:" + podAddress, "X-Forwarded-For: [::ffff:" + podAddress + "]:80", "X-Forwarded-For:\t" + podAddress + " ", "X-Forwarded-For: " + podAddress + ":8080",
	"X-Forwarded-For: 127.0.0.1", "X-Forwarded-For: x" + podAddress + "x", "x-forwarded-for: " + podAddress, "X_Forwarded_For: " + podAddress,
	"Forwarded: for=" + podAddress, `Forwarded: for="` + podAddress + `:80";by=127.0.0.1`, "X-Real-IP: " + podAddress, "X-Client-IP: " + podAddress, "X-Cluster-Client-IP: " + podAddress,
	"True-Client-IP: " + podAddress, "CF-Connecting-IP: " + podAddress, "Client-IP: " + podAddress, "X-Originating-IP: " + podAddress, "X-Remote-Addr: " + podAddress,
	"X-Original-URL: /function/open/", "X-Rewrite-URL: /function/open/", "X-Forwarded-Host: 127.0.0.1", "X-Forwarded-Proto: https", "X-HTTP-Method-Override: GET",
	"X-Forwarded-Prefix: /", "Sluice-Inside: true", "Authorization: Bearer x", "Origin: http://" + podAddress, "Referer: http://" + podAddress + "/",
	"Connection: X-Forwarded-For\r\nX-Forwarded-For: " + podAddress, "Connection: close, Host\r\nX-Real-Ip: " + podAddress,
}

// TestRow1HeadersDoNotOpenPrivateFunctions: whatever a caller from outside says of himself, a private function is answered as if it were not
// there, by every route, and is neither woken nor counted.
func TestRow1HeadersDoNotOpenPrivateFunctions(t *testing.T) {
	f := start(t, func(o *options) { o.config.ExposeFunctions = false })
	f.isInsider(podAddress)
	f.serveHidden("hidden", private)
	wakes := make(chan string, 10)
	stop := must(f.bus.OnWake(func(name string) { wakes <- name }))(t)
	defer stop()
	hosts := []string{"a", podAddress, "127.0.0.1", "localhost", f.InsideAddr(), "hidden", "sluice-gateway-inside"}
	for i, header := range tellingWho {
		for _, route := range []string{"GET /function/%s/x", "POST /async-function/%s/x", "PUT /async-function/%s", "POST /wake-function/%s", "GET /wake-function/%s", "GET /status-function/%s", "POST /function/%s"} {
			ask := func(name string) result {
				return f.raw(fmt.Sprintf(route, name) + " HTTP/1.1\r\nHost: " + hosts[i%len(hosts)] + "\r\n" + header + "\r\nContent-Length: 0\r\n\r\n")
			}
			hidden := ask("hidden")
			expectProblem(t, hidden, unknownFunction)
			sameAnswer(t, route+" with "+header, hidden, ask("nobody"))
		}
		for _, route := range []string{"/functions", "/functions/hidden", "/functions/nobody"} {
			expectProblem(t, f.raw("GET "+route+" HTTP/1.1\r\nHost: a\r\n"+header+"\r\n\r\n"), unknownRoute)
		}
	}
	if list := f.send("GET", "/status-functions", ""); strings.TrimSpace(list.body) != "[]" {
		t.Errorf("the list: %s", list.body)
	}
	target := f.functions.get("hidden")
	if f.depth("hidden") != 0 || target.inFlight.Load() != 0 || target.called.Load() || len(wakes) > 0 {
		t.Errorf("depth %d, in flight %d, called %v, wakes %d", f.depth("hidden"), target.inFlight.Load(), target.called.Load(), len(wakes))
	}
}

// TestRow1InsidersByTheirPeer: whose TCP peer has an address of the bucket is inside, on every route, and not any more when it is gone.
func TestRow1InsidersByTheirPeer(t *testing.T) {
	f := start(t, func(o *options) { o.config.ExposeFunctions = false })
	hidden := state("hidden", backend(t, func(http.ResponseWriter, *http.Request) {}))
	private(&hidden.Function)
	f.put(hidden)
	routes := map[string]int{
		"GET /function/hidden/x": 200, "POST /async-function/hidden": 202, "POST /wake-function/hidden": 204, "GET /status-function/hidden": 200,
		"GET /functions": 200, "GET /functions/hidden": 200,
	}
	check := func(inside bool) {
		t.Helper()
		for route, want := range routes {
			if !inside {
				want = http.StatusNotFound
			}
			method, path, _ := strings.Cut(route, " ")
			if answer := f.send(method, path, ""); answer.StatusCode != want {
				t.Errorf("%s with inside %v: %s", route, inside, answer.Status)
			}
		}
		if list := f.send("GET", "/status-functions", ""); strings.Contains(list.body, "hidden") != inside {
			t.Errorf("the list with inside %v: %s", inside, list.body)
		}
	}
	check(false)
	f.isInsider("127.0.0.1")
	check(true)
	bucket := must(f.bus.OpenInside(t.Context()))(t)
	must(bucket.Delete(t.Context(), netip.MustParseAddr("127.0.0.1")))(t)
	eventually(t, "the address to be forgotten", func() bool { return !f.insiders.has(netip.MustParseAddr("127.0.0.1")) })
	check(false)
	for _, address := range []string{"127.0.0.2", "::1", "0.0.0.0", "12.0.0.1"} {
		f.isInsider(address)
	}
	check(false)
}

// TestRow1TrustedProxies: through one, the right-most hop that is none decides; the function gets what it said.
func TestRow1TrustedProxies(t *testing.T) {
	f := start(t, func(o *options) { o.config.TrustedProxies = ranges(t, "127.0.0.0/8", "10.1.0.0/16") })
	f.isInsider(podAddress)
	handler, requests := recorder()
	s := state("hidden", backend(t, handler))
	private(&s.Function)
	f.put(s)
	for header, inside := range map[string]bool{
		"X-Forwarded-For: " + podAddress:                                        true,
		"X-Forwarded-For: 203.0.113.5,\t" + podAddress + " , 10.1.0.2":          true,
		"X-Forwarded-For: 203.0.113.5\r\nX-Forwarded-For: " + podAddress:        true,
		"X-Forwarded-For: ::ffff:" + podAddress:                                 true,
		"X-Forwarded-For: " + podAddress + ", 203.0.113.5":                      false,
		"X-Forwarded-For: " + podAddress + "\r\nX-Forwarded-For: 203.0.113.5":   false,
		"X-Forwarded-For: " + podAddress + ", 203.0.113.5, 10.1.0.2, 127.0.0.9": false,
		"X-Forwarded-For: " + podAddress + ", garbage":                          false,
		"X-Forwarded-For: " + podAddress + ", ":                                 false,
		"X-Forwarded-For: " + podAddress + ":80":                                false,
		"X-Forwarded-For: 127.0.0.2":                                            false,
		"X-Forwarded-For: 1" + podAddress:                                       false,
		"Forwarded: for=" + podAddress:                                          false,
		"X-Real-IP: " + podAddress:                                              false,
		"X-Nothing: said":                                                       false,
	} {
		answer := f.raw("GET /function/hidden/x HTTP/1.1\r\nHost: a\r\nX-Forwarded-Host: theirs\r\nX-Forwarded-Proto: https\r\n" + header + "\r\n\r\n")
		if inside != (answer.StatusCode == http.StatusOK) {
			t.Errorf("%s: %s", header, answer.Status)
		}
		if !inside {
			expectProblem(t, answer, unknownFunction)
			continue
		}
		got := (<-requests).header
		if from := got["X-Forwarded-For"]; len(from) != 1 || !strings.Contains(from[0], podAddress) || !strings.HasSuffix(from[0], ", 127.0.0.1") ||
			got.Get("X-Forwarded-Host") != "theirs" || got.Get("X-Forwarded-Proto") != "https" {
			t.Errorf("%s: the function got %v", header, got)
		}
		f.raw("POST /async-function/hidden HTTP/1.1\r\nHost: a\r\nX-Forwarded-Host: theirs\r\n" + header + "\r\nContent-Length: 0\r\n\r\n")
		if queued := f.fetch("hidden", 1)[0].Call.Header; queued.Get("X-Forwarded-Host") != "theirs" || !strings.Contains(queued.Get("X-Forwarded-For"), podAddress) {
			t.Errorf("%s: queued with %v", header, queued)
		}
	}
}

// TestInsideListener: who comes through it is inside, whatever his address and headers; the public one beside it is as before.
func TestInsideListener(t *testing.T) {
	f := start(t, func(o *options) { o.config.ExposeFunctions = false })
	s := state("hidden", backend(t, func(http.ResponseWriter, *http.Request) {}))
	private(&s.Function)
	f.put(s)
	for route, want := range map[string]int{
		"GET /function/hidden/x": 200, "POST /async-function/hidden": 202, "GET /wake-function/hidden": 204, "POST /wake-functions": 204,
		"GET /status-function/hidden": 200, "GET /functions": 200, "GET /functions/hidden": 200,
	} {
		method, path, _ := strings.Cut(route, " ")
		if answer := f.inside(method, path); answer.StatusCode != want {
			t.Errorf("%s inside: %s", route, answer.Status)
		}
		if answer := f.send(method, path, ""); answer.StatusCode != http.StatusNotFound && path != "/wake-functions" {
			t.Errorf("%s outside: %s", route, answer.Status)
		}
	}
}

// TestWithoutTheInsideBucket public functions are served, and nobody is inside by his address.
func TestWithoutTheInsideBucket(t *testing.T) {
	f := start(t)
	f.serve("open", func(http.ResponseWriter, *http.Request) {})
	f.serveHidden("hidden", private)
	if answer := f.send("GET", "/function/open", ""); answer.StatusCode != http.StatusOK {
		t.Errorf("%s", answer.Status)
	}
	expectProblem(t, f.send("GET", "/function/hidden", ""), unknownFunction)
}

// adminRules hide what begins with /admin of a public function, and open what begins with /open of a private one.
func adminRules(f *function.Function) {
	f.PathVisibility = []function.PathRule{{Prefix: "/admin", Visibility: function.Private}, {Prefix: "/open", Visibility: function.Public}}
}

// waysToAdmin are paths that some server takes for /admin/x.
var waysToAdmin = []string{
	"/admin/x", "//admin/x", "///admin/x", "/./admin/x", "/x/../admin/x", "/open/../admin/x", "/open/%2e%2e/admin/x", "/open/..%2fadmin/x", "/open/%2e%2e%2fadmin/x",
	"/%61dmin/x", "/%61%64%6d%69%6e/x", "/%2561dmin/x", "/%2fadmin/x", "/%2Fadmin/x", "/ADMIN/x", "/Admin/x", "/%41DMIN/x", "/admin", "/admin/", "/admin?x=/open", "/admin%2fx",
	"/admin;v=1/x", "/;/admin/x", "/x/..;/admin/x", "/open/;a=b/../admin/x", "/open/../open/../admin/x", "/./././admin/x", "/.//admin/x", "/open/..//admin/x", "/open/%252e%252e/admin/x",
	"/open\\..\\admin/x", "/\\admin/x", "/administrator", "/admin%00/x", "/open/../admin", "/open/../../../admin/x", "/open/.%2e/admin/x",
}

// TestRow2PathsOfEveryRoute: no spelling gets round a rule, by no route, in no form of the request target.
func TestRow2PathsOfEveryRoute(t *testing.T) {
	f := start(t)
	f.serveHidden("hidden", adminRules)
	for _, path := range waysToAdmin {
		for _, route := range []string{"/function/", "/async-function/"} {
			for _, host := range []string{"", "http://a", "http://" + podAddress, "http://" + f.InsideAddr()} {
				for _, method := range []string{"GET", "POST", "OPTIONS", "PROPFIND"} {
					answer := f.raw(method + " " + host + route + "hidden" + path + " HTTP/1.1\r\nHost: " + podAddress + "\r\nContent-Length: 0\r\n\r\n")
					if answer.StatusCode != http.StatusNotFound && answer.StatusCode != http.StatusBadRequest {
						t.Errorf("%s %s%shidden%s: %s %s", method, host, route, path, answer.Status, answer.body)
					}
				}
			}
		}
	}
	if depth := f.depth("hidden"); depth != 0 {
		t.Errorf("%d calls are queued", depth)
	}
}

// TestRow2OpenPathsStayOpen: a rule hides what it names, not more.
func TestRow2OpenPathsStayOpen(t *testing.T) {
	f := start(t)
	handler, requests := recorder()
	for name, visibility := range map[string]function.Visibility{"public": function.Public, "private": function.Private} {
		s := state(name, backend(t, handler))
		adminRules(&s.Function)
		s.Function.DefaultVisibility = visibility
		f.put(s)
	}
	for path, open := range map[string]bool{"/public/open/x": true, "/public/x/admin": true, "/public": true, "/private/open": true, "/private/OPEN/x": true, "/private/x": false, "/private": false, "/private/x/open": false} {
		answer := f.send("GET", "/function"+path, "")
		if open != (answer.StatusCode == http.StatusOK) {
			t.Errorf("%s: %s", path, answer.Status)
		}
		if open {
			<-requests
		}
		if answer := f.inside("GET", "/function"+path); answer.StatusCode != http.StatusOK {
			t.Errorf("%s inside: %s", path, answer.Status)
		} else {
			<-requests
		}
	}
	if answer := f.send("GET", "/status-function/private", ""); answer.StatusCode != http.StatusNotFound {
		t.Errorf("the status of a private function with a public path: %s", answer.Status)
	}
}

// TestRow2InternalRoutes: other spellings of /functions and of the routes of functions do not reach them from outside.
func TestRow2InternalRoutes(t *testing.T) {
	f := start(t, func(o *options) { o.config.ExposeFunctions = false })
	f.serveHidden("hidden", private)
	for _, target := range []string{
		"/functions", "/functions/", "/functions/hidden", "//functions", "/./functions", "/function/../functions", "/function/nobody/../../functions", "/%66unctions", "/FUNCTIONS", "/functions?x", "/functions;x",
		"http://a/functions", "http://" + podAddress + "/functions/hidden", "/health/../functions", "/functions%2fhidden", "/functions/./hidden", "/functions/x/../hidden",
	} {
		for _, method := range []string{"GET", "HEAD", "POST"} {
			conn, answers := dial(t, f.Addr())
			say(t, conn, method+" "+target+" HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Forwarded-For: 127.0.0.1\r\nContent-Length: 0\r\n\r\n")
			answer := must(http.ReadResponse(answers, &http.Request{Method: method}))(t)
			if answer.StatusCode < 400 {
				t.Errorf("%s %s: %s", method, target, answer.Status)
			}
			_ = answer.Body.Close()
		}
	}
}

// TestRow2EventRoute: an event from outside does not reach a path that a rule makes private, and is answered as if nobody wanted it. A subscription
// opens a function that is private as a whole.
func TestRow2EventRoute(t *testing.T) {
	f := start(t)
	events := f.events()
	for name, visibility := range map[string]function.Visibility{"public": function.Public, "private": function.Private} {
		s := subscriber(name)
		adminRules(&s.Function)
		s.Function.DefaultVisibility = visibility
		f.put(s)
	}
	for _, path := range waysToAdmin {
		answer := f.raw("POST /publish-event/open" + path + " HTTP/1.1\r\nHost: " + podAddress + "\r\nX-Forwarded-For: " + podAddress + "\r\nContent-Length: 0\r\n\r\n")
		if answer.StatusCode != http.StatusNotFound && answer.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", path, answer.Status)
		}
	}
	if len(events) > 0 {
		t.Errorf("%+v was published", <-events)
	}
	if answer := f.send("POST", "/publish-event/open/x", ""); answer.StatusCode != http.StatusNoContent {
		t.Errorf("a path without a rule: %s", answer.Status)
	}
	wait(t, "the event", events)
	if answer := f.inside("POST", "/publish-event/open/admin/x"); answer.StatusCode != http.StatusNoContent {
		t.Errorf("from inside: %s", answer.Status)
	}
	wait(t, "the event from inside", events)
}

func TestWakeFunctions(t *testing.T) {
	f := start(t)
	f.put(state("a"))
	f.put(state("b"))
	s := state("hidden")
	private(&s.Function)
	f.put(s)
	wakes := make(chan string, 10)
	stop := must(f.bus.OnWake(func(name string) { wakes <- name }))(t)
	defer stop()
	woken := func(count int) []string {
		names := make([]string, 0, count)
		for range count {
			names = append(names, wait(t, "a wake", wakes))
		}
		slices.Sort(names)
		return names
	}
	for _, verb := range []string{"GET", "POST"} {
		if answer := f.send(verb, "/wake-functions", ""); answer.StatusCode != http.StatusNoContent || answer.body != "" {
			t.Errorf("%s: %s", verb, answer.Status)
		}
		if names := woken(2); !slices.Equal(names, []string{"a", "b"}) {
			t.Errorf("%s from outside woke %v", verb, names)
		}
		if answer := f.inside(verb, "/wake-functions"); answer.StatusCode != http.StatusNoContent {
			t.Errorf("%s: %s", verb, answer.Status)
		}
		if names := woken(3); !slices.Equal(names, []string{"a", "b", "hidden"}) {
			t.Errorf("%s from inside woke %v", verb, names)
		}
	}
	for _, verb := range []string{"PUT", "DELETE", "PATCH"} {
		expectProblem(t, f.send(verb, "/wake-functions", ""), wrongMethod)
	}
}
