package upstream

import "testing"

func TestTargetIsByteForByte(t *testing.T) {
	for path, want := range map[string]string{
		"": "/", "/": "/", "a": "/a", "/a/": "/a/", "//": "//", "//a//b": "//a//b", "/a%2Fb%2fc%3F%23": "/a%2Fb%2fc%3F%23",
		"/%61": "/%61", "/a|b": "/a|b", "/a\"b<>": "/a\"b<>", "/caf\xc3\xa9": "/caf\xc3\xa9", "/a#b": "/a#b", "/a?b": "/a?b",
		"/a;b=1,2@:": "/a;b=1,2@:", "/../x/./y": "/../x/./y", "/http://x/": "/http://x/", "//a|b%7C": "//a%7Cb%7C", "/*": "/*",
	} {
		u, err := target(path, "")
		if err != nil {
			t.Errorf("path %q: %v", path, err)
			continue
		}
		if direct(u, listed("127.0.0.1:1")[0]); u.RequestURI() != want || u.Host != "127.0.0.1:1" || u.Scheme != "http" {
			t.Errorf("path %q: %v", path, u)
		}
	}
	for _, query := range []string{"u=http://x/", "a;b", "a|b", "%zz", "a#b", "?", "a=%2F&&b"} {
		u, err := target("/x", query)
		if err != nil || u.RequestURI() != "/x?"+query {
			t.Errorf("query %q: %v, %v", query, u, err)
		}
	}
}

func TestTargetRefusesWhatIsNoRequestLine(t *testing.T) {
	for _, bad := range []string{"/a b", "/a\r\nX: y", "/\x00", "/a\tb", "/\x7f"} {
		if u, err := target(bad, ""); err == nil {
			t.Errorf("path %q is taken: %v", bad, u)
		}
		if u, err := target("/", bad); err == nil {
			t.Errorf("query %q is taken: %v", bad, u)
		}
	}
	if u, err := target("/%zz", ""); err == nil {
		t.Errorf("a broken escape is taken: %v", u)
	}
}
