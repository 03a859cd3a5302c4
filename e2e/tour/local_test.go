package tour_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/e2e/local"
	"github.com/sluicefaas/sluice/e2e/tour"
)

// The tour of SlimFaas's demo in the local mode: the real program with the manifests of deploy/demo/slimfaas.
func TestTourInTheLocalMode(t *testing.T) {
	folder := t.TempDir()
	for _, program := range []string{"slimfaas", "database", "batch"} {
		local.Build(t, filepath.Join(folder, "bin", "demo", program), "./deploy/demo/"+program)
	}
	demo := filepath.Join("deploy", "demo", "slimfaas", "manifests")
	manifests := filepath.Join(folder, demo) // as far from bin as in the repository
	if err := os.CopyFS(manifests, os.DirFS(filepath.Join(local.Root, demo))); err != nil {
		t.Fatal(err)
	}
	system := local.Start(t, manifests)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	tour.Take(ctx, t, system)
}
