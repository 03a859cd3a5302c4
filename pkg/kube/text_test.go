package kube

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// Row 9 of the bugs of others: what comes from a pod or an object is repeated within a limit, in one line of printable characters.
func TestRow9TextsAreBounded(t *testing.T) {
	long := strings.Repeat("é\x00\n\u202e", 1<<18)
	for _, text := range []string{Cut(long, MaxSentence), Sentence("it waits", long), Sentence(long, "")[:0], Sentence(strings.Repeat("é", 199), long)} {
		if len(text) > MaxSentence || !utf8.ValidString(text) || strings.ContainsAny(text, "\x00\n\u202e") {
			t.Errorf("%d bytes: %q", len(text), text)
		}
	}
	for text, want := range map[string]string{"": "", " a\tb\n ": "a b", "a\xffb": "ab", strings.Repeat("x", 9): strings.Repeat("x", 9), strings.Repeat("x", 11): "xxxxxxx…"} {
		if got := Cut(text, 10); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
	if got := Sentence("it waits", " for\ta node "); got != "it waits: for a node" || Sentence("it waits", " ") != "it waits" {
		t.Errorf("it says %q", got)
	}
}
