// Package gateway is the service with the HTTP API: it proxies sync calls to ready replicas, queues async ones, wakes
// functions and shows their state; it queues requests for jobs and shows their runs. It keeps no state of its own: all that it knows
// comes from the buckets of functions, definitions and runs.
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
	Listen       []string `sep:"," default:"${listen=:5000}" help:"Addresses on which the API is served, such as :5000 or 127.0.0.1:5000; several with commas."`
	InsideListen []string `name:"inside-listen" sep:"," help:"Addresses on which the API is served to callers who are all inside: they may call private functions. Never let the world reach one."`
	// TrustedProxies are those whose word on the caller's address is taken.
	TrustedProxies  []Range  `name:"trusted-proxies" sep:"," help:"Addresses, or ranges such as 10.1.2.0/24, of proxies whose X-Forwarded-For says who calls."`
	ExposeFunctions bool     `name:"expose-functions" default:"${expose_functions=false}" negatable:"" help:"Answer /functions to everybody, not only to callers from inside."`
	CORSAllowOrigin []Origin `name:"cors-allow-origin" sep:"," default:"*" help:"Origins whose scripts may call functions from a browser, such as https://app.example.org, or * for all."`
	// AsyncBodyLimit is in bytes.
	AsyncBodyLimit int64 `default:"524288000" help:"Bytes that the body of a queued call may have; larger ones are answered with 413."`
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
	listeners *listeners
	insiders  *insiders
	proxy     *upstream.Proxy
	functions *functions
	// pace and interval are paceTime and activityInterval but in tests.
	pace, interval time.Duration
	budget         *budget
	metrics        *metrics
	background
}

// New wires a Gateway; it does nothing before Listen or Run.
func New(config Config, deps Deps) *Gateway {
	g := &Gateway{
		config:   config,
		deps:     deps,
		insiders: newInsiders(),
		budget:   &budget{left: config.BodyBudget},
		metrics:  newMetrics(deps.Registry),
		pace:     paceTime,
		interval: activityInterval,
	}
	g.functions = newFunctions(g.insiders, g.metrics.forget)
	g.proxy = upstream.NewProxy(deps.Transport, g.failed)
	g.wire(g)
	g.listeners = newListeners(config, Strict(lingering(cors(g.routes(), config.CORSAllowOrigin), lingerTime), refuseHead), deps.Logger)
	deps.Health.AddReady(ops.Check{Name: "functions", Probe: g.functions.Known})
	deps.Health.AddReady(ops.Check{Name: "nats", Probe: func(context.Context) error { return deps.Bus.Connected() }})
	return g
}

// Listen opens the ports, so that a mistake shows before anything else is started.
func (g *Gateway) Listen(ctx context.Context) error { return g.listeners.Listen(ctx) }

// Addr is host:port of the API, the first one's, after Listen.
func (g *Gateway) Addr() string { return firstAddr(g.listeners.public) }

// InsideAddr is host:port of the API for callers from inside, the first one's, after Listen; empty if there is none.
func (g *Gateway) InsideAddr() string { return firstAddr(g.listeners.inside) }

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
	g.followAll(take, background, &followers)
	followers.Go(func() { g.followInside(background) })
	err := g.listeners.Run(take, work)
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

func (g *Gateway) routes() *echo.Echo {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = g.routeError
	for _, below := range []string{"/:name", "/:name/*"} {
		// A route without methods takes them all; echo's Any takes those that it knows.
		e.RouteNotFound("/function"+below, g.callFunction)
		e.RouteNotFound("/async-function"+below, g.callAsync)
		// The most frequent ones are found without a second search.
		e.Match([]string{http.MethodGet, http.MethodPost}, "/function"+below, g.callFunction)
		e.POST("/async-function"+below, g.callAsync)
	}
	g.jobRoutes(e)
	e.POST("/publish-event/:event", g.publishEvent)
	e.POST("/publish-event/:event/*", g.publishEvent)
	e.POST("/async-function-callback/:name/:id/:word", g.callback)
	e.GET("/status-functions-stream", g.streamStatus)
	e.Match([]string{http.MethodGet, http.MethodPost}, "/wake-function/:name", g.wake)
	e.Match([]string{http.MethodGet, http.MethodPost}, "/wake-functions", g.wakeAll)
	for path, handler := range map[string]echo.HandlerFunc{
		"/status-functions":      g.statusAll,
		"/status-function/:name": g.status,
		"/functions":             g.insideOnly(g.describeAll),
		"/functions/:name":       g.insideOnly(g.describe),
		"/health":                echo.WrapHandler(g.deps.Health.LiveHandler()),
		"/ready":                 echo.WrapHandler(g.deps.Health.ReadyHandler()),
	} {
		e.Match([]string{http.MethodGet, http.MethodHead}, path, handler)
	}
	return e
}
