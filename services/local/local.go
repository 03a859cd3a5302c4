// Package local runs the whole system in one process: gateway, dispatcher, scaler and jobrunner over an embedded NATS server,
// with functions and jobs as child processes, from the same manifests as a cluster.
package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/ops"
	"github.com/sluicefaas/sluice/pkg/upstream"
	"github.com/sluicefaas/sluice/services/dispatcher"
	"github.com/sluicefaas/sluice/services/gateway"
	"github.com/sluicefaas/sluice/services/jobrunner"
	"github.com/sluicefaas/sluice/services/scaler"
)

// Config is what a person may set.
type Config struct {
	Manifests []string `arg:"" optional:"" name:"manifest" help:"YAML files, or folders of them, with the Deployments and StatefulSets to run, and CronJobs that define jobs."`

	Gateway    gateway.Config    `embed:""`
	Dispatcher dispatcher.Config `embed:""`
	Scaler     scaler.Config     `embed:""`
	Jobs       jobrunner.Config  `embed:""`
	Bus        bus.Settings      `embed:""`

	MockFunctions MockFunctions `name:"mock-functions" placeholder:"JSON" help:"Functions that run already, called at --base-function-url and not scaled: {\"Functions\":[{\"Name\":\"fibonacci\",\"NumberParallelRequest\":1}]}."`
	Namespace     string        `name:"namespace" default:"default" help:"What {namespace} stands for in --base-function-url."`

	NATSListen string `name:"nats-listen" default:"127.0.0.1:4222" help:"Address of the embedded NATS server."`
	OpsListen  string `name:"ops-listen" default:"127.0.0.1:5001" help:"Address of /metrics, /health, /ready and /debug/pprof/."`
	Data       string `default:"sluice-data" help:"Folder for all state. One process uses it at a time."`
	Sync       bool   `help:"Answer 202 only when the call is on disk, not just out of reach of a killed process."`
	// StartTimeout is how long a function's process may take to become ready.
	StartTimeout time.Duration `default:"120s" help:"How long a function's process may take to become ready before it is started again."`
	DrainTimeout time.Duration `default:"30s" help:"How long calls in flight may take to end at shutdown."`
}

// Local is the system. New makes it, Run runs it.
type Local struct {
	config Config
	logger zerolog.Logger
	out    io.Writer

	folder     *dataFolder
	nats       *natsServer
	registry   *prometheus.Registry
	health     *ops.Health
	buses      []*bus.Bus
	manifests  *Manifests
	contents   Contents // of the manifests, as they were at the start
	processes  *processes
	jobs       *JobCluster
	callers    *callers
	gateway    *gateway.Gateway
	dispatcher *dispatcher.Dispatcher
	scaler     *scaler.Scaler
	runner     *jobrunner.Runner
	ops        *ops.Server
	// up is closed when everything serves.
	up chan struct{}
	// jobBackoff is short in tests, which see many attempts.
	jobBackoff time.Duration
}

// New returns a Local that does nothing before Run. It tells on out what it serves.
func New(config Config, logger zerolog.Logger, out io.Writer) *Local {
	return &Local{config: config, logger: logger, out: out, registry: ops.NewRegistry(), health: ops.NewHealth(), up: make(chan struct{})}
}

// Run starts everything and blocks until take ends and the shutdown is over; when work ends it is cut short.
func (l *Local) Run(take, work context.Context) (err error) {
	if err := l.load(); err != nil {
		return err
	}
	if l.folder, err = openFolder(l.config.Data); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.folder.close()) }()
	if err := l.wire(take); err != nil {
		l.close()
		return err
	}
	return ops.Lifecycle{
		Stages: []ops.Stage{
			{Name: "jobs", Run: l.endJobs},
			{Name: "gateway", Run: l.afterSync(l.serve)},
			{Name: "dispatcher", Run: l.afterSync(l.dispatcher.Run)},
			{Name: "jobrunner", Run: l.runJobs},
			{Name: "scaler", Run: ops.Prompt(l.scale)},
			{Name: "ops", Run: l.ops.Run},
		},
		Health: l.health, DrainTimeout: l.config.DrainTimeout, Close: l.close, Logger: l.logger,
	}.Run(take, work)
}

// load reads the manifests and tells what is passed over or wrong.
func (l *Local) load() error {
	// It is for those functions alone: the others have addresses of their own.
	template := l.config.Scaler.BaseFunctionURL.String()
	l.config.Scaler.BaseFunctionURL = scaler.FunctionURL{}
	if template != "" && len(l.config.MockFunctions.functions) == 0 {
		l.logger.Warn().Msg("--base-function-url " + template + " has no effect here without --mock-functions: each process has an address of its own")
	}
	mocks, notices, err := l.config.MockFunctions.workloads(template, l.config.Namespace)
	if err != nil {
		return err
	}
	logNotices(l.logger, notices)
	l.manifests = NewManifests(l.config.Manifests, mocks)
	if l.contents, notices, err = l.manifests.Read(); err != nil {
		return err
	}
	logNotices(l.logger, append(notices, l.slimFaasNotices()...))
	return nil
}

