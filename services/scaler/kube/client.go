// Package kube is the Kubernetes half of the scaler: it finds the functions among the Deployments and StatefulSets of one
// namespace and follows their pods (Cluster, which implements scaler.Cluster), and sets replica counts through the scale
// subresource.
package kube

import (
	"fmt"
	"strings"

	"github.com/rs/zerolog"
	"k8s.io/apimachinery/pkg/labels"
	appsv1client "k8s.io/client-go/kubernetes/typed/apps/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/metadata"

	"github.com/sluicefaas/sluice/pkg/kube"
)

// Config is what a person may set.
type Config struct {
	kube.Config    `kong:"embed,set='service=scaler',set='holds=functions'"`
	InsideSelector string `name:"inside-selector" help:"Labels of Sluice's own pods, such as app.kubernetes.io/part-of=sluice: they count as inside. Empty means that none does."`
}

// Client is the scaler's access to the namespace of the functions.
type Client struct {
	*kube.Client
	own    labels.Selector // of Sluice's own pods
	logger zerolog.Logger

	apps     appsv1client.AppsV1Interface
	core     corev1client.CoreV1Interface
	metadata metadata.Interface
}

// Connect makes a Client. It asks no server: one that is away is waited for by those who need it. The error names what is wrong
// with the configuration.
func Connect(config Config, logger zerolog.Logger) (*Client, error) {
	own, err := config.ownPods()
	if err != nil {
		return nil, err
	}
	service := kube.Service{Name: "scaler", Outage: "calls go on, and nothing is scaled until it does"}
	shared, err := kube.Connect(service, config.Config, logger)
	if err != nil {
		return nil, err
	}
	c := &Client{Client: shared, own: own, logger: logger}
	if err := c.prepare(); err != nil {
		return nil, fmt.Errorf("prepare the access to the Kubernetes API: %w", err)
	}
	return c, nil
}

// prepare makes the typed clients.
func (c *Client) prepare() (err error) {
	access, connections := c.Access()
	if c.apps, err = appsv1client.NewForConfigAndClient(access, connections); err != nil {
		return err
	}
	if c.core, err = corev1client.NewForConfigAndClient(access, connections); err != nil {
		return err
	}
	c.metadata, err = metadata.NewForConfigAndClient(access, connections)
	return err
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
