package job_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"
	"pgregory.net/rapid"

	"github.com/sluicefaas/sluice/pkg/job"
)

var cpuAmounts = rapid.SampledFrom([]string{"0", "1n", "1u", "999u", "1m", "99m", "0.1", "100m", "1e-1", "100001u", "0.4", "400m", "401m", "0.5", "1", "1000m", "1.0", "1k", "1E", ".25", "+2"})

// TestResourcesAreWithinTheCeiling compares with what the rule says: each amount at most the definition's, and requests at most limits.
func TestResourcesAreWithinTheCeiling(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ownLimit := cpuAmounts.Draw(t, "own limit")
		ownRequest := cpuAmounts.Filter(func(text string) bool { return cmp(text, ownLimit) <= 0 }).Draw(t, "own request")
		asked := map[string]map[string]string{}
		for _, kind := range []string{"requests", "limits"} {
			if rapid.Bool().Draw(t, "has "+kind) {
				asked[kind] = map[string]string{"cpu": cpuAmounts.Draw(t, kind)}
			}
		}
		clamp := rapid.Bool().Draw(t, "clamp")
		run := job.Accept(withCPU(t, ownRequest, ownLimit, clamp), job.Message{RunID: "r1", Body: resourcesBody(t, asked)}, noon)

		request, limit := asked["requests"]["cpu"], asked["limits"]["cpu"]
		above := request != "" && cmp(request, ownRequest) > 0 || limit != "" && cmp(limit, ownLimit) > 0
		crossed := request != "" && limit != "" && cmp(request, limit) > 0
		if queued := run.Phase == job.Queued; queued != (clamp || !above && !crossed) {
			t.Fatalf("%v of %s and %s: %s %s", asked, ownRequest, ownLimit, run.Phase, run.Message)
		} else if !queued {
			return
		}
		var c struct {
			Spec struct {
				Template struct {
					Spec struct{ Containers []containerSpec }
				}
			}
		}
		if err := json.Unmarshal(run.Spec, &c); err != nil {
			t.Fatal(err)
		}
		got := c.Spec.Template.Spec.Containers[0].Resources
		gotRequest, gotLimit := got.Requests["cpu"], got.Limits["cpu"]
		if gotLimit.Cmp(resource.MustParse(ownLimit)) > 0 || gotRequest.Cmp(resource.MustParse(ownRequest)) > 0 || gotRequest.Cmp(gotLimit) > 0 {
			t.Fatalf("%v of %s and %s: %s and %s", asked, ownRequest, ownLimit, gotRequest.String(), gotLimit.String())
		}
		if !above && limit != "" && gotLimit.Cmp(resource.MustParse(limit)) != 0 {
			t.Fatalf("the limit is %s, not %s", gotLimit.String(), limit)
		}
		if (above || crossed) != (len(run.Warnings) > 0) {
			t.Fatalf("%v of %s and %s: the warnings are %q", asked, ownRequest, ownLimit, run.Warnings)
		}
	})
}

func cmp(a, b string) int {
	x := resource.MustParse(a)
	return x.Cmp(resource.MustParse(b))
}

func withCPU(t *rapid.T, request, limit string, clamp bool) job.Definition {
	template := fmt.Sprintf(`{"spec":{"template":{"spec":{"containers":[{"name":"a","image":"b","resources":{"requests":{"cpu":%q},"limits":{"cpu":%q}}}]}}}}`, request, limit)
	d, ok := job.FromCronJob(job.CronJob{Name: "a", Suspended: true, Annotations: annotated(""), Template: json.RawMessage(template)}, nil)
	if !ok {
		t.Fatal(d.Problems)
	}
	if clamp {
		d.Overrides.OnExceed = job.Clamp
	}
	return d
}

func resourcesBody(t *rapid.T, resources any) []byte {
	body, err := json.Marshal(map[string]any{"resources": resources})
	if err != nil {
		t.Fatal(err)
	}
	return body
}
