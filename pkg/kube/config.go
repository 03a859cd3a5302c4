package kube

import (
	"fmt"
	"os"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Config is what a person may set. Who embeds it sets the variables service and holds for kong: the service's name, and what the namespace is for.
type Config struct {
	Kubeconfig string `name:"kubeconfig" help:"File with the access to the Kubernetes API; empty means the pod's own service account."`
	Namespace  string `name:"namespace" help:"Namespace of the ${holds}; empty means the pod's own, or the one of the kubeconfig."`
	LeaseName  string `name:"lease-name" default:"sluice-${service}" help:"Lease that the ${service}s share, so that one of them leads."`
	Identity   string `name:"lease-identity" help:"Name of this ${service} in the Lease; empty means the host's name, which is the pod's."`
	// LeaseDuration, RenewDeadline and RetryPeriod are those of client-go's leader election. They are shorter than its usual ones
	// (15, 10 and 2 s), because nothing is started while nobody leads.
	LeaseDuration time.Duration `name:"lease-duration" default:"6s" help:"How long a leader that renews no more still counts as one."`
	RenewDeadline time.Duration `name:"lease-renew-deadline" default:"4s" help:"How long after its last renewal a leader stops working; shorter than the lease's duration."`
	RetryPeriod   time.Duration `name:"lease-retry-period" default:"1s" help:"How often a leader renews the lease, and the others look at it."`
}

// namespaceFile is where Kubernetes tells a pod its namespace.
const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

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
			return nil, fmt.Errorf("find this process's name for the Lease (set --lease-identity): %w", err)
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

// check refuses times with which two processes could lead, or none for long.
func (c *Config) check() error {
	switch {
	case c.Namespace == "":
		return fmt.Errorf("--namespace %q: it must be the name of a namespace", c.Namespace)
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
