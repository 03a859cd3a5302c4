package job_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sluicefaas/sluice/pkg/job"
)

var dnsLabel = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// TestRow04NamesAreDNSLabels: references into other namespaces, names with '.', '/' and '..'.
func TestRow04NamesAreDNSLabels(t *testing.T) {
	for _, name := range []string{"", "a.b", "a/b", "..", "../a", "A", "a_b", "-a", "a-", "a b", "a\n", "ä", strings.Repeat("a", 64), "a%2fb", "*", ">"} {
		if err := job.ValidName(name); err == nil || !strings.Contains(err.Error(), "1 to 63 characters") {
			t.Errorf("name %q: %v", name, err)
		}
		if err := job.ValidRunID(name); err == nil {
			t.Errorf("run id %q is right", name)
		}
		fallback := map[string]job.Definition{"default": {Name: "default", Fallback: true}}
		if d, ok := job.Find(name, fallback); ok && name != "A" && name != "a_b" {
			t.Errorf("%q finds %s", name, d.Name)
		}
	}
	for _, name := range []string{"a", "0", "a-b", strings.Repeat("a", 63)} {
		if job.ValidName(name) != nil || job.ValidRunID(name) != nil {
			t.Errorf("%q is wrong", name)
		}
	}
}

// TestRow08NamesOfJobsAreLabels: names become names of files and of objects; whatever the record says, this one is a label with room for an index.
func TestRow08NamesOfJobsAreLabels(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		run := job.Run{
			Definition: rapid.StringMatching(`[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?`).Draw(t, "definition"), ID: rapid.String().Draw(t, "id"),
			Attempt: rapid.IntRange(1, 999_999_999).Draw(t, "attempt"), Salt: rapid.IntRange(0, 9).Draw(t, "salt"),
		}
		if name := job.NameOf(run); !dnsLabel.MatchString(name) || len(name) > 51 {
			t.Fatalf("%q", name)
		}
	})
}

func TestNamesOfJobsDiffer(t *testing.T) {
	base := job.Run{Definition: "fibonacci", ID: "r1", Attempt: 1}
	seen := map[string]bool{}
	for _, run := range []job.Run{base, {Definition: "fibonacci", ID: "r2", Attempt: 1}, {Definition: "fibonacci", ID: "r1", Attempt: 2}, {Definition: "fibonacci", ID: "r1", Attempt: 1, Salt: 1}, {Definition: "other", ID: "r1", Attempt: 1}} {
		if seen[job.NameOf(run)] {
			t.Errorf("%s is there twice", job.NameOf(run))
		}
		seen[job.NameOf(run)] = true
	}
	if job.NameOf(base) != "fibonacci-5hkv6ys3q2-1" {
		t.Errorf("the name has changed to %s: runs that are being started would be started again", job.NameOf(base))
	}
}

func TestRunIDs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.String().Draw(t, "a"), rapid.String().Draw(t, "b")
		sequence := rapid.Uint64().Draw(t, "sequence")
		for _, id := range []string{job.RunIDFor(a, b), job.RunIDAt(a, noon, sequence)} {
			if err := job.ValidRunID(id); err != nil {
				t.Fatalf("%q %v", id, err)
			}
		}
		if (a != b) && job.RunIDFor("x", a) == job.RunIDFor("x", b) {
			t.Fatalf("%q and %q are the same run", a, b)
		}
	})
	if job.RunIDFor("a", "b/c") == job.RunIDFor("a/b", "c") || job.RunIDFor("a", "k") == job.RunIDFor("b", "k") {
		t.Error("a key of one job is one of another")
	}
	at := job.RunIDAt("sluice-jobs", noon, 1)
	if at != job.RunIDAt("sluice-jobs", noon.In(time.FixedZone("x", 3600)), 1) || at == job.RunIDAt("sluice-jobs", noon.Add(1), 1) || at == job.RunIDAt("other", noon, 1) || at == job.RunIDAt("sluice-jobs", noon, 2) {
		t.Error("the id is not that of the place")
	}
	if !strings.HasPrefix(at, "s-") || !strings.HasSuffix(at, "-1") || len(at) != len("s-abcdef-1") {
		t.Errorf("%s", at)
	}
}

