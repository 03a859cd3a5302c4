// Package plane runs the control plane of a cluster as child processes: etcd, kube-apiserver, kube-controller-manager
// and kube-scheduler. It needs no root. Without a node, a test plays the kubelet by patching the status of pods.
package plane

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/sluicefaas/sluice/e2e/kube/pki"
	"github.com/sluicefaas/sluice/e2e/kube/process"
)

const (
	// ServiceRange is where ClusterIPs are taken from; its first address is the API server's.
	ServiceRange   = "10.96.0.0/16"
	serviceAddress = "10.96.0.1"

	startLimit  = 2 * time.Minute  // for each wait: a machine that compiles something else as well is slow
	clientLimit = 10 * time.Second // for one request of the supervisor's own

	// apiGrace is short because the API server would wait up to a minute for those who watch.
	apiGrace = 500 * time.Millisecond
	grace    = 3 * time.Second // of the others
)

// Config is what a control plane needs to know.
type Config struct {
	Dir        string // absolute; its state and its files
	Executable string // this binary, which holds the components
	Host       string // IP address of the API server; one that pods can reach if there is a node
}

// Plane is a running control plane.
type Plane struct {
	config  Config
	group   *process.Group
	ports   ports
	keys    *pki.Authority
	signing string // file of the service accounts' key
	client  *kubernetes.Clientset

	api sync.Mutex // held while the API server is started or stopped
}

// Start starts the control plane in the group and returns when it works. ctx is the group's. What has been started
// when an error is returned is the group's to end.
func Start(ctx context.Context, group *process.Group, config Config) (*Plane, error) {
	p := &Plane{config: config, group: group}
	if err := p.prepare(); err != nil {
		return nil, err
	}
	if err := p.startEtcd(ctx); err != nil {
		return nil, err
	}
	if err := p.StartAPI(ctx); err != nil {
		return nil, err
	}
	return p, nil
}

// Client speaks to the API server as the administrator.
func (p *Plane) Client() *kubernetes.Clientset { return p.client }

// Keys is the cluster's authority.
func (p *Plane) Keys() *pki.Authority { return p.keys }

// Server is the URL of the API server.
func (p *Plane) Server() string {
	return "https://" + net.JoinHostPort(p.config.Host, strconv.Itoa(p.ports.API))
}

// Kubeconfig is the path of the component's kubeconfig file: "admin", "controller-manager", ….
func (p *Plane) Kubeconfig(component string) string {
	return filepath.Join(p.config.Dir, component+".kubeconfig")
}

// StartAPI starts the API server, controllers and scheduler, and returns when they work. It does nothing if they run already. Those
// that were without an API server are started again, as they are on a real control plane: there they end when they cannot renew
// their Leases. Those that went on would see an old state for a minute, and in it a node that has not been heard of.
func (p *Plane) StartAPI(ctx context.Context) error {
	p.api.Lock()
	defer p.api.Unlock()
	if !p.group.Running(apiServer) {
		p.group.Stop(scheduler)
		p.group.Stop(controllerManager)
		if err := p.run(apiServer, p.apiServerArgs()...); err != nil {
			return err
		}
	}
	if err := p.awaitAPI(ctx); err != nil || p.group.Running(controllerManager) {
		return err
	}
	return p.startControllers(ctx)
}

// StopAPI ends the API server and returns when it has ended. All other components run on.
func (p *Plane) StopAPI() {
	p.api.Lock()
	defer p.api.Unlock()
	p.group.Stop(apiServer)
}

// KillAPI is StopAPI with SIGKILL: what the API server was about to do or to answer is lost.
func (p *Plane) KillAPI() {
	p.api.Lock()
	defer p.api.Unlock()
	p.group.Kill(apiServer)
}

// prepare makes the folder's contents that the components read.
func (p *Plane) prepare() error {
	for _, folder := range []string{"etcd", "volume-plugins"} {
		if err := os.MkdirAll(filepath.Join(p.config.Dir, folder), 0o700); err != nil {
			return fmt.Errorf("make the cluster's folder: %w", err)
		}
	}
	var err error
	if p.ports, err = openPorts(filepath.Join(p.config.Dir, "ports.json")); err != nil {
		return err
	}
	if p.keys, err = pki.Open(filepath.Join(p.config.Dir, "pki")); err != nil {
		return err
	}
	if p.signing, err = p.keys.Key("service-account"); err != nil {
		return err
	}
	if err := p.issueCertificates(); err != nil {
		return err
	}
	return p.connect()
}

func (p *Plane) issueCertificates() error {
	for _, identity := range []pki.Identity{
		{File: "apiserver", CommonName: "kube-apiserver", Hosts: []string{
			p.config.Host, "127.0.0.1", serviceAddress, "localhost", "kubernetes", "kubernetes.default",
			"kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
		}},
		{File: "kubelet-client", CommonName: "kube-apiserver-kubelet-client", Organizations: []string{"system:masters"}},
	} {
		if err := p.keys.Issue(identity); err != nil {
			return err
		}
	}
	for component, identity := range map[string]pki.Identity{
		"admin":              {CommonName: "kubernetes-admin", Organizations: []string{"system:masters"}},
		"controller-manager": {CommonName: "system:kube-controller-manager"},
		"scheduler":          {CommonName: "system:kube-scheduler"},
	} {
		if err := p.WriteKubeconfig(component, identity); err != nil {
			return err
		}
	}
	return nil
}

// WriteKubeconfig makes Kubeconfig(component) for the identity, whose File is the component's name.
func (p *Plane) WriteKubeconfig(component string, identity pki.Identity) error {
	identity.File = component
	return p.keys.WriteKubeconfig(p.Kubeconfig(component), p.Server(), identity)
}

func (p *Plane) connect() error {
	config, err := clientcmd.BuildConfigFromFlags("", p.Kubeconfig("admin"))
	if err != nil {
		return fmt.Errorf("read the administrator's kubeconfig: %w", err)
	}
	config.QPS = -1
	config.Timeout = clientLimit
	if p.client, err = kubernetes.NewForConfig(config); err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	return nil
}
