package local

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/pkg/job"
	"github.com/sluicefaas/sluice/services/jobrunner/jobrunnertest"
)

func TestJobClusterConforms(t *testing.T) {
	t.Parallel()
	jobrunnertest.RunCluster(t, func(t *testing.T) jobrunnertest.Fixture {
		dataDir := t.TempDir()
		processes, err := openProcesses(ClusterConfig{DataDir: dataDir}, zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}
		cluster, err := OpenJobs(JobConfig{DataDir: dataDir, Namespace: "default", Logger: zerolog.Nop(), Backoff: testBackoff, processes: processes})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			processes.close()
			_ = cluster.Close()
		})
		cluster.SetWorkload(function.Function{Name: "ready", Kind: function.KindStatefulSet}, 1, true)
		definitions := map[string]job.Definition{}
		return jobrunnertest.Fixture{
			Cluster: cluster, Ready: "StatefulSet/ready", Timeout: patience,
			Apply: func(t *testing.T, name string) {
				definitions[name] = definitionOf(t, dataDir, cronJob(name, `sluice/Job: "true", sluice/LocalCommand: `+quoted(executable(t)), "      backoffLimit: 0\n"+
					strings.Replace(jobBody, "name: c, image: x", fmt.Sprintf("name: %s, image: x, env: [{name: %s, value: job program}]", name, testMode), 1)))
				cluster.Define(slices.Collect(maps.Values(definitions)))
			},
			Remove: func(_ *testing.T, name string) {
				delete(definitions, name)
				cluster.Define(slices.Collect(maps.Values(definitions)))
			},
		}
	})
}

// definitionOf reads the manifest of a job.
func definitionOf(t testing.TB, folder, manifest string) job.Definition {
	t.Helper()
	path := filepath.Join(folder, "m.yaml")
	if err := os.WriteFile(path, []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	contents, _, err := LoadManifests([]string{path})
	if err != nil || len(contents.Jobs) != 1 {
		t.Fatalf("%d jobs, %v", len(contents.Jobs), err)
	}
	return contents.Jobs[0].Definition
}