func TestRequestedRunID(t *testing.T) {
	for body, want := range map[string]string{
		"": "", "{}": "", `{"runId":"a"}`: "a", `{"RUNID":"Not valid"}`: "Not valid", `{"runId":1}`: "", `{"runId":null}`: "", `{"x":{"runId":"a"}}`: "", `{"RUNID":"a","runId":"b"}`: "b",
	} {
		if got := job.RequestedRunID([]byte(body)); got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
}

func TestFind(t *testing.T) {
	definitions := map[string]job.Definition{
		"a": {Name: "a", Aliases: []string{"old_name"}}, "b": {Name: "b", Aliases: []string{"old_name"}}, "default": {Name: "default", Fallback: true},
	}
	for name, want := range map[string]string{"a": "a", "A": "a", "old_name": "a", "OLD_NAME": "a", "else": "default", "el_se": "default", "default": "default", "a.b": "", "": "", "a/": ""} {
		if d, ok := job.Find(name, definitions); ok != (want != "") || d.Name != want {
			t.Errorf("%q: %q %v, want %q", name, d.Name, ok, want)
		}
	}
	definitions["refused"] = job.Definition{Name: "refused", Aliases: []string{"re_fused", "older_name"}, Refused: "its template is wrong"}
	definitions["c"] = job.Definition{Name: "c", Aliases: []string{"older_name"}}
	for name, want := range map[string]string{"refused": "refused", "Refused": "refused", "re_fused": "refused", "else": "default", "older_name": "c"} {
		if d, ok := job.Find(name, definitions); ok != (d.Refused == "") || d.Name != want {
			t.Errorf("%q: %q %v, want %q", name, d.Name, ok, want)
		}
	}
	definitions["default"] = job.Definition{Name: "default", Fallback: true, Refused: "its image is wrong"}
	if d, ok := job.Find("else", definitions); ok || d.Name != "" {
		t.Errorf("else is %s", d.Name)
	}
	delete(definitions, "default")
	if d, ok := job.Find("else", definitions); ok {
		t.Errorf("else is %s", d.Name)
	}
}

func TestSlimFaasStatus(t *testing.T) {
	for _, c := range []struct {
		phase  job.Phase
		reason string
		want   string
	}{
		{job.Queued, "", "Queued"}, {job.Waiting, "", "Queued"}, {job.Creating, "", "Pending"}, {job.Pending, "Created", "Pending"}, {job.Pending, "ImagePullBackOff", "ImagePullBackOff"},
		{job.Pending, "ErrImagePull", "ImagePullBackOff"}, {job.Pending, "Unschedulable", "Pending"}, {job.Running, "Retrying", "Running"}, {job.Running, "ImagePullBackOff", "Running"},
		{job.Succeeded, "", "Succeeded"}, {job.Failed, "BackoffLimitExceeded", "Failed"}, {job.Cancelled, "", "Failed"}, {job.Rejected, "", "Failed"},
	} {
		if got := (job.Run{Phase: c.phase, Reason: c.reason}).SlimFaasStatus(); got != c.want {
			t.Errorf("%s %s is %s, want %s", c.phase, c.reason, got, c.want)
		}
	}
}

func TestRequestHashIsOfWhatIsAskedFor(t *testing.T) {
	hash := func(body string) string {
		return job.RequestHash(job.Message{Definition: "a", Path: "/p", Body: []byte(body)})
	}
	for _, same := range [][]string{
		{"", " ", "{}", `{"args":null}`, `{"runId":"x"}`, `{"RUNID":"y"}`},
		{`{"args":["1"],"env":[{"name":"A","value":"1"}]}`, `{ "Environments":[{"Value":"1","Name":"A","SecretRef":null}] , "ARGS":["1"]}`},
		{`{"resources":{"limits":{"cpu":"1"}}}`, `{"Resources":{"Requests":null,"LIMITS":{"cpu":"1"}}}`},
		{`{"env":[{"name":"A","valueFrom":{"secretKeyRef":{"name":"s","key":"k"}}}]}`, `{"ENV":[{"NAME":"A","VALUEFROM":{"SECRETKEYREF":{"KEY":"k","NAME":"s"}}}]}`},
	} {
		for _, body := range same {
			if hash(body) != hash(same[0]) {
				t.Errorf("%s and %s differ", body, same[0])
			}
		}
	}
	seen := map[string]string{}
	for _, body := range []string{
		"", "x", "[]", `{"args":["1"]}`, `{"args":["1","1"]}`, `{"args":["1"],"Args":["2"]}`, `{"Args":["1"],"args":["2"]}`, `{"args":[1]}`, `{"args":[1.0]}`, `{"args":[12345678901234567890]}`, `{"args":[12345678901234567891]}`,
		`{"labels":{"a":"1"}}`, `{"labels":{"A":"1"}}`, `{"labels":{"runId":"1"}}`, `{"resources":{"limits":{"cpu":"1"}}}`, `{"resources":{"limits":{"CPU":"1"}}}`, `{"x":{"args":1}}`, `{"x":{"Args":1}}`, `{"x":1}`,
	} {
		if other, twice := seen[hash(body)]; twice {
			t.Errorf("%s is the same as %s", body, other)
		}
		seen[hash(body)] = body
	}
	base := job.Message{Definition: "a", Path: "/p"}
	for _, m := range []job.Message{{Definition: "b", Path: "/p"}, {Definition: "a", Path: "/q"}, {Definition: "a/p"}} {
		if job.RequestHash(m) == job.RequestHash(base) {
			t.Errorf("%+v is the same request", m)
		}
	}
	if job.RequestHash(base) != job.RequestHash(job.Message{Definition: "a", Path: "/p", RunID: "r", Requester: "x", Sequence: 7, Accepted: noon}) {
		t.Error("who asks and when is part of the request")
	}
}