// wire starts NATS and makes the services, so that every mistake of the person who starts it shows before anything runs.
func (l *Local) wire(ctx context.Context) (err error) {
	if l.nats, err = newNATSServer(l.config.NATSListen, l.folder.path, l.config.Sync, l.logger); err != nil {
		return err
	}
	l.ops = ops.NewServer(ops.ServerConfig{
		Name: "ops", Addr: l.config.OpsListen, Flag: "--ops-listen", Handler: ops.Handler(l.registry, l.health), Logger: l.logger,
	})
	if err := l.ops.Listen(ctx); err != nil {
		return err
	}
	if err := l.nats.start(ctx); err != nil {
		return err
	}
	if err := l.wireCallers(); err != nil {
		return err
	}
	if err := l.gateway.Listen(ctx); err != nil {
		return err
	}
	// What an earlier run has left ends here.
	if l.processes, err = openProcesses(ClusterConfig{DataDir: l.folder.path}, l.logger); err != nil {
		return fmt.Errorf("prepare for child processes: %w", err)
	}
	if err := l.wireJobs(); err != nil {
		return err
	}
	return l.wireScaler()
}

// wireCallers makes the gateway and the dispatcher.
func (l *Local) wireCallers() error {
	name := fmt.Sprintf("local-%d", os.Getpid())
	gatewayBus, err := l.connect("gateway")
	if err != nil {
		return err
	}
	dispatcherBus, err := l.connect("dispatcher")
	if err != nil {
		return err
	}
	if len(l.config.Gateway.InsideListen) == 0 {
		l.config.Gateway.InsideListen = []string{"127.0.0.1:0"}
	}
	l.gateway = gateway.New(l.config.Gateway, gateway.Deps{
		Bus: gatewayBus, Name: "gateway-" + name, Transport: upstream.NewTransport(), Health: l.health, Logger: l.logger, Registry: l.registry,
	})
	l.dispatcher = dispatcher.New(l.config.Dispatcher, dispatcher.Deps{
		Bus: dispatcherBus, Name: "dispatcher-" + name, Sole: true, Transport: upstream.NewTransport(), Logger: l.logger, Registry: l.registry,
	})
	l.health.AddLive(ops.Check{Name: "dispatcher", Probe: l.dispatcher.Live})
	l.health.SetDetail("durability", l.durability())
	return nil
}

// wireScaler makes the scaler and the processes that it scales.
func (l *Local) wireScaler() error {
	scalerBus, err := l.connect("scaler")
	if err != nil {
		return err
	}
	callersBus, err := l.connect("processes")
	if err != nil {
		return err
	}
	l.callers = newCallers(callersBus, l.config.Scaler.DrainTimeout, l.logger)
	cluster, err := NewCluster(ClusterConfig{
		Workloads: l.contents.Workloads, DataDir: l.folder.path, Logger: l.logger, StartTimeout: l.config.StartTimeout,
		Env: []string{"SLUICE_URL=" + l.insideURL()}, UntrustedEnv: []string{"SLUICE_URL=" + l.url()},
		Follow: l.follow, Released: l.callers.released, Observed: l.jobs.SetWorkload, processes: l.processes,
	})
	if err != nil {
		return err
	}
	l.scaler = scaler.New(l.config.Scaler, scaler.Deps{Bus: scalerBus, Cluster: cluster, Logger: l.logger, Registry: l.registry})
	return nil
}

// scale runs the scaler, and beside it what its processes need to know.
func (l *Local) scale(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	var beside sync.WaitGroup
	beside.Go(func() { l.callers.run(ctx) })
	err := l.scaler.Run(ctx)
	stop()
	beside.Wait()
	return err
}

func (l *Local) connect(service string) (*bus.Bus, error) {
	logger := l.logger.With().Str("service", service).Logger()
	settings := l.config.Bus
	if settings.StorageLimit == 0 {
		settings.StorageLimit = l.nats.callsLimit()
	}
	b, err := bus.Connect(bus.Config{
		URL: l.nats.url(), InProcess: l.nats, Replicas: 1, Settings: settings, Name: "sluice-" + service,
		GroupCommit: l.config.Sync && service == "gateway", // which alone publishes calls
		Notify: func(event string, err error) {
			if err != nil {
				logger.Warn().Err(err).Msg("NATS: " + event)
			} else {
				logger.Debug().Msg("NATS: " + event)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	l.buses = append(l.buses, b)
	return b, nil
}

// follow applies what the manifests say now to functions and jobs.
func (l *Local) follow(ctx context.Context, apply func([]Workload)) {
	l.manifests.Follow(ctx, func(now Contents) {
		apply(now.Workloads)
		l.jobs.Define(now.definitions())
	}, l.logger)
}

// afterSync delays a stage until scaler and jobrunner have shared every function and every job, so that nobody acts on what an
// earlier run left.
func (l *Local) afterSync(run func(take, work context.Context) error) func(take, work context.Context) error {
	return func(take, work context.Context) error {
		for _, synced := range []<-chan struct{}{l.scaler.Synced(), l.runner.Synced()} {
			select {
			case <-synced:
			case <-take.Done():
				return nil
			}
		}
		return run(take, work)
	}
}

// serve is the gateway's stage; it says when everything is up.
func (l *Local) serve(take, work context.Context) error {
	stopped := make(chan struct{})
	var greeter sync.WaitGroup
	greeter.Go(func() {
		select {
		case <-l.gateway.Known():
			l.greet()
			close(l.up)
		case <-stopped:
		}
	})
	err := l.gateway.Run(take, work)
	close(stopped)
	greeter.Wait()
	return err
}

// close ends what is left after every service has ended, the NATS server last.
func (l *Local) close() {
	for _, b := range l.buses {
		b.Close()
	}
	if l.processes != nil {
		l.processes.close()
	}
	if l.jobs != nil {
		_ = l.jobs.Close() // it was only a folder
	}
	if l.nats != nil {
		l.nats.stop()
	}
}
