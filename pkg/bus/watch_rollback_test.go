package bus

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
	"github.com/sluicefaas/sluice/pkg/job"
)

// entry is what a watch brings of a key.
type entry struct {
	jetstream.KeyValueEntry // what is not asked for
	key                     string
	revision                uint64
	created                 int64
	operation               jetstream.KeyValueOp
}

func (e *entry) Key() string                     { return e.key }
func (e *entry) Value() []byte                   { return nil }
func (e *entry) Revision() uint64                { return e.revision }
func (e *entry) Created() time.Time              { return time.Unix(e.created, 0) }
func (e *entry) Operation() jetstream.KeyValueOp { return e.operation }

// What each watch tells first of a key is what there is, also if it is older than what was told before; a key that is there is never removed.
func TestWatchTellsWhatIsThereInItsBeginning(t *testing.T) {
	put := func(key string, revision uint64, created int64) jetstream.KeyValueEntry {
		return &entry{key: key, revision: revision, created: created}
	}
	removed := func(key string, revision uint64) jetstream.KeyValueEntry {
		return &entry{key: key, revision: revision, operation: jetstream.KeyValueDelete}
	}
	for name, c := range map[string]struct {
		second []jetstream.KeyValueEntry // what another watch tells first, after the one of a at 10 and b at 20
		later  []jetstream.KeyValueEntry // what it tells afterwards
		told   []string
		want   map[string]uint64
	}{
		"as it was":            {second: []jetstream.KeyValueEntry{put("a", 10, 1), put("b", 20, 2)}, want: map[string]uint64{"a": 10, "b": 20}},
		"changed":              {second: []jetstream.KeyValueEntry{put("a", 10, 1), put("b", 21, 3)}, told: []string{"b"}, want: map[string]uint64{"a": 10, "b": 21}},
		"gone":                 {second: []jetstream.KeyValueEntry{put("a", 10, 1)}, told: []string{"-b"}, want: map[string]uint64{"a": 10}},
		"rolled back":          {second: []jetstream.KeyValueEntry{put("a", 10, 1), put("b", 9, 0)}, told: []string{"<b", "b"}, want: map[string]uint64{"a": 10, "b": 9}},
		"rolled back, removed": {second: []jetstream.KeyValueEntry{put("a", 10, 1), removed("b", 9)}, told: []string{"-b"}, want: map[string]uint64{"a": 10}},
		"rolled back, written again to the same revision": {
			second: []jetstream.KeyValueEntry{put("a", 10, 1), put("b", 20, 7)}, told: []string{"<b", "b"}, want: map[string]uint64{"a": 10, "b": 20},
		},
		"rolled back, changed later": {
			second: []jetstream.KeyValueEntry{put("a", 10, 1), put("b", 9, 0)}, later: []jetstream.KeyValueEntry{put("b", 12, 3)},
			told: []string{"<b", "b", "b"}, want: map[string]uint64{"a": 10, "b": 12},
		},
		"from a server that is behind": {
			second: []jetstream.KeyValueEntry{put("a", 10, 1), put("b", 9, 0)}, later: []jetstream.KeyValueEntry{put("b", 20, 2)},
			told: []string{"<b", "b", "b"}, want: map[string]uint64{"a": 10, "b": 20},
		},
		"late": {
			second: []jetstream.KeyValueEntry{put("a", 10, 1), put("b", 20, 2)}, later: []jetstream.KeyValueEntry{put("b", 19, 1), put("b", 20, 2), removed("a", 9)},
			want: map[string]uint64{"a": 10, "b": 20},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var told []string
			state := map[string]uint64{}
			w := &follower{known: map[string]knownKey{}, watched: watched{
				apply: func(key string, _ []byte, revision uint64) error {
					told, state[key] = append(told, key), revision
					return nil
				},
				remove:     func(key string) { told = append(told, "-"+key); delete(state, key) },
				rolledBack: func(key string) { told = append(told, "<"+key) },
				applied:    func(uint64) {},
			}}
			watch := func(first, later []jetstream.KeyValueEntry) {
				updates := make(chan jetstream.KeyValueEntry, 10)
				for _, e := range append(append([]jetstream.KeyValueEntry{}, first...), nil) {
					updates <- e
				}
				for _, e := range later {
					updates <- e
				}
				close(updates)
				_ = w.read(within(t, patience), updates) // it says that the watch ended
			}
			watch([]jetstream.KeyValueEntry{put("a", 10, 1), put("b", 20, 2)}, nil)
			told = nil
			watch(c.second, c.later)
			if !maps.Equal(state, c.want) || len(told) != len(c.told) {
				t.Fatalf("told %v, want %v; it is %v, want %v", told, c.told, state, c.want)
			}
			for i := range told {
				if told[i] != c.told[i] {
					t.Errorf("told %v, want %v", told, c.told)
				}
			}
		})
	}
}

// An older state of the store is put back while the server is away: who follows the runs sees them as they are then, and what comes after.
func TestWatchOfRunsAfterARollback(t *testing.T) {
	t.Parallel()
	dir, kept := t.TempDir(), t.TempDir()
	s := bustest.Start(t, func(o *server.Options) { o.StoreDir = dir })
	b := connectOnly(t, s.URL())
	r := openRuns(t, b)
	seen := watchRuns(t, openRuns(t, connectOnly(t, s.URL())))
	first := putRun(t, r, run("j", "1", job.Running), 0)
	eventually(t, "it is told", seen.has(first, map[string]job.Phase{"j.1": job.Running}))
	s.Stop()
	replaceDir(t, kept, dir)
	s.Start()
	awaitConnection(t, b)
	putRun(t, r, run("j", "2", job.Queued), 0)
	last := putRun(t, r, run("j", "1", job.Succeeded), first)
	eventually(t, "both are told", seen.has(last, map[string]job.Phase{"j.1": job.Succeeded, "j.2": job.Queued}))
	s.Stop()
	replaceDir(t, dir, kept)
	s.Start()
	eventually(t, "it is as it was", seen.has(0, map[string]job.Phase{"j.1": job.Running}))
	awaitConnection(t, b)
	putRun(t, r, run("j", "1", job.Failed), first)
	eventually(t, "changes are told", seen.has(0, map[string]job.Phase{"j.1": job.Failed}))
}

// replaceDir makes a directory a copy of another one.
func replaceDir(t *testing.T, dir, from string) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS(filepath.Clean(from))); err != nil {
		t.Fatal(err)
	}
}
