// Package kube is the Kubernetes half of the scaler: it finds the functions among the Deployments and StatefulSets of one
// namespace and follows their pods (Cluster, which implements scaler.Cluster), sets replica counts through the scale
// subresource, and elects the one scaler that works by a Lease (Client.Lead).
package kube

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"k8s.io/apimachinery/pkg/labels"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	appsv1client "k8s.io/client-go/kubernetes/typed/apps/v1"
	coordinationv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

// Config is what a person may set.
type Config struct {
	Kubeconfig     string `name:"kubeconfig" help:"File with the access to the Kubernetes API; empty means the pod's own service account."`
	Namespace      string `name:"namespace" help:"Namespace of the functions; empty means the pod's own, or the one of the kubeconfig."`
	LeaseName      string `name:"lease-name" default:"sluice-scaler" help:"Lease that the scalers share, so that one of them leads."`
	InsideSelector string `name:"inside-selector" help:"Labels of Sluice's own pods, such as app.kubernetes.io/part-of=sluice: they count as inside. Empty means that none does."`
	Identity       string `name:"lease-identity" help:"Name of this scaler in the Lease; empty means the host's name, which is the pod's."`
	// LeaseDuration, RenewDeadline and RetryPeriod are those of client-go's leader election. They are shorter than its usual ones
	// (15, 10 and 2 s), because nothing wakes while nobody leads.
	LeaseDuration time.Duration `name:"lease-duration" default:"6s" help:"How long a leader that renews no more still counts as one."`
	RenewDeadline time.Duration `name:"lease-renew-deadline" default:"4s" help:"How long after its last renewal a leader stops working; shorter than the lease's duration."`
	RetryPeriod   time.Duration `name:"lease-retry-period" default:"1s" help:"How often a leader renews the lease, and the others look at it."`
}

const (
	userAgent = "sluice-scaler"
	// qps and burst bound our own requests so high that 2,000 functions that wake at once are not held up here: each needs one to
	// three. The API server's own fairness rules are what slows us down, if anything.
	qps, burst = 1000, 6000
	// requestTimeout bounds one request that is no watch.
	requestTimeout = 5 * time.Second
	// listTimeout bounds one page of a list.
	listTimeout = 30 * time.Second
)

// namespaceFile is where Kubernetes tells a pod its namespace.
const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// Client is the access to one namespace of a Kubernetes cluster.
type Client struct {
	config Config          // with every default filled in
	own    labels.Selector // of Sluice's own pods
	logger zerolog.Logger
	http   *http.Client

	apps     appsv1client.AppsV1Interface
	core     corev1client.CoreV1Interface
	metadata metadata.Interface
	leases   coordinationv1client.CoordinationV1Interface

	outage *outage
	// leader is 1 while this process leads.
	leader prometheus.Gauge
}

// Connect makes a Client. It asks no server: one that is away is waited for by those who need it. The error names what is wrong
// with the configuration.
func Connect(config Config, logger zerolog.Logger) (*Client, error) {
	access, err := config.complete()
	if err != nil {
		return nil, err
	}
	own, err := config.ownPods()
	if err != nil {
		return nil, err
	}
	c := &Client{
		config: config, own: own, logger: logger, outage: newOutage(logger),
		leader: newLeaderGauge(),
	}
	if err := c.dial(access); err != nil {
		return nil, fmt.Errorf("prepare the access to the Kubernetes API at %s: %w", access.Host, err)
	}
	return c, nil
}

func newLeaderGauge() prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Name: "sluice_scaler_leader", Help: "1 on the scaler that leads, 0 on the others."})
}

// dial makes the typed clients. They share their connections.
func (c *Client) dial(access *rest.Config) (err error) {
	access.UserAgent = userAgent
	access.QPS, access.Burst = qps, burst
	access.ContentType, access.AcceptContentTypes = "application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf,application/json"
	access.WarningHandlerWithContext = warnings{c.logger}
	access.Dial = (&net.Dialer{
		Timeout:         requestTimeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3},
	}).DialContext
	if c.http, err = rest.HTTPClientFor(access); err != nil {
		return err
	}
	if c.apps, err = appsv1client.NewForConfigAndClient(access, c.http); err != nil {
		return err
	}
	if c.core, err = corev1client.NewForConfigAndClient(access, c.http); err != nil {
		return err
	}
	if c.metadata, err = metadata.NewForConfigAndClient(access, c.http); err != nil {
		return err
	}
	renewing := rest.CopyConfig(access)
	renewing.QPS = -1 // a renewal never waits behind anything
	c.leases, err = coordinationv1client.NewForConfigAndClient(renewing, c.http)
	return err
}

