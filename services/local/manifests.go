package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/rs/zerolog"
)

// lookPeriod is how often the files are looked at.
const lookPeriod = 500 * time.Millisecond

// Manifests are the files and folders that a person named, followed while they change.
type Manifests struct {
	paths []string
	given []Workload // beside those of the files, and before them
	files map[string]*manifestText
	// Of the last time: what was read, all notices, and those that no file is to blame for.
	last    lastContents
	told    map[Notice]bool
	general []Notice
	// seen are the notices that no file is to blame for, of the last look.
	seen    []Notice
	running bool // Read is over
}

// NewManifests does nothing before Read. The given workloads come before those of the files; theirs of the same name are refused.
func NewManifests(paths []string, given []Workload) *Manifests {
	return &Manifests{paths: paths, given: given, files: map[string]*manifestText{}, told: map[Notice]bool{}}
}

// Read reads all files for the first time. A path that does not exist is an error.
func (m *Manifests) Read() (Contents, []Notice, error) {
	found := m.list()
	for i := range m.paths {
		if err := found.failed[i]; err != nil {
			return Contents{}, nil, fmt.Errorf("read manifests: %w", err)
		}
	}
	for absolute, f := range found.files {
		f.take(look(f.path), time.Now())
		m.files[absolute] = f
	}
	m.seen = found.notices
	contents, notices := m.load(found.notices)
	m.running = true
	return contents, notices, nil
}

// Follow looks at the files until ctx ends, and applies all that they describe when something of it may have changed. It logs each
// notice when it is new.
func (m *Manifests) Follow(ctx context.Context, apply func(Contents), logger zerolog.Logger) {
	for pause(ctx, lookPeriod) {
		if contents, notices, changed := m.look(time.Now()); changed {
			logNotices(logger, notices)
			apply(contents)
		}
	}
}

// look reads the files that have changed, and returns what all describe and the new notices if any has. A change counts when the file
// is the same at two looks in a row, so that one who is still writing is not taken at half his word, and one that is replaced by
// a new file is never gone.
func (m *Manifests) look(now time.Time) (contents Contents, notices []Notice, changed bool) {
	found := m.list()
	for absolute, f := range found.files {
		if m.files[absolute] == nil {
			m.files[absolute] = f
		}
	}
	for absolute, f := range m.files {
		if found.failed[f.argument] != nil {
			continue // a folder that cannot be read for the moment takes nothing away
		}
		changed = f.look(now) || changed
		if f.gone() {
			delete(m.files, absolute)
		}
	}
	general := found.notices
	for i, path := range m.paths {
		if err := found.failed[i]; err != nil {
			general = append(general, Notice{Level: LevelError, File: path, Text: err.Error() + "; what was read before holds"})
		}
	}
	settled := slices.Equal(general, m.seen)
	if m.seen = general; !settled {
		general = m.general
	}
	if !changed && slices.Equal(general, m.general) {
		return Contents{}, nil, false
	}
	before := m.told
	contents, all := m.load(general)
	return contents, slices.DeleteFunc(all, func(n Notice) bool { return before[n] }), true
}

// load reads what is in memory.
func (m *Manifests) load(general []Notice) (Contents, []Notice) {
	m.general = general
	l := newLoader(m.given, m.last)
	for _, f := range slices.SortedFunc(maps.Values(m.files), (*manifestText).compare) {
		if f.known {
			l.file(f)
		}
	}
	read, kept := l.finish()
	m.remember(read, kept)
	all := slices.Concat(l.notices, general)
	m.told = map[Notice]bool{}
	for _, n := range all {
		m.told[n] = true
	}
	return Contents{Workloads: slices.Concat(read.Workloads, kept.Workloads), Jobs: slices.Concat(read.Jobs, kept.Jobs), Refused: read.Refused}, all
}

// remember keeps what was read for the next time; of what is kept without the sentence why, which is for this time.
func (m *Manifests) remember(read, kept Contents) {
	m.last = lastContents{workloads: map[string]Workload{}, jobs: map[string]Job{}}
	for _, w := range read.Workloads {
		m.last.workloads[w.Function.Name] = w
	}
	for _, w := range kept.Workloads {
		w.Problems = w.Problems[:len(w.Problems)-1]
		m.last.workloads[w.Function.Name] = w
	}
	for _, j := range read.Jobs {
		m.last.jobs[j.Definition.Name] = j
	}
	for _, j := range kept.Jobs {
		j.Definition.Problems = j.Definition.Problems[:len(j.Definition.Problems)-1]
		m.last.jobs[j.Definition.Name] = j
	}
}

// listing is which files there are.
type listing struct {
	files   map[string]*manifestText // by their absolute paths
	notices []Notice
	failed  map[int]error // by the place of the path on the command line
}

// list finds the files as they are now. While running, a path that is not there any more has none.
func (m *Manifests) list() listing {
	found := listing{files: map[string]*manifestText{}, failed: map[int]error{}}
	for i, path := range m.paths {
		names, folder, err := filesOf(path)
		switch {
		case errors.Is(err, fs.ErrNotExist) && m.running:
			found.notices = append(found.notices, Notice{Level: LevelWarn, File: path, Text: "is not there any more"})
		case err != nil:
			found.failed[i] = err
		case folder && len(names) == 0:
			found.notices = append(found.notices, Notice{Level: LevelWarn, File: path, Text: "the folder has no *.yaml or *.yml file"})
		}
		for _, name := range names {
			absolute, err := filepath.Abs(name)
			if err != nil {
				found.failed[i] = err
			} else if found.files[absolute] == nil { // a file may be given beside its folder
				found.files[absolute] = &manifestText{argument: i, path: name, absolute: absolute}
			}
		}
	}
	return found
}

// filesOf returns the file itself, or those of a folder.
func filesOf(path string) (names []string, folder bool, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, false, err
	}
	if !info.IsDir() {
		return []string{path}, false, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, true, err
	}
	for _, entry := range entries {
		if !entry.IsDir() && slices.Contains([]string{".yaml", ".yml"}, filepath.Ext(entry.Name())) {
			names = append(names, filepath.Join(path, entry.Name()))
		}
	}
	return names, true, nil
}
