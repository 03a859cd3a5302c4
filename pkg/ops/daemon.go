package ops

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/alecthomas/kong"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// DaemonConfig is what a person may set for every daemon. The default of DrainDelay is the variable drain_delay of
// Parse's options: only what load balancers send requests to needs one.
type DaemonConfig struct {
	Log       LogConfig `embed:""`
	OpsListen string    `default:":5001" help:"Address of /metrics, /health, /ready and /debug/pprof/."`
	// DrainDelay is the time that Lifecycle describes.
	DrainDelay time.Duration `default:"${drain_delay=0s}" help:"How long requests are still taken at shutdown after /ready has turned, until load balancers send no more."`
	// DrainTimeout is the time that Lifecycle describes.
	DrainTimeout time.Duration    `default:"30s" help:"How long what runs may take to end at shutdown, after the drain delay."`
	Version      kong.VersionFlag `env:"-" help:"Print the version and end."`

	notices []string // SlimFaasNotices of the program
}

// AfterApply is called by Parse.
func (c *DaemonConfig) AfterApply(parsed *kong.Context) error {
	c.notices = SlimFaasNotices(parsed)
	return nil
}

// Daemon is a process of one service: its log, metrics, health and ops port, and the signals that end it.
type Daemon struct {
	// Name is that of the service, the host and the process id: in Kubernetes those of the pod's process, so that a
	// container that is started again takes the place of the one before.
	Name     string
	Logger   zerolog.Logger
	Registry *prometheus.Registry
	Health   *Health

	config DaemonConfig
}

// Main runs the program with the arguments of the command line, within the memory of its container (FitMemory). An
// error ends the process with code 1 after a line on stderr that begins with the program's name.
func Main(program string, run func(args []string) error) {
	FitMemory()
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", program, err)
		os.Exit(1)
	}
}

// NewDaemon returns the Daemon of the named service. It logs on stderr, at first which of SlimFaas's variables have no effect on it.
func NewDaemon(service string, config DaemonConfig) (*Daemon, error) {
	logger, err := NewLogger(config.Log, os.Stderr)
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("read the host's name: %w", err)
	}
	logger = logger.With().Str("service", service).Logger()
	for _, notice := range config.notices {
		logger.Warn().Msg(notice)
	}
	return &Daemon{
		Name:     fmt.Sprintf("%s-%s-%d", service, host, os.Getpid()),
		Logger:   logger,
		Registry: NewRegistry(),
		Health:   NewHealth(),
		config:   config,
	}, nil
}

// LogEvents returns a function that logs what happens to the connection to peer: at warning level what has an error.
func (d *Daemon) LogEvents(peer string) func(event string, err error) {
	return func(event string, err error) {
		level := zerolog.InfoLevel
		if err != nil {
			level = zerolog.WarnLevel
		}
		d.Logger.WithLevel(level).Err(err).Msg(peer + ": " + event)
	}
}

// Run runs the stages, and the ops port beside them, until a signal ends the process, as Lifecycle and SignalContexts
// say. closeLast runs last; it closes what the stages needed.
func (d *Daemon) Run(stages []Stage, closeLast func()) error {
	take, work, release := SignalContexts(context.Background())
	defer release()
	build := ReadBuild()
	d.Logger.Info().Str("version", build.Version).Str("revision", build.Revision).Str("name", d.Name).Msg("starting")
	server := NewServer(ServerConfig{
		Name: "ops", Addr: d.config.OpsListen, Flag: "--ops-listen", Handler: Handler(d.Registry, d.Health), Logger: d.Logger,
	})
	return Lifecycle{
		Stages: append(stages, Stage{Name: "ops", Run: server.Run}),
		Health: d.Health, DrainDelay: d.config.DrainDelay, DrainTimeout: d.config.DrainTimeout,
		Close: closeLast, Logger: d.Logger,
	}.Run(take, work)
}
