package gateway

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// rawHTTP2 is a connection whose frames the test writes itself.
type rawHTTP2 struct {
	t      *testing.T
	conn   net.Conn
	framer *http2.Framer
	head   bytes.Buffer
	coder  *hpack.Encoder
	next   uint32
}

func dialHTTP2(t *testing.T, address string) *rawHTTP2 {
	t.Helper()
	conn, answers := dial(t, address)
	say(t, conn, http2.ClientPreface)
	c := &rawHTTP2{t: t, conn: conn, framer: http2.NewFramer(conn, answers), next: 1}
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.coder = hpack.NewEncoder(&c.head)
	if err := c.framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return c
}

// ask sends one request, fields being names and values in turn, and returns the status of its answer; 0 if the stream or the connection was ended.
func (c *rawHTTP2) ask(body string, fields ...string) (status string) {
	c.t.Helper()
	c.head.Reset()
	for i := 0; i < len(fields); i += 2 {
		_ = c.coder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	id := c.next
	c.next += 2
	if err := c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.head.Bytes(), EndHeaders: true, EndStream: body == ""}); err != nil {
		return "0"
	}
	if body != "" && c.framer.WriteData(id, true, []byte(body)) != nil {
		return "0"
	}
	for {
		frame, err := c.framer.ReadFrame()
		if err != nil {
			return "0"
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			if frame.StreamID == id {
				return frame.PseudoValue("status")
			}
		case *http2.RSTStreamFrame:
			if frame.StreamID == id {
				return "0"
			}
		case *http2.GoAwayFrame:
			return "0"
		}
	}
}

// with is an ordinary request with other fields; an empty value removes one, several are in one text with commas.
func with(changes ...string) []string {
	fields := [][2]string{{":method", "POST"}, {":scheme", "http"}, {":authority", "a"}, {":path", "/function/f/x"}}
	var more []string
	for i := 0; i < len(changes); i += 2 {
		changed := false
		for j, field := range fields {
			if field[0] == changes[i] && !changed {
				fields[j][1], changed = changes[i+1], true
			}
		}
		if !changed {
			more = append(more, changes[i], changes[i+1])
		}
	}
	var list []string
	for _, field := range fields {
		if field[1] != "" {
			list = append(list, field[0], field[1])
		}
	}
	return append(list, more...)
}

// TestRow14SmugglingOverHTTP2: what HTTP/2 can carry and HTTP/1.1 would read in another way is refused, each on a connection of its own.
func TestRow14SmugglingOverHTTP2(t *testing.T) {
	f := start(t)
	f.serve("f", func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s %v arrived", r.Method, r.RequestURI, r.Header)
	})
	f.serveHidden("hidden", private)
	for name, fields := range map[string][]string{
		"method with a space": with(":method", "GET /function/hidden HTTP/1.1"), "method with CRLF": with(":method", "GET / HTTP/1.1\r\nX: y"), "empty method": with(":method", ""),
		"CONNECT": {":method", "CONNECT", ":authority", "a:80"}, "CONNECT with a path": with(":method", "CONNECT"),
		"extended CONNECT": {":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":authority", "a", ":path", "/function/f"},
		"absolute path":    with(":path", "http://b/function/f"), "relative path": with(":path", "function/f"), "empty path": with(":path", ""), "star": with(":path", "*"),
		"path with a space": with(":path", "/function/f/x HTTP/1.1"), "path with CRLF": with(":path", "/function/f\r\nHost: b"), "path with a tab": with(":path", "/function/f/\tx"),
		"path with a fragment": with(":path", "/function/f/x#y"), "path with a space in the query": with(":path", "/function/f?a b"), "bad escape": with(":path", "/function/f/%zz"),
		"no authority": with(":authority", ""), "another host": with("host", "b"), "two hosts": with("host", "a", "host", "a"), "user in the authority": with(":authority", "u@a"),
		"two authorities": append([]string{":authority", "a"}, with()...), "pseudo header behind": with("x", "y", ":path2", "/"), "unknown pseudo header": append([]string{":foo", "x"}, with()...),
		"two lengths": with("content-length", "4", "content-length", "4"), "length list": with("content-length", "4, 4"), "length with a sign": with("content-length", "+4"), "no number": with("content-length", "x"),
		"transfer-encoding": with("transfer-encoding", "chunked"), "connection": with("connection", "close"), "keep-alive": with("keep-alive", "1"), "upgrade": with("upgrade", "h2c"),
		"proxy-connection": with("proxy-connection", "x"), "te": with("te", "gzip"), "capital letters": with("X-Upper", "y"), "name with a space": with("x y", "z"), "name with a colon": with("x:y", "z"),
		"name with CRLF": with("x\r\ny", "z"), "value with CRLF": with("x", "y\r\ntransfer-encoding: chunked"), "value with LF": with("x", "y\nz: a"), "value with NUL": with("x", "y\x00"), "empty name": with("", "z"),
		"huge header": with("x", strings.Repeat("y", 100<<10)),
	} {
		status := dialHTTP2(t, f.Addr()).ask("body", fields...)
		if status != "0" && status[0] != '4' {
			t.Errorf("%s: %s", name, status)
		}
		if refusals := map[string]string{"method with a space": "400", "absolute path": "400", "path with a space": "400", "another host": "400", "no authority": "400", "two lengths": "400", "transfer-encoding": "400"}; refusals[name] != "" && status != refusals[name] {
			t.Errorf("%s: %s, want %s", name, status, refusals[name])
		}
	}
	if status := dialHTTP2(t, f.Addr()).ask("", with("content-length", "4")...); status != "400" {
		t.Errorf("a length without a body: %s", status)
	}
}

