package local

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/job"
)

func openTestStore(t *testing.T, dataDir string) *jobStore {
	t.Helper()
	store, err := openJobStore(dataDir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.close() })
	return store
}

func TestRecordsAreReadAgain(t *testing.T) {
	t.Parallel()
	dataDir := t.TempDir()
	store := openTestStore(t, dataDir)
	ttl, code := int32(5), 3
	record := jobRecord{
		Name: "j", UID: "u", Version: 7, Manifest: []byte(`{"a":1}`), Suspended: true, Deleting: true, TTL: &ttl, Succeeded: 1, Failed: 2, Failures: 3,
		FailedAt: epoch, ResumedAt: epoch, StartedAt: epoch, FinishedAt: epoch, End: job.Failed, Reason: "r", Message: "m",
		Pods: []podRecord{{Name: "j-a", Phase: podFailed, PID: 1, StartTime: "2", Boot: "b", Restarts: 1, ExitCode: &code, Reason: "x", Message: "y", StartedAt: epoch, FinishedAt: epoch.Add(time.Second)}},
	}
	for _, d := range []durability{survivesKill, survivesPower} {
		if err := store.write(&record, d); err != nil {
			t.Fatal(err)
		}
	}
	read, wrong, err := openTestStore(t, dataDir).load()
	if err != nil || len(wrong) > 0 || len(read) != 1 || !reflect.DeepEqual(read[0], record) {
		t.Errorf("read %+v, %v, %v", read, wrong, err)
	}
	if err := store.remove(&record); err != nil {
		t.Fatal(err)
	}
	if read, wrong, err := store.load(); err != nil || len(read)+len(wrong) > 0 {
		t.Errorf("read %+v, %v, %v", read, wrong, err)
	}
}

// A file that is no record stops no other one. What belongs to no record goes.
func TestFolderOfJobsThatSomebodyHasChanged(t *testing.T) {
	t.Parallel()
	dataDir := t.TempDir()
	folder := filepath.Join(dataDir, "jobs")
	store := openTestStore(t, dataDir)
	good := jobRecord{Name: "good", UID: "u", Manifest: []byte(`{}`), Pods: []podRecord{{Name: "good-a"}}}
	if err := store.write(&good, survivesPower); err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(t.TempDir(), "outside")
	for name, content := range map[string]string{
		filepath.Join(folder, "empty.json"): "", filepath.Join(folder, "half.json"): `{"name":"half","uid":`,
		filepath.Join(folder, "other.json"): `{"name":"good","uid":"u","manifest":{}}`, filepath.Join(folder, "bare.json"): `{"name":"bare"}`,
		filepath.Join(folder, "good-a.log"): "kept", filepath.Join(folder, "good-a.log.1"): "kept", filepath.Join(folder, "good-b.log"): "x",
		filepath.Join(folder, "good.next"): "x", outside: `{"name":"link","uid":"u","manifest":{}}`,
	} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(folder, "link.json")); err != nil {
		t.Fatal(err)
	}
	read, wrong, err := store.load()
	if err != nil || len(read) != 1 || read[0].Name != "good" || len(wrong) != 5 {
		t.Errorf("read %+v, %v, %v", read, wrong, err)
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), ".json") {
			names = append(names, entry.Name())
		}
	}
	if !slices.Equal(names, []string{"good-a.log", "good-a.log.1"}) {
		t.Errorf("left: %v", names)
	}
}

// A Job whose record is broken is none: nothing of it runs, and others do.
func TestBrokenRecordStopsNoOtherJob(t *testing.T) {
	t.Parallel()
	dataDir := t.TempDir()
	r := runJobCluster(t, dataDir)
	r.create(testJob(t, "good", "", "sleep=1h"))
	r.until("good", "runs", func(o job.Object) bool { return o.Started() })
	r.stop()
	if err := os.WriteFile(filepath.Join(dataDir, "jobs", "broken.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	again := runJobCluster(t, dataDir)
	again.ended("good")
	if o, err := again.cluster.Get(t.Context(), "broken"); o != nil || err != nil {
		t.Errorf("%+v, %v", o, err)
	}
	expectContains(t, again.logs.String(), "broken.json")
}
