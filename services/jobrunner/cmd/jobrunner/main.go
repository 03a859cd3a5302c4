// Command sluice-jobrunner is the jobrunner as a process of its own, on Kubernetes: several may run, and one of them leads.
package main

import (
	"context"
	"sync/atomic"
	_ "time/tzdata" // scratch images have no time zones

	"github.com/alecthomas/kong"
	_ "golang.org/x/crypto/x509roots/fallback" // nor certificates

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/ops"
	"github.com/sluicefaas/sluice/services/jobrunner"
	"github.com/sluicefaas/sluice/services/jobrunner/kube"
)

const program = "sluice-jobrunner"

type cli struct {
	Kube   kube.Config      `embed:""`
	Runner jobrunner.Config `embed:""`
	Bus    bus.Config       `embed:""`
	Daemon ops.DaemonConfig `embed:""`
}

func main() { ops.Main(program, run) }

func run(args []string) error {
	var flags cli
	if _, err := ops.Parse(&flags, args, kong.Name(program), kong.Description("Turns the job requests of Sluice into Jobs, each once.")); err != nil {
		return err
	}
	daemon, err := ops.NewDaemon("jobrunner", flags.Daemon)
	if err != nil {
		return err
	}
	client, err := kube.Connect(flags.Kube, daemon.Logger)
	if err != nil {
		return err
	}
	config := flags.Bus
	config.Name, config.Service, config.Notify = daemon.Name, "jobrunner", daemon.LogEvents("NATS")
	nats, err := bus.Connect(config)
	if err != nil {
		return err
	}
	// One that stands by is ready too: it takes over within seconds.
	daemon.Health.AddReady(ops.Check{Name: "nats", Probe: func(context.Context) error { return nats.Connected() }})
	t := &terms{config: flags.Runner, deps: jobrunner.Deps{
		Bus: nats, Cluster: client.NewCluster(daemon.Registry), Logger: daemon.Logger, Registry: daemon.Registry, Name: daemon.Name,
	}}
	daemon.Health.AddLive(ops.Check{Name: "jobrunner", Probe: t.live})
	lead := func(ctx context.Context) error { return client.Lead(ctx, t.run) }
	return daemon.Run([]ops.Stage{{Name: "jobrunner", Run: ops.Prompt(lead)}, {Name: "nats", Run: ops.Prompt(nats.GuardJobs)}}, nats.Close)
}

// terms are the times in which this process leads. Each has a Runner of its own.
type terms struct {
	config jobrunner.Config
	deps   jobrunner.Deps
	// latest is the Runner of this term or of the one before, nil before the first.
	latest atomic.Pointer[jobrunner.Runner]
}

func (t *terms) run(ctx context.Context) error {
	runner := jobrunner.New(t.config, t.deps)
	t.latest.Store(runner)
	return runner.Run(ctx)
}

// live is about the Runner: one that does not run any more stands still for good reason.
func (t *terms) live(ctx context.Context) error {
	if runner := t.latest.Load(); runner != nil {
		return runner.Live(ctx)
	}
	return nil
}
