package upstream

import (
	"fmt"
	"net/url"
	"strings"
)

// target is the URL of a call, for direct to be pointed at an endpoint. It is built so that net/http puts path and query on the
// wire as they are given here, byte for byte. An empty path is "/", and one without a leading slash gets it.
//
// One case cannot be written so: a path that begins with two slashes and has bytes that a URL may not have as they
// are, such as "//a|b". There those bytes, and no others, are escaped.
func target(rawPath, rawQuery string) (*url.URL, error) {
	if !strings.HasPrefix(rawPath, "/") {
		rawPath = "/" + rawPath
	}
	if at := indexNotInTarget(rawPath); at >= 0 {
		return nil, fmt.Errorf("path %q: byte %#02x at %d must be percent-escaped", rawPath, rawPath[at], at)
	}
	if at := indexNotInTarget(rawQuery); at >= 0 {
		return nil, fmt.Errorf("query %q: byte %#02x at %d must be percent-escaped", rawQuery, rawQuery[at], at)
	}
	path, err := url.PathUnescape(rawPath)
	if err != nil {
		return nil, fmt.Errorf("unescape path %q: %w", rawPath, err)
	}
	u := &url.URL{Path: path, RawPath: rawPath, RawQuery: rawQuery}
	switch {
	case u.EscapedPath() == rawPath:
	case strings.HasPrefix(rawPath, "//"):
		u.RawPath = escapeIllegal(rawPath) // net/url would read an opaque "//…" as an authority
	default:
		u.Opaque = rawPath
	}
	return u, nil
}

// indexNotInTarget finds the first byte that would end the request line or its target.
func indexNotInTarget(s string) int {
	return strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f })
}

// escapeIllegal escapes the bytes that are neither allowed in a URL's path nor part of an escape.
func escapeIllegal(rawPath string) string {
	var b strings.Builder
	for i := range len(rawPath) {
		c := rawPath[i]
		if c < 0x80 && !strings.ContainsRune("\"<>\\^`{|}#?", rune(c)) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
