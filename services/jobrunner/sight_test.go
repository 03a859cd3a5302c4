package jobrunner

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicefaas/sluice/pkg/job"
)

// TestSightOfAJob: what is known of a Job after each thing that is heard of it, by the rules at job.Step.
func TestSightOfAJob(t *testing.T) {
	t.Parallel()
	object := func(uid, version string, edits ...func(*job.Object)) job.Object {
		o := job.Object{UID: uid, Version: version}
		for _, edit := range edits {
			edit(&o)
		}
		return o
	}
	deleting := func(o *job.Object) { o.Deleting = true }
	ended := func(o *job.Object) { o.End = job.Succeeded }
	type sight struct {
		uid, version string
		looked, kept bool
		doubts       int
	}
	sees := func(o job.Object) func(*tracked) { return func(k *tracked) { k.watched(o) } }
	looks := func(o job.Object) func(*tracked) { return func(k *tracked) { k.hasLooked(&o, time.Time{}) } }
	gone := func(uid string) func(*tracked) { return func(k *tracked) { k.vanished(uid) } }
	none := func(k *tracked) { k.hasLooked(nil, time.Time{}) }
	unknown := func(before func(*tracked)) func(*tracked) {
		return func(k *tracked) { k.object = nil; before(k) }
	}
	hint := func(before func(*tracked)) func(*tracked) {
		return func(k *tracked) { k.looked = false; before(k) }
	}
	// Before, Job 1 was looked at in version 10, and captured.
	for name, c := range map[string]struct {
		happens func(*tracked)
		want    sight
	}{
		"news of it":                          {sees(object("1", "11")), sight{"1", "11", true, true, 0}},
		"news of one that is a hint":          {hint(sees(object("1", "11"))), sight{"1", "11", false, true, 0}},
		"old news of it":                      {sees(object("1", "9", ended)), sight{"1", "10", true, true, 0}},
		"it ends":                             {sees(object("1", "11", ended)), sight{"1", "11", true, false, 0}},
		"it is being deleted":                 {sees(object("1", "11", deleting)), sight{"1", "11", true, true, 0}},
		"another one":                         {sees(object("2", "11")), sight{"2", "11", false, true, 0}},
		"one that was before":                 {sees(object("0", "9")), sight{"1", "10", true, true, 0}},
		"one that was before a hint":          {hint(sees(object("0", "9"))), sight{"1", "10", false, true, 0}},
		"another one that is being deleted":   {sees(object("2", "11", deleting)), sight{"1", "10", true, true, 0}},
		"the first one":                       {unknown(sees(object("1", "11"))), sight{"1", "11", false, true, 0}},
		"the first one that is being deleted": {unknown(sees(object("1", "11", deleting))), sight{"", "", true, true, 0}},
		"it is gone":                          {gone("1"), sight{"", "", false, true, 1}},
		"another one is gone":                 {gone("2"), sight{"1", "10", true, true, 0}},
		"one that nobody knows is gone":       {unknown(gone("1")), sight{"", "", false, true, 0}},
		"a look finds it changed":             {hint(looks(object("1", "11"))), sight{"1", "11", true, true, 0}},
		"a look finds it ended":               {looks(object("1", "11", ended)), sight{"1", "11", true, false, 0}},
		"a look that is older than the watch": {hint(looks(object("1", "9", ended))), sight{"1", "10", true, true, 0}},
		"it has ended since it was captured":  {func(k *tracked) { sees(object("1", "11", ended))(k); k.captured(object("1", "10"), job.Result{}) }, sight{"1", "11", true, false, 0}},
		"it is captured once it has ended": {func(k *tracked) {
			sees(object("1", "11", ended))(k)
			k.captured(object("1", "11", ended), job.Result{})
		}, sight{"1", "11", true, true, 0}},
		"it is gone when it is captured":       {func(k *tracked) { gone("1")(k); k.captured(object("1", "10"), job.Result{}) }, sight{"", "", false, true, 1}},
		"a look finds another one":             {looks(object("2", "11")), sight{"2", "11", true, true, 0}},
		"a look finds none":                    {none, sight{"", "", true, true, 1}},
		"a look finds none where none was":     {unknown(none), sight{"", "", true, true, 0}},
		"it ends, and the captured one was so": {func(k *tracked) { k.keptEnd = job.Succeeded; k.watched(object("1", "11", ended)) }, sight{"1", "11", true, true, 0}},
	} {
		known := &tracked{object: &job.Object{UID: "1", Version: "10"}, looked: true, kept: true}
		c.happens(known)
		got := sight{looked: known.looked, kept: known.kept, doubts: known.doubts}
		if known.object != nil {
			got.uid, got.version = known.object.UID, known.object.Version
		}
		if got != c.want {
			t.Errorf("%s: known is %+v, want %+v", name, got, c.want)
		}
	}
}

// TestSightOfARecord: what is known after the record is another one, by the rules at job.Step.
func TestSightOfARecord(t *testing.T) {
	t.Parallel()
	newer := func(uid string) func(*Runner, *tracked) {
		return func(r *Runner, k *tracked) { r.take(k, written{job.Run{JobUID: uid, JobName: "n"}, 6}) }
	}
	stores := func(edit func(*job.Run), err error) func(*Runner, *tracked) {
		return func(r *Runner, k *tracked) {
			run := k.run
			edit(&run)
			r.onStored(k, written{run, 6}, err, time.Time{})
		}
	}
	type sight struct{ looked, kept, denied, doubt bool }
	for name, c := range map[string]struct {
		happens func(*Runner, *tracked)
		want    sight
	}{
		"somebody else writes":                    {newer("1"), sight{kept: true}},
		"somebody else writes another Job's UID":  {newer("2"), sight{}},
		"a watch is late":                         {func(r *Runner, k *tracked) { r.take(k, written{job.Run{}, 5}) }, sight{looked: true, kept: true, denied: true}},
		"it is lost":                              {func(r *Runner, k *tracked) { r.lose(k) }, sight{}},
		"we write":                                {stores(func(*job.Run) {}, nil), sight{looked: true, kept: true, denied: true}},
		"we write another name":                   {stores(func(r *job.Run) { r.JobName = "m" }, nil), sight{kept: true, denied: true}},
		"we write that it is to end":              {stores(func(r *job.Run) { r.Ending = &job.Ending{} }, nil), sight{kept: true, denied: true}},
		"nobody knows what came of what we wrote": {stores(func(*job.Run) {}, errWorld), sight{looked: true, kept: true, denied: true, doubt: true}},
	} {
		r := New(Config{}, Deps{Registry: prometheus.NewRegistry()})
		known := r.track(key{"fib", "r1"})
		r.note(known, written{job.Run{JobUID: "1", JobName: "n"}, 5})
		known.looked, known.kept, known.denied = true, true, &job.Denial{}
		c.happens(r, known)
		if got := (sight{known.looked, known.kept, known.denied != nil, known.doubts > 0}); got != c.want {
			t.Errorf("%s: known is %+v, want %+v", name, got, c.want)
		}
	}
}
