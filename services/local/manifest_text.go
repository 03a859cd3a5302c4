package local

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"
)

// manifestText is one file and what was read of it.
type manifestText struct {
	argument       int // the place of its path on the command line
	path, absolute string
	// seen is the file at the last look, taken the one that was read.
	seen, taken glance
	// young says that the file had just been changed when it was read: its time may not tell the next change.
	young bool
	// known says that content or err are there.
	known   bool
	content []byte
	err     error
}

// coarse is the coarsest time that a file system keeps.
const coarse = 2 * time.Second

func (f *manifestText) compare(other *manifestText) int {
	if f.argument != other.argument {
		return f.argument - other.argument
	}
	return strings.Compare(f.path, other.path)
}

// gone says that the file was not there at two looks in a row.
func (f *manifestText) gone() bool { return !f.seen.there && !f.taken.there }

// look is true when what the file says may have changed.
func (f *manifestText) look(now time.Time) bool {
	seen := look(f.path)
	settled := seen.same(f.seen)
	f.seen = seen
	switch {
	case !settled:
		return false
	case !seen.there:
		was := f.known
		f.taken, f.known, f.content, f.err = glance{}, false, nil, nil
		return was
	case f.known && f.err == nil && !f.young && seen.same(f.taken):
		return false
	}
	content, err, known := f.content, f.err, f.known
	f.take(seen, now)
	return !known || !bytes.Equal(content, f.content) || fmt.Sprint(err) != fmt.Sprint(f.err)
}

// take reads the file.
func (f *manifestText) take(seen glance, now time.Time) {
	f.seen, f.taken, f.known = seen, seen, true
	f.young = seen.info != nil && now.Sub(seen.info.ModTime()).Abs() < coarse
	f.content, f.err = readManifest(f.path)
}

// glance is what can be seen of a file without reading it.
type glance struct {
	there bool
	info  fs.FileInfo // nil where the file cannot be looked at: reading it says why
}

func look(path string) glance {
	info, err := os.Stat(path)
	if err != nil {
		return glance{there: !errors.Is(err, fs.ErrNotExist)}
	}
	return glance{there: true, info: info}
}

func (g glance) same(other glance) bool {
	a, b := g.info, other.info
	if a == nil || b == nil {
		return g.there == other.there && a == nil && b == nil
	}
	return a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && os.SameFile(a, b)
}
