package gateway

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// tailOf is the plain way to the last lines.
func tailOf(text string, lines int) string {
	all := strings.SplitAfter(text, "\n")
	if all[len(all)-1] == "" {
		all = all[:len(all)-1]
	}
	return strings.Join(all[max(0, len(all)-lines):], "")
}

// TestTail: whatever the lines are and however they are read, the last ones come.
func TestTail(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"\n", "\n", "a", strings.Repeat("x", 40)}), 0, 60).Draw(t, "text"), "")
		tail := rapid.IntRange(1, 20).Draw(t, "tail")
		part := &keptPart{tail: tail, get: func() (io.ReadCloser, error) { return io.NopCloser(iotest.OneByteReader(strings.NewReader(text))), nil }}
		got, err := io.ReadAll(part)
		if err != nil || string(got) != tailOf(text, tail) {
			t.Fatalf("%q, %v, want %q", got, err, tailOf(text, tail))
		}
	})
}

// TestTailOfLongLines: a line may be longer than any buffer.
func TestTailOfLongLines(t *testing.T) {
	long := strings.Repeat("x", 3*logPiece)
	text := long + "\n" + long + "1\n" + long + "2"
	part := &keptPart{tail: 2, get: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }}
	got, err := io.ReadAll(part)
	if err != nil || string(got) != long+"1\n"+long+"2" {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// TestTailOfABrokenPart: half of it does not pass for all.
func TestTailOfABrokenPart(t *testing.T) {
	broken := func() (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(strings.NewReader("1\n2\n3\n"), iotest.ErrReader(io.ErrUnexpectedEOF))), nil
	}
	for _, tail := range []int{0, 1} {
		if got, err := io.ReadAll(&keptPart{tail: tail, get: broken}); err == nil {
			t.Errorf("tail %d: %q", tail, got)
		}
	}
	if err := skipLines(bufio.NewReader(bytes.NewReader(nil)), 1); err == nil {
		t.Error("nothing has a line")
	}
}
