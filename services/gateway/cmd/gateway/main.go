// Command sluice-gateway is the gateway as a process of its own: the HTTP API of a cluster.
package main

import (
	"fmt"
	_ "time/tzdata" // scratch images have no time zones

	"github.com/alecthomas/kong"
	_ "golang.org/x/crypto/x509roots/fallback" // nor certificates

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/ops"
	"github.com/sluicefaas/sluice/pkg/upstream"
	"github.com/sluicefaas/sluice/services/gateway"
)

const program = "sluice-gateway"

type cli struct {
	Gateway gateway.Config   `embed:""`
	Bus     bus.Config       `embed:""`
	Daemon  ops.DaemonConfig `embed:""`
}

// defaults of flags that other programs have too.
var defaults = kong.Vars{"drain_delay": "5s"}

func main() { ops.Main(program, run) }

func run(args []string) error {
	var flags cli
	_, err := ops.Parse(&flags, args, kong.Name(program), kong.Description("The HTTP API of Sluice: calls functions, or queues their calls."),
		defaults)
	if err != nil {
		return err
	}
	daemon, err := ops.NewDaemon("gateway", flags.Daemon)
	if err != nil {
		return err
	}
	flags.Bus.Name, flags.Bus.Service, flags.Bus.Notify = daemon.Name, "gateway", daemon.LogEvents("NATS")
	nats, err := bus.Connect(flags.Bus)
	if err != nil {
		return err
	}
	daemon.Health.SetDetail("durability", durability(flags.Bus.Replicas))
	if flags.Bus.Replicas == 1 {
		daemon.Logger.Warn().Msg(durability(1) + ": --stream-replicas=3 keeps each call on three servers")
	}
	service := gateway.New(flags.Gateway, gateway.Deps{
		Bus: nats, Name: daemon.Name, Transport: upstream.NewTransport(), Health: daemon.Health, Logger: daemon.Logger, Registry: daemon.Registry,
	})
	return ops.WithHeapFloor(func() error {
		return daemon.Run([]ops.Stage{{Name: "gateway", Run: service.Run}, {Name: "nats", Run: ops.Prompt(nats.Guard)}}, nats.Close)
	})
}

// durability says what a 202 is worth, as far as the gateway can know it: the servers' own settings decide the rest.
func durability(replicas int) string {
	const power = "a loss of power as far as the sync_interval of the NATS server allows"
	if replicas == 1 {
		return "a 202 means that one NATS server has stored the call: it survives the end of that server's process, " + power + ", and not the loss of its disk"
	}
	return fmt.Sprintf("a 202 means that most of %d NATS servers have stored the call: it survives the loss of any one of them, and "+
		"of all at once %s", replicas, power)
}
