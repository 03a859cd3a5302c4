// Command sluice-scaler is the scaler as a process of its own, on Kubernetes: several may run, and one of them leads.
package main

import (
	"context"
	"os"
	_ "time/tzdata" // scratch images have no time zones

	"github.com/alecthomas/kong"
	_ "golang.org/x/crypto/x509roots/fallback" // nor certificates

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/ops"
	"github.com/sluicefaas/sluice/services/scaler"
	"github.com/sluicefaas/sluice/services/scaler/kube"
)

const program = "sluice-scaler"

type cli struct {
	Kube        kube.Config            `embed:""`
	Daemon      ops.DaemonConfig       `embed:""`
	Run         service                `cmd:"" default:"withargs" help:"Scale the functions of a namespace (the default)."`
	Credentials kube.CredentialsConfig `cmd:"" help:"Make the Secret with the passwords of the NATS users, unless it is there."`
}

type service struct {
	Scaler scaler.Config `embed:""`
	Bus    bus.Config    `embed:""`
}

func main() { ops.Main(program, run) }

func run(args []string) error {
	var flags cli
	parsed, err := ops.Parse(&flags, args, kong.Name(program), kong.Description("Scales the functions of Sluice from and to zero."))
	if err != nil {
		return err
	}
	if parsed.Selected().Name == "credentials" {
		return makeCredentials(flags)
	}
	daemon, err := ops.NewDaemon("scaler", flags.Daemon)
	if err != nil {
		return err
	}
	client, err := kube.Connect(flags.Kube, daemon.Logger)
	if err != nil {
		return err
	}
	config := flags.Run.Bus
	config.Name, config.Service, config.Notify = daemon.Name, "scaler", daemon.LogEvents("NATS")
	nats, err := bus.Connect(config)
	if err != nil {
		return err
	}
	daemon.Health.AddReady(ops.Check{Name: "nats", Probe: func(context.Context) error { return nats.Connected() }})
	cluster := client.NewCluster(daemon.Registry)
	settings := flags.Run.Scaler
	settings.Namespace = client.Namespace()
	lead := func(ctx context.Context) error {
		return client.Lead(ctx, func(ctx context.Context) error {
			return scaler.New(settings, scaler.Deps{Bus: nats, Cluster: cluster, Logger: daemon.Logger, Registry: daemon.Registry}).Run(ctx)
		})
	}
	return daemon.Run([]ops.Stage{{Name: "scaler", Run: ops.Prompt(lead)}, {Name: "nats", Run: ops.Prompt(nats.Guard)}}, nats.Close)
}

func makeCredentials(flags cli) error {
	logger, err := ops.NewLogger(flags.Daemon.Log, os.Stderr)
	if err != nil {
		return err
	}
	client, err := kube.Connect(flags.Kube, logger)
	if err != nil {
		return err
	}
	take, _, release := ops.SignalContexts(context.Background())
	defer release()
	return client.EnsureCredentials(take, flags.Credentials)
}
