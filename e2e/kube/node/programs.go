package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluicefaas/sluice/e2e/kube/await"
	"github.com/sluicefaas/sluice/e2e/kube/machine"
	"github.com/sluicefaas/sluice/e2e/kube/pki"
	corev1 "k8s.io/api/core/v1"
)

const dnsProgram = "coredns"

// startContainerd starts containerd and gives it the image of the process that holds a pod's network.
func (n *node) startContainerd(ctx context.Context) error {
	if err := n.start("containerd", "containerd", "--config", file("containerd.toml")); err != nil {
		return err
	}
	archive := file("pause.tar")
	if err := writePauseImage(archive, n.program(pauseProgram)); err != nil {
		return err
	}
	err := await.Until(ctx, "containerd", startLimit, func(ctx context.Context) error {
		connection, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
		if err != nil {
			return err
		}
		return connection.Close()
	})
	if err != nil {
		return err
	}
	return Load(ctx, []string{archive})
}

func (n *node) startKubelet(context.Context) error {
	kubeconfig, err := n.writeKubeconfig("kubelet", pki.Identity{
		CommonName: "system:node:" + Name, Organizations: []string{"system:nodes"},
	})
	if err != nil {
		return err
	}
	root := filepath.Join(n.config.Dir, "kubelet")
	return n.component("kubelet",
		"--config="+file("kubelet.yaml"), "--kubeconfig="+kubeconfig,
		"--root-dir="+root, "--cert-dir="+filepath.Join(root, "pki"),
		"--hostname-override="+Name, "--node-ip="+machine.Address)
}

func (n *node) startProxy(context.Context) error {
	if _, err := n.writeKubeconfig("kube-proxy", pki.Identity{CommonName: "system:kube-proxy"}); err != nil {
		return err
	}
	return n.component("kube-proxy", "--config="+file("kube-proxy.yaml"))
}

// startDNS starts the DNS server on the bridge; it reads services as the administrator.
func (n *node) startDNS(context.Context) error {
	return n.start(dnsProgram, n.program(dnsProgram), "-conf", file("Corefile"))
}

// awaitReady waits for a heartbeat of this run's kubelet that says Ready, and for an answer of the DNS server.
func (n *node) awaitReady(ctx context.Context) error {
	if err := await.Until(ctx, "the node to be ready", startLimit, n.checkNode); err != nil {
		return err
	}
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: time.Second}).DialContext(ctx, network, net.JoinHostPort(machine.Address, "53"))
	}}
	return await.Until(ctx, "the DNS server", startLimit, func(ctx context.Context) error {
		_, err := resolver.LookupHost(ctx, "kubernetes.default.svc."+clusterDomain+".")
		return err
	})
}

func (n *node) checkNode(ctx context.Context) error {
	object, err := n.plane.Client().CoreV1().Nodes().Get(ctx, Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, condition := range object.Status.Conditions {
		if condition.Type != corev1.NodeReady {
			continue
		}
		if condition.LastHeartbeatTime.Time.Before(n.begun.Truncate(time.Second)) {
			return errors.New("its last heartbeat is from an earlier run")
		}
		if condition.Status == corev1.ConditionTrue {
			return nil
		}
		return fmt.Errorf("%s: %s", condition.Reason, condition.Message)
	}
	return errors.New("it has no condition Ready yet")
}
