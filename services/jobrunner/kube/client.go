// Package kube is the Kubernetes half of the jobrunner: it finds the definitions among the CronJobs of one namespace, follows the Jobs of runs with their pods, and makes, resumes
// and deletes them (Cluster, which implements jobrunner.Cluster).
package kube

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"k8s.io/client-go/dynamic"
	appsv1client "k8s.io/client-go/kubernetes/typed/apps/v1"
	batchv1client "k8s.io/client-go/kubernetes/typed/batch/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/sluicefaas/sluice/pkg/kube"
)

// Config is what a person may set.
type Config struct {
	kube.Config `kong:"embed,set='service=jobrunner',set='holds=jobs'"`
}

// Client is the jobrunner's access to the namespace of the jobs.
type Client struct {
	*kube.Client
	logger zerolog.Logger

	apps  appsv1client.AppsV1Interface
	batch batchv1client.BatchV1Interface
	core  corev1client.CoreV1Interface
	// untyped keeps fields that are newer than we are.
	untyped dynamic.Interface
}

// Connect makes a Client. It asks no server: one that is away is waited for by those who need it. The error names what is wrong
// with the configuration.
func Connect(config Config, logger zerolog.Logger) (*Client, error) {
	service := kube.Service{Name: "jobrunner", Outage: "Jobs go on, and none is started until it does"}
	shared, err := kube.Connect(service, config.Config, logger)
	if err != nil {
		return nil, err
	}
	c := &Client{Client: shared, logger: logger}
	if err := c.prepare(); err != nil {
		return nil, fmt.Errorf("prepare the access to the Kubernetes API: %w", err)
	}
	return c, nil
}

// prepare makes the clients of each group.
func (c *Client) prepare() (err error) {
	access, connections := c.Access()
	if c.apps, err = appsv1client.NewForConfigAndClient(access, connections); err != nil {
		return err
	}
	if c.batch, err = batchv1client.NewForConfigAndClient(access, connections); err != nil {
		return err
	}
	if c.core, err = corev1client.NewForConfigAndClient(access, connections); err != nil {
		return err
	}
	c.untyped, err = dynamic.NewForConfigAndClient(access, connections)
	return err
}

// NewCluster returns the Cluster of the Client's namespace, which does nothing before Watch, and registers what the Client
// exports: whether this process leads. It is called once.
func (c *Client) NewCluster(registry prometheus.Registerer) *Cluster {
	registry.MustRegister(c.Leader())
	return &Cluster{client: c}
}