// TestRow14LengthsOverHTTP2: a body that is not as long as was announced never arrives as a whole one.
func TestRow14LengthsOverHTTP2(t *testing.T) {
	f := start(t)
	f.serve("f", func(_ http.ResponseWriter, r *http.Request) {
		if body, err := io.ReadAll(r.Body); err == nil {
			t.Errorf("%q arrived with the length %d", body, r.ContentLength)
		}
	})
	for _, length := range []string{"3", "5"} {
		for _, path := range []string{"/function/f/x", "/async-function/f/x"} {
			if status := dialHTTP2(t, f.Addr()).ask("body", with("content-length", length, ":path", path)...); status != "0" && status[0] != '4' {
				t.Errorf("length %s, %s: %s", length, path, status)
			}
		}
	}
	if depth := f.depth("f"); depth != 0 {
		t.Errorf("%d calls are queued", depth)
	}
}

// TestHTTP2RefusalsLeaveOthersAlone: a bad request costs its stream only.
func TestHTTP2RefusalsLeaveOthersAlone(t *testing.T) {
	f := start(t)
	handler, requests := recorder()
	f.serve("f", handler)
	c := dialHTTP2(t, f.Addr())
	for range 3 {
		if status := c.ask("body", with(":path", "http://a/function/f")...); status != "400" {
			t.Errorf("bad: %s", status)
		}
		if status := c.ask("body", with("content-length", "4", "host", "a")...); status != "200" || (<-requests).body != "body" {
			t.Errorf("good: %s", status)
		}
	}
}

// TestRow2HTTP2 has the tricks with names, paths and headers over HTTP/2.
func TestRow2HTTP2(t *testing.T) {
	f := start(t, func(o *options) { o.config.ExposeFunctions = false })
	f.isInsider(podAddress)
	f.serveHidden("hidden", private)
	f.serveHidden("rules", adminRules)
	c := dialHTTP2(t, f.Addr())
	paths := []string{"/function/hidden", "/async-function/hidden/x", "/wake-function/hidden", "/status-function/hidden", "/functions", "/functions/hidden"}
	for _, path := range waysToAdmin {
		paths = append(paths, "/function/rules"+path, "/async-function/rules"+path)
	}
	for _, path := range paths {
		status := c.ask("", with(":path", path, ":authority", podAddress, "x-forwarded-for", podAddress, "forwarded", "for="+podAddress, "x-original-url", "/", "x-real-ip", podAddress)...)
		if status != "404" && status != "400" && status != "405" {
			t.Errorf("%s: %s", path, status)
		}
	}
	if f.depth("rules")+f.depth("hidden") != 0 {
		t.Error("a call is queued")
	}
}

// TestHTTP2Preface: only the whole preface makes HTTP/2 of a connection; all else is HTTP/1.1 and checked as such.
func TestHTTP2Preface(t *testing.T) {
	f := start(t)
	f.serve("f", func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s arrived", r.RequestURI) })
	const smuggled = "POST /function/f HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
	for _, begin := range []string{"", "\r\n", "PRI * HTTP/2.0\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", "PRI * HTTP/2.1\r\n\r\nSM\r\n\r\n",
		"PRI * HTTP/2.0\n\nSM\n\n", "\r\n" + http2.ClientPreface, "GET /health HTTP/1.1\r\nHost: a\r\n\r\n" + http2.ClientPreface} {
		conn, answers := dial(t, f.Addr())
		say(t, conn, begin+smuggled)
		all, _ := io.ReadAll(answers)
		if strings.Contains(string(all), "200 OK") && !strings.HasPrefix(begin, "GET") {
			t.Errorf("%q: %q", begin, all)
		}
	}
	// The upgrade from HTTP/1.1 is not taken up: the request is an ordinary one.
	answer := f.raw("GET /health HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n")
	if answer.StatusCode != http.StatusOK || answer.ProtoMajor != 1 {
		t.Errorf("Upgrade: h2c: %s", answer.Status)
	}
}

// TestPrefaceInPieces: however the bytes come, the preface is seen, and a connection that turns away from it is followed from its first byte.
func TestPrefaceInPieces(t *testing.T) {
	const frames = "\x00\x00\x00\x04\x00\x00\x00\x00\x00 not HTTP/1.1\n\n\r"
	for piece := 1; piece <= len(http2Preface)+len(frames); piece++ {
		var f framing
		for rest := http2Preface + frames; rest != ""; {
			n := min(piece, len(rest))
			if problem := f.follow([]byte(rest[:n])); problem != nil {
				t.Fatalf("in pieces of %d: %v", piece, problem)
			}
			rest = rest[n:]
		}
		if f.state != inHTTP2 {
			t.Errorf("in pieces of %d: state %d", piece, f.state)
		}
	}
	for at := range len(http2Preface) {
		var f framing
		problem := f.follow([]byte(http2Preface[:at]))
		if problem == nil {
			problem = f.follow([]byte("x\nx\n"))
		}
		if problem == nil && f.state == inHTTP2 {
			t.Errorf("%d bytes of the preface were enough", at)
		}
		if problem == nil {
			t.Errorf("a bare LF after %d bytes of the preface passed", at)
		}
	}
}
