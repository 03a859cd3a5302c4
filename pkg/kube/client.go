// Package kube is what the services on Kubernetes have in common: the access to one namespace (Connect), the election of the one process that works
// by a Lease (Client.Lead), objects that are followed through every failure (Client.Follow), and Events about what is wrong (Complaints).
package kube

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	coordinationv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
)

const (
	// qps and burst bound our own requests so high that 2,000 functions that wake at once are not held up here: each needs one to
	// three. The API server's own fairness rules are what slows us down, if anything.
	qps, burst = 1000, 6000
	// RequestTimeout bounds one request that is no watch and no list.
	RequestTimeout = 5 * time.Second
	// listTimeout bounds one page of a list.
	listTimeout = 30 * time.Second
)

// Service is what differs between those that use a Client.
type Service struct {
	// Name is one word, such as scaler.
	Name string
	// Outage says what goes on and what does not while the Kubernetes API is away, for the log.
	Outage string
}

// Client is the access to one namespace of a Kubernetes cluster.
type Client struct {
	service Service
	config  Config // with every default filled in
	logger  zerolog.Logger
	access  *rest.Config
	http    *http.Client

	core   corev1client.CoreV1Interface
	leases coordinationv1client.CoordinationV1Interface

	outage *outage
	// leader is 1 while this process leads.
	leader prometheus.Gauge
}

// Connect makes a Client. It asks no server: one that is away is waited for by those who need it. The error names what is wrong
// with the configuration.
func Connect(service Service, config Config, logger zerolog.Logger) (*Client, error) {
	access, err := config.complete()
	if err != nil {
		return nil, err
	}
	c := &Client{
		service: service, config: config, logger: logger, access: access, outage: newOutage(service, logger),
		leader: newLeaderGauge(service),
	}
	if err := c.dial(); err != nil {
		return nil, fmt.Errorf("prepare the access to the Kubernetes API at %s: %w", access.Host, err)
	}
	return c, nil
}

func newLeaderGauge(service Service) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "sluice_" + service.Name + "_leader", Help: fmt.Sprintf("1 on the %s that leads, 0 on the others.", service.Name),
	})
}

// dial makes the connections, which all clients share.
func (c *Client) dial() (err error) {
	c.access.UserAgent = c.Agent()
	c.access.QPS, c.access.Burst = qps, burst
	c.access.ContentType, c.access.AcceptContentTypes = "application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf,application/json"
	c.access.WarningHandlerWithContext = warnings{c.logger}
	c.access.Dial = (&net.Dialer{
		Timeout:         RequestTimeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3},
	}).DialContext
	if c.http, err = rest.HTTPClientFor(c.access); err != nil {
		return err
	}
	if c.core, err = corev1client.NewForConfigAndClient(c.access, c.http); err != nil {
		return err
	}
	renewing := rest.CopyConfig(c.access)
	renewing.QPS = -1 // a renewal never waits behind anything
	c.leases, err = coordinationv1client.NewForConfigAndClient(renewing, c.http)
	return err
}

// Access is what typed clients are made of, so that they share limits and connections.
func (c *Client) Access() (*rest.Config, *http.Client) { return rest.CopyConfig(c.access), c.http }

// Namespace is the one that the Client has access to.
func (c *Client) Namespace() string { return c.config.Namespace }

// Identity is this process's name in the Lease.
func (c *Client) Identity() string { return c.config.Identity }

// Agent is how Kubernetes knows the service: as the user agent, and as the manager of fields.
func (c *Client) Agent() string { return "sluice-" + c.service.Name }

// Leader is the metric that is 1 while this process leads.
func (c *Client) Leader() prometheus.Collector { return c.leader }

// DropConnections closes the connections that carry no request, so that the next one does not wait for a server that is gone.
func (c *Client) DropConnections() { utilnet.CloseIdleConnectionsFor(c.http.Transport) }

// WithLog lets client-go's own lines go to our log.
func (c *Client) WithLog(ctx context.Context) context.Context {
	return klog.NewContext(ctx, klog.New(logSink{c.logger}))
}
