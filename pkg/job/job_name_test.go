package job_test

import (
	"strings"
	"testing"

	"github.com/sluicefaas/sluice/pkg/job"
	"pgregory.net/rapid"
)

var jobLabel = rapid.StringMatching(`[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?`)

// TestNamesOfJobsAreShortLabels: the pods of an Indexed Job have its name, a hyphen and an index of at most ten digits, in 63 characters.
func TestNamesOfJobsAreShortLabels(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		definition := rapid.OneOf(jobLabel, rapid.Map(rapid.IntRange(0, 61), func(n int) string { return "a" + strings.Repeat("-", n) + "b" })).Draw(t, "definition")
		run := job.Run{Definition: definition, ID: jobLabel.Draw(t, "id"), Salt: rapid.IntRange(0, 9).Draw(t, "salt"), Attempt: rapid.IntRange(1, 999_999_999).Draw(t, "attempt")}
		name := job.NameOf(run)
		if len(name) > 51 || job.ValidName(name) != nil {
			t.Fatalf("%s has %d characters: %v", name, len(name), job.ValidName(name))
		}
		if again := job.NameOf(run); again != name {
			t.Fatalf("%s, then %s", name, again)
		}
	})
}

// TestH1NamesAreNeverUsedAgain: another run, another attempt and another salt have other names, also where the definitions begin alike.
func TestH1NamesAreNeverUsedAgain(t *testing.T) {
	long := strings.Repeat("a", 40)
	seen := map[string]job.Run{}
	for _, definition := range []string{"a", "a-a", "a--a", long, long + "b", strings.Repeat("a-", 20) + "a", strings.Repeat("a-", 20) + "b"} {
		for _, id := range []string{"r1", "r2", "1", "a/r1"} {
			for salt := range 4 {
				for _, attempt := range []int{1, 2, 11} {
					run := job.Run{Definition: definition, ID: id, Salt: salt, Attempt: attempt}
					name := job.NameOf(run)
					if other, taken := seen[name]; taken {
						t.Errorf("%s is that of %+v and of %+v", name, other, run)
					}
					seen[name] = run
				}
			}
		}
	}
}

func TestStepsHaveNames(t *testing.T) {
	if got := job.Bury.String() + job.Rest.String() + job.Step(99).String() + job.Step(-1).String(); got != "BuryRestunknownunknown" {
		t.Error(got)
	}
}
