// Command sluice-dispatcher is the dispatcher as a process of its own: it brings the queued calls of a cluster to their functions.
package main

import (
	"context"
	_ "time/tzdata" // scratch images have no time zones

	"github.com/alecthomas/kong"
	_ "golang.org/x/crypto/x509roots/fallback" // nor certificates

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/ops"
	"github.com/sluicefaas/sluice/pkg/upstream"
	"github.com/sluicefaas/sluice/services/dispatcher"
)

const program = "sluice-dispatcher"

type cli struct {
	Dispatcher dispatcher.Config `embed:""`
	Sole       bool              `default:"true" negatable:"" help:"No other dispatcher runs on these queues: what one before has left unfinished is lost with it, and is called again at once instead of after half a minute."`
	Bus        bus.Config        `embed:""`
	Daemon     ops.DaemonConfig  `embed:""`
}

func main() { ops.Main(program, run) }

func run(args []string) error {
	var flags cli
	_, err := ops.Parse(&flags, args, kong.Name(program), kong.Description("Brings queued calls to their functions."))
	if err != nil {
		return err
	}
	daemon, err := ops.NewDaemon("dispatcher", flags.Daemon)
	if err != nil {
		return err
	}
	flags.Bus.Name, flags.Bus.Service, flags.Bus.Notify = daemon.Name, "dispatcher", daemon.LogEvents("NATS")
	nats, err := bus.Connect(flags.Bus)
	if err != nil {
		return err
	}
	service := dispatcher.New(flags.Dispatcher, dispatcher.Deps{
		Bus: nats, Name: daemon.Name, Sole: flags.Sole, Transport: upstream.NewTransport(), Logger: daemon.Logger, Registry: daemon.Registry,
	})
	daemon.Health.AddLive(ops.Check{Name: "dispatcher", Probe: service.Live})
	daemon.Health.AddReady(ops.Check{Name: "nats", Probe: func(context.Context) error { return nats.Connected() }})
	return ops.WithHeapFloor(func() error {
		return daemon.Run([]ops.Stage{{Name: "dispatcher", Run: service.Run}, {Name: "nats", Run: ops.Prompt(nats.Guard)}}, nats.Close)
	})
}
