package function

import (
	"fmt"
	"strconv"
	"strings"
)

// Problem is one thing that is wrong with an annotation. The function lives on without it.
type Problem struct {
	// Key is the annotation as it is written in the manifest, with its prefix.
	Key string
	// Value is what was found: the annotation's value, or the part of its JSON that is wrong.
	Value string
	// Want goes on after the value: what is wrong with it, what would be right and what holds instead.
	Want string
}

// String is the whole sentence, for a log line or a status.
func (p Problem) String() string {
	return fmt.Sprintf("annotation %s: %s %s", p.Key, quoteShort(p.Value), p.Want)
}

// Error makes a Problem an error with the sentence of String.
func (p Problem) Error() string { return p.String() }

// maxQuoted bounds how much of a value a sentence repeats, in bytes.
const maxQuoted = 100

func quoteShort(value string) string {
	if len(value) <= maxQuoted {
		return strconv.Quote(value)
	}
	return strconv.Quote(strings.ToValidUTF8(value[:maxQuoted], "") + "…")
}
