package jobrunner

import (
	"bytes"
	"io"
	"sync"
)

// tail keeps the last bytes of what is written to it, in whole lines where there are any. It may be used from any goroutine.
type tail struct {
	most int

	mu        sync.Mutex
	kept      []byte // guarded by mu: a little more than most, so that what is old is dropped now and then and not byte by byte
	truncated bool   // guarded by mu
}

func newTail(most int64) *tail { return &tail{most: int(max(1, most))} }

// Write implements io.Writer; it never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p...)
	if len(t.kept) >= t.most+t.most/4+1024 {
		t.cut()
	}
	return len(p), nil
}

// cut drops what is too old, from the beginning of a line on. mu is held.
func (t *tail) cut() {
	extra := len(t.kept) - t.most
	if extra <= 0 {
		return
	}
	rest := t.kept[extra:]
	if t.kept[extra-1] != '\n' {
		if end := bytes.IndexByte(rest, '\n'); end >= 0 && end < len(rest)-1 {
			rest = rest[end+1:]
		}
	}
	t.kept, t.truncated = append(t.kept[:0], rest...), true
}

// lines is what is kept, at most so many lines of it (0 for all), and whether older ones are missing.
func (t *tail) lines(most int) (text []byte, truncated bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cut()
	text, truncated = bytes.Clone(t.kept), t.truncated
	if most <= 0 {
		return text, truncated
	}
	end := len(bytes.TrimSuffix(text, []byte("\n")))
	for range most {
		if end = bytes.LastIndexByte(text[:max(0, end)], '\n'); end < 0 {
			return text, truncated
		}
	}
	return text[end+1:], true
}

// readTail reads to the end and keeps the last bytes.
func readTail(r io.Reader, most int64) (*tail, error) {
	t := newTail(most)
	_, err := io.Copy(t, r)
	return t, err
}
