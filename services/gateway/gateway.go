// Package gateway is the service with the HTTP API: it proxies sync calls to ready replicas, queues async ones, wakes
// functions and shows their state. It keeps no state of its own: all that it knows comes from the functions bucket.
package gateway

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/ops"
	"github.com/sluicefaas/sluice/pkg/upstream"
)

// Config is what a person may set.
type Config struct {
	Listen string `default:"${listen=:5000}" help:"Address on which the API is served."`
	// AsyncBodyLimit is in bytes.
	AsyncBodyLimit int64 `default:"524288000" help:"Bytes that the body of a queued call may have; what one NATS message can carry is a limit as well."`
	// BodyBudget is in bytes.
	BodyBudget int64         `default:"536870912" help:"Bytes that the bodies of all calls being queued or held may take in memory together; more are answered with 503."`
	StartWait  time.Duration `default:"120s" help:"How long a sync call is held while no replica is ready, before it is answered with 503."`
}

// Deps are what a Gateway works with.
type Deps struct {
	Bus *bus.Bus
	// Name is unique to the process; reports of activity carry it.
	Name      string
	Transport http.RoundTripper
	Health    *ops.Health
	Logger    zerolog.Logger
	Registry  prometheus.Registerer
}

// Gateway is the service.
type Gateway struct {
	config    Config
	deps      Deps
	server    *ops.Server
	proxy     *upstream.Proxy
	functions *functions
	// pace and interval are paceTime and activityInterval but in tests.
	pace, interval time.Duration
	budget         *budget
	metrics        *metrics
}

// New wires a Gateway; it does nothing before Listen or Run.
func New(config Config, deps Deps) *Gateway {
	g := &Gateway{
		config:   config,
		deps:     deps,
		budget:   &budget{left: config.BodyBudget},
		metrics:  newMetrics(deps.Registry),
		pace:     paceTime,
		interval: activityInterval,
	}
	g.functions = newFunctions(g.metrics.forget)
	g.proxy = upstream.NewProxy(deps.Transport, g.failed)
	g.server = ops.NewServer(ops.ServerConfig{
		Name: "gateway", Addr: config.Listen, Flag: "--listen", Handler: Strict(lingering(g.routes(), lingerTime), refuseHead), Logger: deps.Logger,
		WrapListener: StrictListener, ConnContext: StrictContext,
	})
	deps.Health.AddReady(ops.Check{Name: "functions", Probe: g.functions.Known})
	deps.Health.AddReady(ops.Check{Name: "nats", Probe: func(context.Context) error { return deps.Bus.Connected() }})
	return g
}

// Listen opens the port, so that a mistake shows before anything else is started.
func (g *Gateway) Listen(ctx context.Context) error { return g.server.Listen(ctx) }

// Addr is host:port of the API, after Listen.
func (g *Gateway) Addr() string { return g.server.Addr().String() }

// Known is closed once the gateway knows the functions and can call them.
func (g *Gateway) Known() <-chan struct{} { return g.functions.known }

// Run serves until take ends, then waits for the requests in flight; it interrupts them when work ends. It has the form of
// an ops.Stage.
func (g *Gateway) Run(take, work context.Context) error {
	// Functions and activity are followed until the last request has ended.
	background, stop := context.WithCancel(context.WithoutCancel(work))
	take, stopTaking := context.WithCancel(take)
	defer stopTaking()
	var followers sync.WaitGroup
	var failure error // read after followers have ended
	followers.Go(func() {
		defer stopTaking() // without the functions nothing can be served
		failure = g.follow(background)
	})
	followers.Go(func() { g.reportActivity(background) })
	err := g.server.Run(take, work)
	stop()
	followers.Wait()
	return errors.Join(failure, err)
}

// follow keeps the functions up to date until ctx ends.
func (g *Gateway) follow(ctx context.Context) error {
	if err := g.deps.Bus.AwaitCalls(ctx); err != nil {
		return ended(ctx, err)
	}
	store, err := g.deps.Bus.AwaitFunctions(ctx)
	if err != nil {
		return ended(ctx, err)
	}
	return store.Watch(ctx, g.functions)
}

// ended drops the error of what was interrupted by the end of ctx.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // this is what the function is for
	}
	return err
}

func (g *Gateway) routes() http.Handler {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = g.routeError
	for _, below := range []string{"/:name", "/:name/*"} {
		// A route without methods takes them all; echo's Any takes those that it knows.
		e.RouteNotFound("/function"+below, g.callSync)
		e.RouteNotFound("/async-function"+below, g.callAsync)
		// The most frequent ones are found without a second search.
		e.Match([]string{http.MethodGet, http.MethodPost}, "/function"+below, g.callSync)
		e.POST("/async-function"+below, g.callAsync)
	}
	e.Match([]string{http.MethodGet, http.MethodPost}, "/wake-function/:name", g.wake)
	for path, handler := range map[string]echo.HandlerFunc{
		"/status-functions":      g.statusAll,
		"/status-function/:name": g.status,
		"/functions":             g.describeAll,
		"/functions/:name":       g.describe,
		"/health":                echo.WrapHandler(g.deps.Health.LiveHandler()),
		"/ready":                 echo.WrapHandler(g.deps.Health.ReadyHandler()),
	} {
		e.Match([]string{http.MethodGet, http.MethodHead}, path, handler)
	}
	return e
}