// Namespace is the one of the functions.
func (c *Client) Namespace() string { return c.config.Namespace }

// Identity is this process's name in the Lease.
func (c *Client) Identity() string { return c.config.Identity }

// complete fills in the defaults, and reads how the API server is reached.
func (c *Config) complete() (access *rest.Config, err error) {
	access, namespace, err := c.access()
	if err != nil {
		return nil, err
	}
	if c.Namespace == "" {
		c.Namespace = namespace
	}
	if c.Identity == "" {
		if c.Identity, err = os.Hostname(); err != nil {
			return nil, fmt.Errorf("find this scaler's name for the Lease (set --lease-identity): %w", err)
		}
	}
	return access, c.check()
}

// access reads the kubeconfig, or what Kubernetes has put into the pod.
func (c *Config) access() (access *rest.Config, namespace string, err error) {
	if c.Kubeconfig == "" {
		access, err = rest.InClusterConfig()
		if err != nil {
			return nil, "", fmt.Errorf("find the pod's access to the Kubernetes API (outside a pod, set --kubeconfig): %w", err)
		}
		if c.Namespace != "" {
			return access, c.Namespace, nil
		}
		text, err := os.ReadFile(namespaceFile)
		if err != nil {
			return nil, "", fmt.Errorf("find the pod's namespace (set --namespace): %w", err)
		}
		return access, strings.TrimSpace(string(text)), nil
	}
	file, err := clientcmd.LoadFromFile(c.Kubeconfig)
	if err != nil {
		return nil, "", fmt.Errorf("read --kubeconfig %s: %w", c.Kubeconfig, err)
	}
	loaded := clientcmd.NewDefaultClientConfig(*file, &clientcmd.ConfigOverrides{})
	if access, err = loaded.ClientConfig(); err != nil {
		return nil, "", fmt.Errorf("read --kubeconfig %s: %w", c.Kubeconfig, err)
	}
	if namespace, _, err = loaded.Namespace(); err != nil {
		return nil, "", fmt.Errorf("read the namespace in --kubeconfig %s: %w", c.Kubeconfig, err)
	}
	return access, namespace, nil
}

// check refuses times with which two scalers could lead, or none for long.
func (c *Config) check() error {
	switch {
	case c.Namespace == "":
		return fmt.Errorf("--namespace %q: it must be the name of the functions' namespace", c.Namespace)
	case c.LeaseName == "":
		return fmt.Errorf("--lease-name %q: it must be the name of a Lease", c.LeaseName)
	case c.RetryPeriod < 100*time.Millisecond:
		return fmt.Errorf("--lease-retry-period %v: it must be at least 100ms", c.RetryPeriod)
	case c.RenewDeadline < 2*c.RetryPeriod:
		return fmt.Errorf("--lease-renew-deadline %v: it must be at least twice --lease-retry-period, which is %v", c.RenewDeadline, c.RetryPeriod)
	case c.LeaseDuration < c.RenewDeadline+time.Second:
		return fmt.Errorf("--lease-duration %v: it must be at least a second longer than --lease-renew-deadline, which is %v", c.LeaseDuration, c.RenewDeadline)
	case c.LeaseDuration > time.Hour:
		return fmt.Errorf("--lease-duration %v: it must be at most an hour", c.LeaseDuration)
	}
	return nil
}

// ownPods selects Sluice's own pods, and none without --inside-selector: an empty selector of Kubernetes would be all.
func (c *Config) ownPods() (labels.Selector, error) {
	if strings.TrimSpace(c.InsideSelector) == "" {
		return labels.Nothing(), nil
	}
	selector, err := labels.Parse(c.InsideSelector)
	if err != nil {
		return nil, fmt.Errorf("--inside-selector %q: it must be a label selector such as app.kubernetes.io/part-of=sluice: %w", c.InsideSelector, err)
	}
	return selector, nil
}

// dropConnections closes the connections that carry no request, so that the next one does not wait for a server that is gone.
func (c *Client) dropConnections() { utilnet.CloseIdleConnectionsFor(c.http.Transport) }

// withLog lets client-go's own lines go to our log.
func (c *Client) withLog(ctx context.Context) context.Context {
	return klog.NewContext(ctx, klog.New(logSink{c.logger}))
}
