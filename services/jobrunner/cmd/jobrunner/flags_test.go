package main

import (
	"testing"

	"github.com/sluicefaas/sluice/pkg/ops/opstest"
)

func TestFlagsAreDocumented(t *testing.T) {
	opstest.HoldFlags(t, program, &cli{})
}
