package kube

import (
	"strings"
	"unicode"
)

// MaxSentence bounds a sentence that repeats what the API server says, which repeats what users and programs wrote, in bytes.
const MaxSentence = 400

// Cut bounds a text to most bytes and makes it one line of printable characters.
func Cut(text string, most int) string {
	text = text[:min(len(text), 4*most)] // no more work than that for a text of any length
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r) || r == unicode.ReplacementChar:
			return -1
		}
		return r
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	if len(text) <= most {
		return text
	}
	const more = "…"
	return strings.ToValidUTF8(text[:most-len(more)], "") + more
}

// Sentence is what we say, with the details that the cluster has.
func Sentence(what, details string) string {
	details = Cut(details, MaxSentence)
	if details == "" {
		return what
	}
	return Cut(what+": "+details, MaxSentence)
}
