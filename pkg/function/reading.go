package function

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What a path can cost is bounded: by the bytes of all its readings together, of which each counts for some more than it has.
const (
	maxReadings = 64 << 10
	perReading  = 256
)

// readingsOf returns all that a server may take an escaped path for. Each server takes at least one level of escapes off, so
// the readings before that do not count themselves. It is false for a path with an escape that is none, with an overlong UTF-8 form (which
// some servers take for a slash or dot), or with too many readings.
//
// Characters that only look like a slash, a dot or a letter (U+FF0F, U+2024, U+FF41 …) are none: servers compare code points.
func readingsOf(rawPath string) (readings []string, ok bool) {
	if !decodable(rawPath) {
		return nil, false
	}
	escaped, ok := closure([]string{withSlash(rawPath)}, steps)
	if !ok {
		return nil, false
	}
	for i, path := range escaped {
		escaped[i] = decode(path)
	}
	readings, ok = closure(escaped, append([]func(string) string{decode}, steps...))
	return readings, ok && !slices.ContainsFunc(readings, hasOverlong)
}

// steps are what servers do with a path beside taking off escapes. Each returns a path that begins with a slash, and is done after some rounds.
var steps = []func(string) string{
	decodeButSlashes, backslashes, withoutControls, untilNUL, untilQuery, withoutParameters, withoutTrailing, withoutAuthority, collapse, resolve, withEnd,
}

// closure adds what the steps make of the paths, in any order and as often as there is something new.
func closure(paths []string, steps []func(string) string) (all []string, ok bool) {
	left := maxReadings
	add := func(path string) {
		if left > 0 && !slices.Contains(all, path) {
			left -= len(path) + perReading
			all = append(all, path)
		}
	}
	for _, path := range paths {
		add(path)
	}
	for i := 0; i < len(all); i++ {
		for _, step := range steps {
			add(step(all[i]))
		}
	}
	return all, left > 0
}

// cleanPrefix is the plain reading of a rule: an operator writes no tricks, but perhaps an escape or no slash at the beginning.
func cleanPrefix(path string) string { return resolve(collapse(decode(withSlash(path)))) }

func withSlash(path string) string {
	if strings.HasPrefix(path, "/") {
		return path
	}
	return "/" + path
}

// decode takes one level of escapes off; what is no escape stays.
func decode(path string) string { return decodeExcept(path, 0xff+1) }

// decodeButSlashes is what servers do that let an escaped slash be part of a segment.
func decodeButSlashes(path string) string { return decodeExcept(path, '/') }

func decodeExcept(path string, except int) string {
	if !strings.Contains(path, "%") {
		return path
	}
	decoded := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		if isEscape(path[i:]) {
			if c := digit(path[i+1])<<4 | digit(path[i+2]); int(c) != except {
				decoded = append(decoded, c)
				i += 2
				continue
			}
		}
		decoded = append(decoded, path[i])
	}
	return string(decoded)
}

func isEscape(text string) bool {
	return len(text) >= 3 && text[0] == '%' && isDigit(text[1]) && isDigit(text[2])
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f' }

func digit(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}

func decodable(path string) bool {
	for i := range len(path) {
		if path[i] == '%' && !isEscape(path[i:]) {
			return false
		}
	}
	return true
}

// hasOverlong reports a beginning of a UTF-8 sequence that is longer than its character needs.
func hasOverlong(path string) bool {
	for i := range len(path) {
		next := byte(0xff)
		if i+1 < len(path) {
			next = path[i+1]
		}
		switch c := path[i]; {
		case c == 0xc0 || c == 0xc1, c == 0xe0 && next < 0xa0, c == 0xf0 && next < 0x90:
			return true
		}
	}
	return false
}

func backslashes(path string) string { return strings.ReplaceAll(path, `\`, "/") }

func withoutControls(path string) string {
	isControl := func(c byte) bool { return c < 0x20 || c == 0x7f }
	if !slices.ContainsFunc([]byte(path), isControl) {
		return path
	}
	return string(slices.DeleteFunc([]byte(path), isControl))
}

// untilNUL ends the path where a text of C ends.
func untilNUL(path string) string {
	before, _, _ := strings.Cut(path, "\x00")
	return before
}

// untilQuery ends the path where a server that has taken the escapes off looks for the query or fragment.
func untilQuery(path string) string {
	if i := strings.IndexAny(path, "?#"); i >= 0 {
		return path[:i]
	}
	return path
}

// withoutParameters takes off what follows a semicolon in a segment, as servlets do.
func withoutParameters(path string) string {
	return eachSegment(path, ";", func(segment string) string {
		name, _, _ := strings.Cut(segment, ";")
		return name
	})
}

// withoutTrailing takes off the dots and spaces at the end of a segment, as Windows does, and the spaces before it.
func withoutTrailing(path string) string {
	return eachSegment(path, ". ", func(segment string) string {
		segment = strings.TrimSpace(segment)
		if segment == "." || segment == ".." {
			return segment
		}
		return strings.TrimRight(segment, ". ")
	})
}

// eachSegment changes the segments if the path has any of the characters.
func eachSegment(path, characters string, change func(string) string) string {
	if !strings.ContainsAny(path, characters) {
		return path
	}
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		segments[i] = change(segment)
	}
	return strings.Join(segments, "/")
}

// withoutAuthority takes the first segment after two slashes for a host, as the URL parsers of browsers and of Node do.
func withoutAuthority(path string) string {
	if !strings.HasPrefix(path, "//") {
		return path
	}
	_, rest, _ := strings.Cut(strings.TrimLeft(path, "/"), "/")
	return "/" + rest
}

func collapse(path string) string {
	for strings.Contains(path, "//") {
		path = strings.ReplaceAll(path, "//", "/")
	}
	return path
}

// resolve removes the segments . and .. as RFC 3986 §5.2.4 has it, where an empty segment is one, too.
func resolve(path string) string {
	if !strings.Contains(path, "/.") {
		return path
	}
	segments := strings.Split(path[1:], "/")
	kept := make([]string, 0, len(segments))
	for i, segment := range segments {
		if segment == ".." {
			kept = kept[:max(len(kept)-1, 0)]
		} else if segment != "." {
			kept = append(kept, segment)
			continue
		}
		if i == len(segments)-1 {
			kept = append(kept, "")
		}
	}
	return "/" + strings.Join(kept, "/")
}

// withEnd is the path as a server redirects to it, so that a rule for /admin/ is not got round by /admin.
func withEnd(path string) string {
	if strings.HasSuffix(path, "/") {
		return path
	}
	return path + "/"
}

// fold maps letters that differ in case alone, by Unicode's simple folding, to the same text. Bytes that are no UTF-8 stay.
func fold(text string) string {
	folded := make([]byte, 0, len(text))
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		if r == utf8.RuneError && size == 1 {
			folded = append(folded, text[0])
		} else {
			folded = utf8.AppendRune(folded, least(r))
		}
		text = text[size:]
	}
	return string(folded)
}

// least is the smallest of the runes that are alike but for case.
func least(r rune) rune {
	if r < utf8.RuneSelf && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') {
		return r
	}
	smallest := r
	for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
		smallest = min(smallest, next)
	}
	return smallest
}
