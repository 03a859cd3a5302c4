// Command sluice runs Sluice on one machine.
package main

import (
	"context"
	"fmt"
	"os"
	_ "time/tzdata" // scratch images have no time zones

	"github.com/alecthomas/kong"
	_ "golang.org/x/crypto/x509roots/fallback" // nor certificates

	"github.com/sluicefaas/sluice/pkg/ops"
	"github.com/sluicefaas/sluice/services/local"
)

type cli struct {
	Log      ops.LogConfig `embed:""`
	Local    local.Config  `cmd:"" help:"Run gateway, dispatcher, scaler, jobrunner and NATS in this process, and functions and jobs as child processes."`
	Validate validate      `cmd:"" help:"Check manifests without running anything."`
	Watchdog struct{}      `cmd:"" hidden:"" help:"End the child processes of a sluice local that is gone."`
	Version  struct{}      `cmd:"" help:"Print the version."`
}

type validate struct {
	Manifests []string `arg:"" name:"manifest" help:"YAML files, or folders of them."`
}

// defaults of flags that the services have too: what is served here is for this machine.
var defaults = kong.Vars{"listen": "127.0.0.1:5000", "expose_functions": "true"}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "sluice:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	var flags cli
	parsed, err := ops.Parse(&flags, args, kong.Name("sluice"), defaults,
		kong.Description("Functions that scale from and to zero, with a durable queue before each."))
	if err != nil {
		return err
	}
	logger, err := ops.NewLogger(flags.Log, os.Stderr)
	if err != nil {
		return err
	}
	switch parsed.Selected().Name {
	case "watchdog":
		return local.Watchdog(os.Stdin)
	case "version":
		fmt.Printf("sluice %s %s\n", ops.ReadBuild().Version, ops.ReadBuild().Revision)
		return nil
	case "validate":
		return local.Validate(flags.Validate.Manifests, logger)
	}
	for _, notice := range ops.SlimFaasNotices(parsed) {
		logger.Warn().Msg(notice)
	}
	take, work, release := ops.SignalContexts(context.Background())
	defer release()
	return ops.WithHeapFloor(func() error { return local.New(flags.Local, logger, os.Stdout).Run(take, work) })
}
