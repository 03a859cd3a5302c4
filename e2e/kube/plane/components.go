package plane

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strconv"

	"github.com/sluicefaas/sluice/e2e/kube/await"
	"github.com/sluicefaas/sluice/e2e/kube/process"
)

const (
	etcd      = "etcd"
	apiServer = "kube-apiserver"
	// What turns objects into others.
	controllerManager = "kube-controller-manager"
	scheduler         = "kube-scheduler"
)

// run starts a component of this binary.
func (p *Plane) run(name string, args ...string) error {
	command := process.Command{Name: name, Path: p.config.Executable, Args: append([]string{name}, args...), Grace: grace}
	if name == apiServer {
		command.Grace = apiGrace
	}
	return p.group.Start(command)
}

func (p *Plane) startEtcd(ctx context.Context) error {
	client := loopback(p.ports.EtcdClient)
	err := p.run(etcd,
		"--data-dir="+filepath.Join(p.config.Dir, "etcd"),
		"--client="+client, "--peer="+loopback(p.ports.EtcdPeer))
	if err != nil {
		return err
	}
	return await.Until(ctx, "etcd", startLimit, func(ctx context.Context) error {
		connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", client)
		if err != nil {
			return err
		}
		return connection.Close()
	})
}

// apiServerArgs: the issuer is the name under which pods know the server. There is no reconciler of endpoints where no
// pod could reach the server, on loopback.
func (p *Plane) apiServerArgs() []string {
	args := []string{
		"--etcd-servers=http://" + loopback(p.ports.EtcdClient),
		"--bind-address=" + p.config.Host,
		"--advertise-address=" + p.config.Host,
		"--secure-port=" + strconv.Itoa(p.ports.API),
		"--tls-cert-file=" + p.keys.CertFile("apiserver"),
		"--tls-private-key-file=" + p.keys.KeyFile("apiserver"),
		"--client-ca-file=" + p.keys.CAFile(),
		"--kubelet-client-certificate=" + p.keys.CertFile("kubelet-client"),
		"--kubelet-client-key=" + p.keys.KeyFile("kubelet-client"),
		"--kubelet-preferred-address-types=InternalIP",
		"--service-account-key-file=" + p.signing,
		"--service-account-signing-key-file=" + p.signing,
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-cluster-ip-range=" + ServiceRange,
		"--authorization-mode=Node,RBAC",
		"--allow-privileged=true",
		"--profiling=false",
	}
	if ip := net.ParseIP(p.config.Host); ip != nil && ip.IsLoopback() {
		args = append(args, "--endpoint-reconciler-type=none")
	}
	return args
}

// startControllers starts what turns objects into others and returns when it does so. Its clients' own limits are
// raised, so that no figure of a cold start is one of them.
func (p *Plane) startControllers(ctx context.Context) error {
	if err := p.forgetProof(ctx); err != nil {
		return err
	}
	if err := p.startManager(); err != nil {
		return err
	}
	err := p.run(scheduler,
		"--kubeconfig="+p.Kubeconfig("scheduler"),
		"--leader-elect=false", "--secure-port=0", "--profiling=false",
		"--kube-api-qps=1000", "--kube-api-burst=2000")
	if err != nil {
		return err
	}
	return p.awaitControllers(ctx)
}

func (p *Plane) startManager() error {
	return p.run(controllerManager,
		"--kubeconfig="+p.Kubeconfig("controller-manager"),
		"--service-account-private-key-file="+p.signing,
		"--root-ca-file="+p.keys.CAFile(),
		"--cluster-signing-cert-file="+p.keys.CAFile(),
		"--cluster-signing-key-file="+p.keys.CAKeyFile(),
		"--use-service-account-credentials=true",
		"--flex-volume-plugin-dir="+filepath.Join(p.config.Dir, "volume-plugins"),
		"--leader-elect=false", "--secure-port=0", "--profiling=false",
		"--kube-api-qps=1000", "--kube-api-burst=2000")
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
