package jobrunner

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestTail: what is kept is the end of what was written, in whole lines where there are any, and no more than may be.
func TestTail(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 200).Draw(t, "most")
		kept := newTail(int64(most))
		var all bytes.Buffer
		for _, part := range rapid.SliceOf(rapid.StringOf(rapid.SampledFrom([]rune("ab\n")))).Draw(t, "parts") {
			part = strings.Repeat(part, rapid.IntRange(1, 300).Draw(t, "times"))
			all.WriteString(part)
			if n, err := kept.Write([]byte(part)); n != len(part) || err != nil {
				t.Fatalf("wrote %d of %d: %v", n, len(part), err)
			}
		}
		count := rapid.IntRange(0, 5).Draw(t, "lines")
		text, truncated := kept.lines(count)
		if len(text) > most || !bytes.HasSuffix(all.Bytes(), text) {
			t.Fatalf("%q is not the end of %q, at most %d bytes of it", text, all.Bytes(), most)
		}
		if truncated != (len(text) < all.Len()) {
			t.Fatalf("truncated is %v: %d of %d bytes are kept", truncated, len(text), all.Len())
		}
		if n := bytes.Count(bytes.TrimSuffix(text, []byte("\n")), []byte("\n")); count > 0 && n >= count {
			t.Fatalf("%d lines are kept, %d may be: %q", n+1, count, text)
		}
		before := all.Bytes()[:all.Len()-len(text)]
		whole := len(before) == 0 || len(text) == 0 || before[len(before)-1] == '\n'
		if !whole && bytes.IndexByte(text, '\n') >= 0 && bytes.IndexByte(text, '\n') < len(text)-1 {
			t.Fatalf("it begins in the middle of a line although it has a whole one: %q", text)
		}
	})
}
